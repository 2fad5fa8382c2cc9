# SPDX-License-Identifier: Apache-2.0
"""A host fails: its protected VMs run again elsewhere, once."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import pytest

from tests.unit.engine.sim import START, STEP, Sim
from vmha_remediator.errors import CloudRefused
from vmha_remediator.fencing.contract import FenceResult
from vmha_remediator.remedy.incident import VmStatus
from vmha_remediator.remedy.policy import Policy


@pytest.fixture
def sim() -> Sim:
    sim = Sim()
    nova = sim.world.nova
    nova.boot("a", "h1")
    nova.boot("b", "h1")
    nova.boot("plain", "h1", tagged=False)
    nova.boot("off", "h1", vm_state="stopped", status="SHUTOFF")
    nova.boot("c", "h2")
    sim.run(2)
    assert sim.store.incidents() == []
    return sim


def test_the_protected_vms_of_a_dead_host_run_elsewhere(sim: Sim) -> None:
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")

    assert sorted(sim.world.noted("evacuate")) == ["a", "b", "off"]
    assert sim.world.runs_on("id-a") != [] and "h1" not in sim.world.runs_on("id-a")
    assert sim.world.runs_on("id-b") != [] and "h1" not in sim.world.runs_on("id-b")
    assert sim.world.runs_on("id-off") == []
    assert sim.world.nova.servers_by_id["id-plain"].host == "h1"
    assert sim.world.runs_on("id-c") == ["h2"]


def test_the_story_is_told_once_and_in_order(sim: Sim) -> None:
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    sim.run(20)

    states = ["detected", "confirmed", "fencing", "fenced", "evacuating", "recovered"]
    assert sim.reports.told() == [f"h1:{state}" for state in states]


def test_the_proof_is_stored_before_anything_moves(sim: Sim) -> None:
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.world.noted("evacuate") != [])

    incident = sim.incident("h1")
    first = min(vm.started for vm in incident.vms if vm.started)
    assert incident.proof.proves == "power is off"
    assert incident.proof.time <= first
    kinds = [what for _, what, _ in sim.world.log]
    assert kinds.index("fence") < kinds.index("force-down") < kinds.index("evacuate")


def test_a_driver_that_proves_something_else_proves_nothing(
    sim: Sim, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Weaker(Enum):
        ASKED = "it was asked to go off"

    weak = FenceResult("sim", Weaker.ASKED, "it said yes")  # type: ignore[arg-type]
    monkeypatch.setattr(sim.world.fencing, "fence", lambda host, heard: weak)
    sim.world.cut_off("h1")
    sim.run_until(lambda: sim.state("h1") == "held")
    sim.run(30)

    assert (sim.incident("h1").held_by, sim.incident("h1").proof) == ("no-proof", None)
    assert sim.world.noted("evacuate") == []


def test_a_destination_counts_as_off_only_once_it_is_proven_off(sim: Sim) -> None:
    """What was half-way there may run there, however surely that host has failed."""
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    sim.world.fencing.outcome = "dead"
    sim.world.cut_off("h2")
    sim.run_until(lambda: sim.state("h2") == "held")

    cluster = sim.engine.crew.observer.facts(sim.incident("h1")).cluster
    assert cluster is not None
    assert cluster.failing >= {"h2"}
    assert cluster.fenced == {"h1"}


def test_no_vm_is_sent_to_a_host_in_maintenance(sim: Sim) -> None:
    """Nobody would bring it back when that host is switched off."""
    for host in ("h2", "h3"):
        sim.store.set_maintenance(host, "new memory", "a test", None)
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    assert {vm.dest for vm in sim.incident("h1").vms} == {"h4"}


def test_what_nova_will_never_evacuate_is_asked_for_once_and_hinders_no_other(
    sim: Sim, monkeypatch: pytest.MonkeyPatch
) -> None:
    nova, asked = sim.world.nova, []
    evacuate = nova.evacuate

    def refusing(server_id: str, dest: str | None = None) -> None:
        if server_id == "id-a":
            asked.append(server_id)
            raise CloudRefused("409 Feature not supported with instances that have shares.")
        evacuate(server_id, dest)

    monkeypatch.setattr(nova, "evacuate", refusing)
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    sim.run(200)
    left = sim.incident("h1").vm("id-a")
    assert asked == ["id-a"]
    assert left.status is VmStatus.PENDING
    assert "it has a share attached" in left.reason
    assert sorted(sim.world.noted("evacuate")) == ["b", "off"]
    sim.world.power_on("h1")
    sim.run_until(lambda: sim.state("h1") == "readmitted")
    assert sim.world.runs_on("id-a") == ["h1"]


def test_a_living_host_that_nobody_hears_is_switched_off_before_its_vms_move(sim: Sim) -> None:
    sim.world.cut_off("h1")  # its guests go on: a second start would be seen
    sim.run_until(lambda: sim.state("h1") == "recovered")

    assert sim.world.noted("fence") == ["h1"]
    assert len(sim.world.runs_on("id-a")) == 1


def test_no_proof_means_that_nothing_moves_and_a_person_is_asked(sim: Sim) -> None:
    sim.world.fencing.outcome = "dead"
    sim.world.cut_off("h1")
    sim.run_until(lambda: sim.state("h1") == "held")
    sim.run(120)

    incident = sim.incident("h1")
    assert sim.world.noted("evacuate") == []
    assert incident.state == "held"
    assert "the BMC does not answer" in incident.reason
    assert "vmha-manage fence confirm h1" in incident.advice
    assert sim.world.runs_on("id-a") == ["h1"]


def test_a_persons_word_lets_it_go_on(sim: Sim) -> None:
    sim.world.fencing.outcome = "dead"
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "held")
    sim.store.confirm_fenced("h1", "ann")
    sim.run_until(lambda: sim.state("h1") == "recovered")

    assert "ann confirmed" in sim.incident("h1").proof.evidence
    assert sorted(sim.world.noted("evacuate")) == ["a", "b", "off"]


def test_a_host_that_heals_while_it_is_held_is_not_cleared_by_itself(sim: Sim) -> None:
    sim.world.fencing.outcome = "dead"
    sim.world.cut_off("h1")
    sim.run_until(lambda: sim.state("h1") == "held")
    sim.world.heal("h1")
    sim.run(60)
    assert sim.state("h1") == "held"

    sim.store.release(sim.incident("h1").id, "ann")
    sim.run_until(lambda: sim.state("h1") == "cleared")
    assert sim.world.noted("evacuate") == []
    assert sim.world.runs_on("id-a") == ["h1"]


def test_a_fence_that_lies_is_found_out(sim: Sim) -> None:
    sim.world.fencing.outcome = "lies"
    sim.world.cut_off("h1")
    sim.world.nova.down = True  # nothing can move before the contradiction shows
    sim.run_until(lambda: sim.state("h1") == "detected")
    sim.world.nova.down = False
    sim.world.heal("h1")
    sim.run(60)

    assert sim.world.noted("evacuate") == []
    assert sim.world.runs_on("id-a") == ["h1"]


def test_healing_before_the_fence_cancels_everything(sim: Sim) -> None:
    sim.world.nova.down = True  # keeps the guards from being asked
    sim.world.cut_off("h1")
    sim.run_until(lambda: sim.state("h1") == "detected")
    sim.world.heal("h1")
    sim.world.nova.down = False
    sim.run_until(lambda: sim.state("h1") == "cleared")

    assert sim.world.noted("fence") == []
    assert sim.reports.told() == ["h1:detected", "h1:cleared"]


def test_no_capacity_is_pending_with_a_reason_and_placed_later(sim: Sim) -> None:
    sim.world.nova.full = True
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")

    pending = [vm for vm in sim.incident("h1").vms if vm.status is VmStatus.PENDING]
    assert sorted(vm.name for vm in pending) == ["a", "b", "off"]
    assert all("No valid host" in vm.reason for vm in pending)

    sim.world.nova.full = False
    sim.run_until(lambda: all(vm.status is VmStatus.DONE for vm in sim.incident("h1").vms))
    assert len(sim.world.runs_on("id-a")) == 1


def test_a_vm_that_is_seen_to_be_protected_only_later_is_recovered_too(sim: Sim) -> None:
    """Its image says so, and Glance was away; or somebody gives it the tag now."""
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    plain = sim.world.nova.servers_by_id["id-plain"]
    sim.world.nova.servers_by_id["id-plain"] = replace(plain, tags=frozenset({"vmha"}))
    sim.run_until(lambda: sim.world.runs_on("id-plain") != [])

    assert "plain" in sim.world.noted("evacuate")


def test_nova_down_for_five_minutes_only_delays_it(sim: Sim) -> None:
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "evacuating")
    sim.world.nova.down = True
    sim.run(300)
    assert "Nova cannot be reached" in sim.incident("h1").said
    sim.world.nova.down = False
    sim.run_until(lambda: sim.state("h1") == "recovered")

    assert sorted(sim.world.noted("evacuate")) == ["a", "b", "off"]


def test_the_host_comes_back_and_takes_part_again(sim: Sim) -> None:
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    sim.run(30)
    sim.world.power_on("h1")
    sim.run_until(lambda: sim.state("h1") == "readmitted")

    assert sim.world.nova.forced == set()
    assert sim.store.incidents(active_only=True) == []
    assert sim.reports.told()[-1] == "h1:readmitted"


def test_an_operators_force_down_is_left_alone(sim: Sim) -> None:
    sim.world.nova.forced.add("h1")
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "held")
    assert sim.incident("h1").held_by == "operator-force-down"
    assert sim.world.noted("fence") == []

    sim.store.release(sim.incident("h1").id, "ann")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    sim.world.power_on("h1")
    sim.run_until(lambda: sim.state("h1") == "readmitted")
    assert sim.world.nova.forced == {"h1"}


def test_more_hosts_than_believable_are_not_fenced(sim: Sim) -> None:
    for name in ("h1", "h2", "h3"):
        sim.world.cut_off(name)
    sim.run(120)

    assert sim.world.noted("fence") == []
    assert {sim.state(name) for name in ("h1", "h2", "h3")} == {"held"}
    assert "3 of 4 hosts fail at once" in sim.incident("h1").reason


def test_a_destination_that_dies_is_fenced_and_its_vm_placed_again(sim: Sim) -> None:
    sim.world.nova.capacity_for = {"h2"}
    sim.world.power_off("h1")
    sim.run_until(lambda: any(r.dest == "h2" for r in sim.world.nova.records))
    sim.world.power_off("h2")
    sim.world.nova.capacity_for = {"h3", "h4"}
    sim.run_until(lambda: sim.state("h1") == "recovered" and sim.state("h2") == "recovered")

    for name in ("id-a", "id-b", "id-c"):
        assert sim.world.runs_on(name)[0] in ("h3", "h4")


def test_a_source_that_returns_in_the_middle_starts_nothing_twice(sim: Sim) -> None:
    sim.world.nova.full = True
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "evacuating")
    sim.world.power_on("h1")
    sim.world.run_guest("id-a", "h1")  # somebody starts it there by hand
    sim.world.nova.full = False
    sim.run(120)

    assert sim.world.runs_on("id-a") == ["h1"]  # TwoRun would have been raised


def test_a_deleted_vm_is_skipped(sim: Sim) -> None:
    sim.world.nova.full = True
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "evacuating")
    del sim.world.nova.servers_by_id["id-b"]
    sim.world.nova.full = False
    sim.run_until(lambda: sim.state("h1") == "recovered")

    statuses = {vm.name: vm.status for vm in sim.incident("h1").vms}
    assert statuses["b"] is VmStatus.SKIPPED
    assert statuses["a"] is VmStatus.DONE


def test_a_paused_vm_is_reset_and_recovered(sim: Sim) -> None:
    sim.world.nova.boot("p", "h1", vm_state="paused", status="PAUSED")
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")

    record = next(vm for vm in sim.incident("h1").vms if vm.name == "p")
    assert (record.status, record.vm_state) == (VmStatus.DONE, "paused")


def test_a_vm_caught_in_a_live_migration_is_left_for_a_person(sim: Sim) -> None:
    sim.world.nova.boot("m", "h1", task_state="migrating")
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")

    record = next(vm for vm in sim.incident("h1").vms if vm.name == "m")
    assert record.status is VmStatus.PENDING
    assert "may exist elsewhere" in record.reason
    assert "m" not in sim.world.noted("evacuate")


def test_a_bmc_that_answers_again_is_used_without_a_person(sim: Sim) -> None:
    sim.world.fencing.outcome = "dead"
    sim.world.cut_off("h1")
    sim.run_until(lambda: sim.state("h1") == "held")
    sim.run(45)
    sim.world.fencing.outcome = "works"
    sim.run_until(lambda: sim.state("h1") == "recovered")

    told = sim.reports.told()
    assert told.count("h1:held") == 1
    assert told[-3:] == ["h1:fenced", "h1:evacuating", "h1:recovered"]


def test_a_host_that_was_heard_while_it_was_fenced_and_fails_again_is_fenced_again(
    sim: Sim, monkeypatch: pytest.MonkeyPatch
) -> None:
    spared = FenceResult("redfish", None, "h1 is heard again", given_up=True)
    with monkeypatch.context() as patch:
        patch.setattr(sim.world.fencing, "fence", lambda host, heard: spared)
        sim.world.cut_off("h1")
        sim.run_until(lambda: sim.state("h1") == "held")
    sim.world.heal("h1")
    sim.run(60)
    held = sim.incident("h1")
    assert (held.state, held.held_by) == ("held", "no-proof")
    assert "look at h1" in held.advice
    assert sim.world.noted("fence") == []

    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    assert sim.world.noted("fence") == ["h1"]


def test_a_host_that_lives_and_fails_again_is_fenced_again_before_anything_moves(sim: Sim) -> None:
    sim.world.nova.full = True
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")  # everything pending: no capacity
    sim.world.hosts["h1"].powered = True
    sim.world.hosts["h1"].compute = False  # so that it is not taken back
    sim.run(20)
    sim.world.run_guest("id-a", "h1")  # somebody starts it there
    sim.world.cut_off("h1")
    sim.world.nova.full = False
    fenced = len(sim.world.noted("fence"))
    sim.run_until(lambda: sim.world.runs_on("id-a") not in ([], ["h1"]))

    assert len(sim.world.noted("fence")) == fenced + 1


def test_a_glance_of_life_with_the_power_known_to_be_off_delays_only(sim: Sim) -> None:
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "fencing" or sim.state("h1") == "evacuating")
    sim.world.hosts["h1"].beat = sim.world.clock.time  # a witness that has just begun anew
    sim.run_until(lambda: sim.state("h1") == "recovered")
    assert sorted(sim.world.noted("evacuate")) == ["a", "b", "off"]


def test_a_host_that_never_returns_can_be_closed_by_a_person(sim: Sim) -> None:
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    sim.store.release(sim.incident("h1").id, "ann")
    sim.run_until(lambda: sim.state("h1") == "cleared")
    assert "closed by ann" in sim.incident("h1").reason
    assert sim.world.nova.forced == {"h1"}


def test_only_so_many_evacuations_are_under_way_at_a_time() -> None:
    sim = Sim(policy=Policy(parallel=3))
    for number in range(9):
        sim.world.nova.boot(f"vm{number}", "h1")
    sim.world.power_off("h1")
    most = 0
    while sim.state("h1") != "recovered":
        sim.run(STEP)
        most = max(most, sum(record.under_way for record in sim.world.nova.records))
        assert sim.world.clock.time < START + 200, sim.story()
    assert most == 3
    assert len(sim.world.noted("evacuate")) == 9


def test_the_most_important_vm_comes_first() -> None:
    sim = Sim(policy=Policy(parallel=1))
    sim.world.nova.boot("low", "h1")
    sim.world.nova.boot("high", "h1", metadata={"vmha:priority": "9"})
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    assert sim.world.noted("evacuate") == ["high", "low"]


def test_a_failed_evacuation_that_may_have_started_goes_to_the_same_host_only(sim: Sim) -> None:
    sim.world.power_off("h1")
    sim.run_until(lambda: any(r.status == "pre-migrating" for r in sim.world.nova.records))
    record = next(r for r in sim.world.nova.records if r.server_id == "id-a")
    sim.world.nova.break_off(record)
    sim.run_until(lambda: sim.state("h1") == "recovered")

    again = [r for r in sim.world.nova.records if r.server_id == "id-a"]
    assert len(again) == 2
    assert again[1].dest == record.dest
