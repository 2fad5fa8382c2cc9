# SPDX-License-Identifier: Apache-2.0
"""What befalls most hosts is told once; a host that keeps failing is kept out."""

from __future__ import annotations

from tests.unit.engine.sim import Sim
from vmha_remediator.remedy.policy import Policy


def test_lost_storage_of_most_hosts_is_one_report_and_no_action() -> None:
    sim = Sim()
    for name in ("h1", "h2", "h3"):
        sim.world.hosts[name].storage = False
    sim.run(60)
    assert sim.reports.told() == ["*:reported"]
    assert sim.incident("*").rule == "storage-outage"
    assert sim.world.nova.disabled == {}

    for name in ("h1", "h2", "h3"):
        sim.world.heal(name)
    sim.run(40)
    assert sim.reports.told() == ["*:reported", "*:cleared"]


def test_gnocchi_that_cannot_be_read_is_no_silence() -> None:
    sim = Sim()
    sim.run(10)
    sim.world.telemetry.down = True
    sim.run(300)
    assert sim.reports.told() == ["*gnocchi:reported"]

    sim.world.telemetry.down = False
    sim.run(60)
    assert sim.reports.told() == ["*gnocchi:reported", "*gnocchi:cleared"]


def test_a_silent_host_is_told_once_and_disabling_it_closes_that() -> None:
    sim = Sim()
    sim.world.telemetry.silent = {"h2"}
    sim.run(120)
    assert sim.reports.told() == ["h2:reported"]
    assert sim.incident("h2").rule == "telemetry-silent"

    sim.world.nova.disabled["h2"] = "it leaves"
    sim.run(60)
    assert sim.reports.told() == ["h2:reported", "h2:cleared"]


def _fail_and_return(sim: Sim) -> None:
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    sim.world.power_on("h1")
    sim.run_until(lambda: sim.state("h1") in ("readmitted", "held"))


def test_a_host_that_fails_too_often_is_kept_out_until_released() -> None:
    sim = Sim(Policy(quarantine_after=1))
    _fail_and_return(sim)
    assert sim.state("h1") == "readmitted"
    sim.run(20)
    _fail_and_return(sim)
    held = sim.incident("h1")
    assert (held.state, held.held_by) == ("held", "quarantine")
    assert sim.world.nova.forced == {"h1"}
    assert f"vmha-manage incident release {held.id}" in held.advice

    sim.store.release(held.id, "ann")
    sim.run_until(lambda: sim.state("h1") == "readmitted")
    assert sim.world.nova.forced == set()


def test_quarantine_can_be_switched_off() -> None:
    sim = Sim(Policy(quarantine_after=0))
    for _ in range(3):
        _fail_and_return(sim)
        assert sim.state("h1") == "readmitted"
        sim.run(20)


def test_a_failure_in_quarantine_is_judged_and_fenced_anew() -> None:
    sim = Sim(Policy(quarantine_after=1))
    _fail_and_return(sim)
    sim.run(20)
    _fail_and_return(sim)
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
