# SPDX-License-Identifier: Apache-2.0
"""The engine dies at every single place where it changes anything; the end is the same."""

from __future__ import annotations

import pytest

from tests.unit.engine.sim import STEP, Crash, Sim
from vmha_remediator.errors import StaleEpoch
from vmha_remediator.remedy.incident import VmStatus
from vmha_remediator.remedy.states import IncidentState


def _sim() -> Sim:
    sim = Sim()
    sim.world.nova.boot("a", "h1")
    sim.world.nova.boot("b", "h1")
    sim.run(2)
    sim.world.power_off("h1")
    return sim


def _points() -> int:
    """Return how many places there are on the way from the failure to readmission."""
    sim, count = _sim(), 0

    def passed(_name: str) -> None:
        nonlocal count
        count += 1

    sim.world.point = passed
    _to_the_end(sim)
    return count


def _to_the_end(sim: Sim) -> None:
    sim.run_until(lambda: sim.state("h1") == "recovered")
    if not sim.world.hosts["h1"].powered:
        sim.world.power_on("h1")
    sim.run_until(lambda: sim.state("h1") == "readmitted")


def _crash_at(number: int) -> Sim:
    """Run to the end with a death at the given place and a new engine two seconds later."""
    sim, left = _sim(), number

    def maybe(name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash(name)

    sim.world.point = maybe
    try:
        _to_the_end(sim)
    except Crash:
        sim.world.point = lambda name: None
        for _ in range(4):
            sim.world.pass_time(STEP)
        sim.engine = sim.new_engine()
        if sim.world.hosts["h1"].powered and sim.state("h1") != "recovered":
            sim.run_until(lambda: sim.state("h1") in ("recovered", "readmitted"))
        if sim.state("h1") != "readmitted":
            _to_the_end(sim)
    return sim


@pytest.mark.parametrize("share", range(8))
def test_dying_anywhere_ends_the_same(share: int) -> None:
    for number in range(1 + share, _points() + 1, 8):
        sim = _crash_at(number)
        where = f"crash at {number}; {sim.story()}"
        assert sim.state("h1") == "readmitted", where
        assert sorted(sim.world.noted("evacuate")) == ["a", "b"], where
        assert {vm.status for vm in sim.incident("h1").vms} == {VmStatus.DONE}, where
        for server_id in ("id-a", "id-b"):
            (host,) = sim.world.runs_on(server_id)
            assert host != "h1", where
        assert sim.world.nova.forced == set(), where
        told = sim.reports.told()
        assert len(told) == len(set(told)), where


def test_a_deposed_leader_neither_writes_nor_acts() -> None:
    sim = _sim()
    sim.run_until(lambda: sim.state("h1") == "detected" or sim.state("h1") == "recovered")
    incident = sim.incident("h1")
    epoch = sim.engine.epoch
    assert epoch is not None
    sim.store.claim_epoch("another engine")
    evacuated = len(sim.world.noted("evacuate"))

    with pytest.raises(StaleEpoch):
        sim.store.move(incident, IncidentState.HELD, "too late", epoch=epoch)
    with pytest.raises(StaleEpoch):
        sim.store.begin_step(incident, "evacuate", "too late", epoch=epoch)
    assert len(sim.world.noted("evacuate")) == evacuated


def test_two_leaders_move_no_vm_twice() -> None:
    sim = _sim()
    elder, younger = sim.engine, sim.new_engine()
    for turn in range(400):
        sim.world.pass_time()
        (elder if turn % 2 else younger)._guarded_cycle()
        if sim.state("h1") == "recovered":
            break
    assert sim.state("h1") == "recovered", sim.story()
    assert sorted(sim.world.noted("evacuate")) == ["a", "b"]
