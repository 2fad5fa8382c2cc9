# SPDX-License-Identifier: Apache-2.0
"""The engine dies at every single place where it changes anything; the end is the same."""

from __future__ import annotations

import functools

import pytest

from tests.unit.engine.sim import STEP, Crash, Sim
from vmha_remediator.errors import StaleEpoch
from vmha_remediator.remedy.incident import Change, VmStatus
from vmha_remediator.remedy.states import IncidentState


@functools.cache
def _world(end: str) -> Sim:
    """Return the state of affairs from which `end` is to be reached; fork it, don't touch it.

    For "recovered", a host has just lost power; for "readmitted", it comes back after that.
    """
    sim = Sim()
    sim.world.nova.boot("a", "h1")
    sim.world.nova.boot("b", "h1")
    sim.run(1)
    sim.world.power_off("h1")
    sim.run(7)
    assert sim.state("h1") == "none"
    if end == "readmitted":
        sim.run_until(lambda: sim.state("h1") == "recovered")
        sim.world.power_on("h1")
    return sim


ENDS = ("recovered", "readmitted")


def _dead_host() -> Sim:
    return _world("recovered").fork()


def _places(end: str) -> int:
    """Return how many places there are to die at before `end` is reached."""
    sim, count = _world(end).fork(), 0

    def passed(_name: str) -> None:
        nonlocal count
        count += 1

    sim.world.point = passed
    sim.run_until(lambda: sim.state("h1") == end)
    return count


def _die_at(number: int, end: str) -> Sim:
    """Run to `end` with a death at the given place and a new engine two seconds later."""
    sim, left = _world(end).fork(), number

    def maybe(name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Crash(name)

    sim.world.point = maybe
    try:
        sim.run_until(lambda: sim.state("h1") == end)
    except Crash:
        sim.world.point = lambda name: None
        for _ in range(4):
            sim.world.pass_time(STEP)
        sim.engine = sim.new_engine()
        sim.run_until(lambda: sim.state("h1") == end)
        sim.turn(STEP)  # what was left to be told is told at the latest in the next cycle
    assert left <= 0, "nobody died"
    return sim


@pytest.mark.parametrize("end", ENDS)
def test_dying_anywhere_ends_the_same(end: str) -> None:
    places = _places(end)
    assert places > 5
    for number in range(1, places + 1):
        sim = _die_at(number, end)
        where = f"death at place {number} of {places}; {sim.story()}"
        assert sorted(sim.world.noted("evacuate")) == ["a", "b"], where
        assert {vm.status for vm in sim.incident("h1").vms} == {VmStatus.DONE}, where
        for server_id in ("id-a", "id-b"):
            (host,) = sim.world.runs_on(server_id)
            assert host != "h1", where
        assert sim.world.nova.forced == ({"h1"} if end == "recovered" else set()), where
        told = [change for change in sim.reports.changes if not change.again]
        assert len(told) == len({change.id for change in told}), where
        repeated = [change for change in sim.reports.changes if change.again]
        assert len(repeated) <= 1, where
        everything = [c.id for i in sim.store.incidents() for c in sim.store.changes(i.id)]
        assert {c.id for c in sim.reports.changes} == set(everything), where  # nothing is lost


def test_what_was_being_told_when_the_engine_died_is_told_again_and_marked() -> None:
    sim = _dead_host()

    def die(_change: Change) -> None:
        raise Crash("between telling and noting it")

    sim.reports.told_then = die
    with pytest.raises(Crash):
        sim.run_until(lambda: False)
    sim.reports.told_then = lambda change: None
    sim.engine = sim.new_engine()
    sim.run_until(lambda: sim.state("h1") == "recovered")
    first, again = sim.reports.changes[:2]
    assert first.id == again.id
    assert (first.again, again.again) == (False, True)
    later = sim.reports.changes[2:]
    assert not any(change.again for change in later)
    assert len({change.id for change in later}) == len(later)


def test_a_deposed_leader_neither_writes_nor_acts() -> None:
    sim = _dead_host()
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
    sim = _dead_host()
    elder, younger = sim.engine, sim.new_engine()
    for turn in range(400):
        sim.world.pass_time()
        (elder if turn % 2 else younger)._guarded_cycle()
        if sim.state("h1") == "recovered":
            break
    assert sim.state("h1") == "recovered", sim.story()
    assert sorted(sim.world.noted("evacuate")) == ["a", "b"]
