# SPDX-License-Identifier: Apache-2.0
"""Isolation, partition, agent-down, storage-lost, silence: told, never acted upon."""

from __future__ import annotations

import pytest

from tests.unit.engine.sim import Sim


@pytest.fixture
def sim() -> Sim:
    sim = Sim()
    sim.world.nova.boot("a", "h1")
    sim.run(2)
    return sim


def _untouched(sim: Sim) -> bool:
    return (
        sim.world.noted("fence") == []
        and sim.world.noted("evacuate") == []
        and sim.world.runs_on("id-a") == ["h1"]
    )


def test_an_isolated_host_is_reported_and_its_vms_keep_running(sim: Sim) -> None:
    sim.world.hosts["h1"].network = False
    sim.run(60)
    assert sim.reports.told() == ["h1:reported"]
    assert sim.incident("h1").rule == "isolation"
    assert _untouched(sim)

    sim.world.heal("h1")
    sim.run_until(lambda: sim.state("h1") == "cleared")
    assert sim.reports.told() == ["h1:reported", "h1:cleared"]


def test_a_dead_agent_is_reported_once(sim: Sim) -> None:
    sim.world.hosts["h1"].agent = False
    sim.run(120)
    assert sim.reports.told() == ["h1:reported"]
    assert sim.incident("h1").rule == "agent-down"
    assert _untouched(sim)


def test_lost_storage_keeps_new_vms_off_until_it_is_back(sim: Sim) -> None:
    sim.world.hosts["h1"].storage = False
    sim.run_until(lambda: sim.state("h1") == "reported")
    sim.run(2)
    assert sim.world.nova.disabled["h1"].startswith("vmha:")

    sim.world.heal("h1")
    sim.run_until(lambda: sim.state("h1") == "cleared")
    assert sim.world.nova.disabled == {}
    assert _untouched(sim)


def test_scheduling_that_an_operator_disabled_stays_disabled(sim: Sim) -> None:
    sim.world.nova.disabled["h1"] = "new memory"
    sim.world.hosts["h1"].storage = False
    sim.run_until(lambda: sim.state("h1") == "reported")
    sim.world.heal("h1")
    sim.run_until(lambda: sim.state("h1") == "cleared")
    assert sim.world.nova.disabled == {"h1": "new memory"}


def test_isolation_that_becomes_a_failure_is_recovered(sim: Sim) -> None:
    sim.world.hosts["h1"].network = False
    sim.run_until(lambda: sim.state("h1") == "reported")
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")

    assert sim.reports.told()[:3] == ["h1:reported", "h1:cleared", "h1:detected"]
    assert sim.world.runs_on("id-a") != ["h1"]


def _flap(sim: Sim, down: float, up: float, times: int = 6) -> None:
    for _ in range(times):
        sim.world.hosts["h1"].network = False
        sim.run(down)
        sim.world.hosts["h1"].network = True
        sim.run(up)


def test_a_short_flap_is_not_worth_a_report(sim: Sim) -> None:
    _flap(sim, down=10, up=4, times=2)
    sim.run(60)
    assert sim.reports.told() == []


def test_short_flaps_that_go_on_are_told_once_as_flapping(sim: Sim) -> None:
    _flap(sim, down=10, up=4)
    assert sim.reports.told() == ["h1:reported"]
    assert sim.incident("h1").rule == "flapping"
    sim.run(250)
    assert sim.state("h1") == "reported"
    sim.run(100)
    assert sim.reports.told() == ["h1:reported", "h1:cleared"]
    assert _untouched(sim)


def test_an_engine_that_starts_anew_counts_no_situation_once_more(sim: Sim) -> None:
    _flap(sim, down=10, up=4, times=1)
    sim.world.hosts["h1"].network = False
    sim.run_until(lambda: sim.store.standing_onsets() == ["h1"])
    sim.engine = sim.new_engine()
    sim.run(2)
    sim.world.hosts["h1"].network = True
    sim.engine = sim.new_engine()
    sim.run(60)
    assert sim.store.standing_onsets() == []
    assert sim.reports.told() == []


def test_a_situation_that_ends_while_a_host_is_left_alone_is_over(sim: Sim) -> None:
    sim.world.hosts["h1"].network = False
    sim.run_until(lambda: sim.store.standing_onsets() == ["h1"])
    sim.store.set_maintenance("h1", "a new switch", "ann")
    sim.run(2)
    assert sim.store.standing_onsets() == []


def test_a_flapping_network_is_reported_once(sim: Sim) -> None:
    _flap(sim, down=14, up=4)
    assert sim.reports.told() == ["h1:reported"]
    assert _untouched(sim)


def test_what_came_back_before_its_report_was_cleared_counts_for_flapping(sim: Sim) -> None:
    _flap(sim, down=14, up=4, times=2)  # one report for both
    sim.run(40)
    assert sim.reports.told() == ["h1:reported", "h1:cleared"]
    _flap(sim, down=14, up=40, times=1)
    assert sim.incident("h1").rule == "flapping"
    assert _untouched(sim)


def test_a_reported_situation_that_turns_into_another_is_reported_anew(sim: Sim) -> None:
    sim.world.hosts["h1"].network = False
    sim.run_until(lambda: sim.state("h1") == "reported")
    sim.world.heal("h1")
    sim.world.hosts["h1"].agent = False
    sim.run(60)
    assert sim.reports.told() == ["h1:reported", "h1:cleared", "h1:reported"]
    assert [i.rule for i in sim.store.incidents()] == ["agent-down", "isolation"]


def test_silence_opens_nothing_and_closes_nothing(sim: Sim) -> None:
    sim.world.hosts["h1"].network = False
    sim.run_until(lambda: sim.state("h1") == "reported")
    sim.world.telemetry.silent = {"h1", "h2"}
    sim.world.power_off("h2")
    sim.run(60)
    assert sim.state("h1") == "reported"
    assert sim.state("h2") == "none"


def test_telemetry_down_while_a_host_dies_is_said_and_acted_on_when_it_is_back(sim: Sim) -> None:
    sim.world.telemetry.down = sim.world.telemetry.aodh_down = True
    sim.world.power_off("h1")
    sim.run(60)
    assert {i.host for i in sim.store.incidents()} == {"*aodh", "*gnocchi"}
    assert "cannot be reached" in (sim.store.leader() or pytest.fail("nobody leads")).said

    sim.world.telemetry.down = sim.world.telemetry.aodh_down = False
    sim.run_until(lambda: sim.state("h1") == "recovered")


def test_aodh_down_a_doorbell_is_enough(sim: Sim) -> None:
    sim.world.telemetry.aodh_down = True
    sim.world.power_off("h1")
    sim.run(12)
    sim.store.ring("failure", "h1", "webhook")
    sim.run_until(lambda: sim.state("h1") == "recovered")


def test_a_doorbell_decides_nothing(sim: Sim) -> None:
    sim.store.ring("failure", "h1", "forged")
    sim.store.ring("failure", "no-such-host", "forged")
    sim.run(30)
    assert sim.store.incidents() == []
    assert _untouched(sim)


def test_a_stale_alarm_after_recovery_changes_nothing(sim: Sim) -> None:
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    sim.world.power_on("h1")
    sim.run_until(lambda: sim.state("h1") == "readmitted")
    before = len(sim.store.incidents())
    sim.store.ring("failure", "h1", "late webhook")
    sim.run(30)
    assert len(sim.store.incidents()) == before
