# SPDX-License-Identifier: Apache-2.0
"""The engine dies at every single place while VMs become again what they were."""

from __future__ import annotations

import functools

from tests.unit.engine.sim import STEP, Crash, CrashingDatabase, Sim
from vmha_remediator.remedy.incident import VmStatus
from vmha_remediator.store.database import Database

WERE = {"held": "paused", "mended": "rescued", "off": "stopped"}


@functools.cache
def _fenced() -> Sim:
    """Return a cloud whose h1 has just been proven off; fork it, don't touch it."""
    sim = Sim()
    sim.world.nova.stays_stopped = True
    for name, state in WERE.items():
        sim.world.nova.boot(name, "h1", vm_state=state)
    sim.run(1)
    sim.world.power_off("h1")
    # It dies at its first deed after the proof, which is the force-down.
    sim.world.point = _die_at_force_down
    try:
        sim.run_until(lambda: sim.state("h1") == "recovered")
    except Crash:
        sim.world.point = lambda name: None
    assert sim.state("h1") == "fenced"
    return sim


def _die_at_force_down(name: str) -> None:
    if name == "before force-down":
        raise Crash(name)


@functools.cache
def _database() -> Database:
    return CrashingDatabase("sqlite://")


def _run(number: int) -> tuple[Sim, int]:
    """Run to the end, with a death at the given place; return how many places there were."""
    sim, passed = _fenced().fork(_database()), 0

    def maybe(name: str) -> None:
        nonlocal passed
        passed += 1
        if passed == number:
            raise Crash(name)

    sim.world.point = maybe
    try:
        sim.run_until(lambda: sim.state("h1") == "recovered")
    except Crash:
        sim.world.point = lambda name: None
        for _ in range(4):
            sim.world.pass_time(STEP)
        sim.engine = sim.new_engine()
        sim.run_until(lambda: sim.state("h1") == "recovered")
    return sim, passed


def test_dying_anywhere_leaves_every_vm_as_it_was() -> None:
    _, places = _run(0)
    assert places > 20
    for number in range(1, places + 1):
        sim, _ = _run(number)
        where = f"death at place {number} of {places}; {sim.story()}"
        found = {s.name: s.vm_state for s in sim.world.nova.servers_by_id.values()}
        assert found == WERE, where
        assert sorted(sim.world.noted("evacuate")) == sorted(WERE), where
        assert {vm.status for vm in sim.incident("h1").vms} == {VmStatus.DONE}, where
        assert "off" not in sim.world.noted("start"), where
