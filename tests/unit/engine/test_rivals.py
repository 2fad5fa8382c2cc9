# SPDX-License-Identifier: Apache-2.0
"""Two engines on two machines whose lock files do not reach each other: one stands by."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.engine.sim import Sim
from vmha_remediator.engine.cycle import Engine
from vmha_remediator.engine.leader import RIVAL, Rival, is_local, with_timeouts
from vmha_remediator.store import Leader

THERE = Leader(epoch=3, owner="ctl2:71", since=0.0, said="all quiet", said_at=100.0)


def test_life_on_another_machine_is_what_changes_there() -> None:
    rival = Rival("ctl1:17")
    assert rival.alive(THERE, 0.0)
    assert rival.alive(THERE, RIVAL - 1)
    assert rival.alive(replace(THERE, said_at=105.0), RIVAL)
    assert rival.alive(replace(THERE, said_at=105.0), 2 * RIVAL - 1)
    assert not rival.alive(replace(THERE, said_at=105.0), 2 * RIVAL)


def test_an_engine_of_this_machine_is_kept_apart_by_the_lock() -> None:
    assert not Rival("ctl2:99").alive(THERE, 0.0)
    assert not Rival("ctl2:99").alive(None, 0.0)


class LockFile:
    """A lock file that is free, whatever happens on other machines."""

    shared = False

    def hold(self) -> int:
        return 1

    def stop(self) -> None:
        """Give it back."""


@pytest.fixture
def sim() -> Sim:
    """A cloud."""
    return Sim()


def engine_on(sim: Sim, name: str) -> Engine:
    engine = sim.new_engine()
    engine.helm.leader, engine.helm.name = LockFile(), name
    engine.helm._rival = Rival(name)
    return engine


def test_the_second_one_stands_by_and_says_the_way_out(sim: Sim) -> None:
    first, second = engine_on(sim, "ctl1:17"), engine_on(sim, "ctl2:71")
    first.cycle()
    for _ in range(40):
        sim.world.pass_time()
        first.cycle()
        said = second.cycle()
        assert said.startswith("standing by: ctl1:17 leads on another machine")
        assert "coordination_url" in said
    leader = sim.store.leader()
    assert leader is not None
    assert (leader.owner, leader.epoch) == ("ctl1:17", 1)


def test_the_second_one_leads_when_the_first_shows_no_life(sim: Sim) -> None:
    first, second = engine_on(sim, "ctl1:17"), engine_on(sim, "ctl2:71")
    first.cycle()
    for _ in range(100):
        sim.world.pass_time()
        second._guarded_cycle()
    for _ in range(10):
        sim.world.pass_time()
        first._guarded_cycle()
        second._guarded_cycle()
    leader = sim.store.leader()
    assert leader is not None
    assert (leader.owner, leader.epoch) == ("ctl2:71", 2)  # the first one does not take it back


def test_only_files_are_of_one_machine() -> None:
    assert is_local("file:///var/lib/vmha/coordination")
    assert not is_local("redis://db:6379")


def test_services_get_time_outs_unless_the_url_has_some() -> None:
    assert with_timeouts("redis://db:6379?db=3&lock_timeout=60") == (
        "redis://db:6379?timeout=5&lock_timeout=60&db=3"
    )
    assert with_timeouts("file:///x") == "file:///x"
