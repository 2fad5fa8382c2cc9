# SPDX-License-Identifier: Apache-2.0
"""The loop itself: it wakes for doorbells, stands by, steps down, survives and stops."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.engine.sim import AlwaysLeads, Sim
from vmha_remediator.engine.leader import Leader
from vmha_remediator.errors import StoreUnavailable

SOON = 20.0  # s; only a test that fails waits for so long


class Running:
    """An engine that runs in a thread; its virtual clock stands, so only doorbells wake it."""

    def __init__(self, sim: Sim) -> None:
        self.sim, self.stop, self.doorbell = sim, threading.Event(), threading.Event()
        self.cycled = threading.Semaphore(0)
        cycle = sim.engine.cycle

        def counted() -> str:
            try:
                return cycle()
            finally:
                self.cycled.release()

        sim.engine.cycle = counted  # type: ignore[method-assign]
        self.thread = threading.Thread(target=sim.engine.run, args=(self.stop, self.doorbell))
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        self.doorbell.set()
        self.thread.join(SOON)
        assert not self.thread.is_alive()


@pytest.fixture
def running() -> Iterator[Running]:
    found = Running(Sim())
    assert found.cycled.acquire(timeout=SOON)
    yield found
    found.end()


def test_a_doorbell_wakes_it_at_once(running: Running) -> None:
    running.doorbell.set()
    assert running.cycled.acquire(timeout=SOON)


def test_a_doorbell_in_the_database_wakes_it_too(running: Running) -> None:
    running.sim.store.ring("failure", "h1", "an API in another process")
    assert running.cycled.acquire(timeout=SOON)


def test_it_goes_on_after_a_cycle_that_failed(running: Running) -> None:
    def broken() -> list[tuple[str, str]]:
        raise RuntimeError("a mistake")

    running.sim.world.telemetry.alarming = broken  # type: ignore[method-assign]
    running.sim.engine.lookout._next_list = 0.0
    running.doorbell.set()
    assert running.cycled.acquire(timeout=SOON)
    del running.sim.world.telemetry.alarming
    running.doorbell.set()
    assert running.cycled.acquire(timeout=SOON)


def test_it_stops_when_told(running: Running) -> None:
    running.end()


def test_it_says_what_stands_in_one_sentence() -> None:
    sim = Sim()
    assert sim.engine.cycle() == "all quiet: no verdict stands"
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    leader = sim.store.leader()
    assert leader is not None
    assert "h1" in leader.said


def test_a_database_that_is_down_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Sim()
    sim.run(1)
    sim.world.power_off("h1")

    def down(*_: object) -> None:
        raise StoreUnavailable("the database cannot be used now")

    with monkeypatch.context() as patch:
        patch.setattr(sim.database, "write", down)
        sim.run(30)
    assert sim.world.noted("fence") == []
    sim.run_until(lambda: sim.state("h1") == "recovered")


def test_a_stand_by_does_nothing() -> None:
    sim = Sim()
    sim.engine.helm.leader = AlwaysLeads(number=0)
    sim.engine.helm.leader.hold = lambda: None  # type: ignore[method-assign]
    sim.world.power_off("h1")
    for _ in range(60):
        sim.world.pass_time()
        assert sim.engine.cycle().startswith("standing by")
    assert sim.store.incidents() == []


def test_one_process_leads_and_the_next_one_takes_over(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/coordination"
    first = Leader(url, "first")
    number = first.hold()
    assert number is not None
    assert first.hold() == number
    first.stop()
    second = Leader(url, "second")
    assert second.hold() is not None
    second.stop()


def test_without_coordination_nobody_leads_and_it_is_said(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    leader = Leader(f"file://{blocked}/coordination", "one")
    assert leader.hold() is None
    assert leader.trouble.startswith("[engine] coordination_url cannot be used: ")
