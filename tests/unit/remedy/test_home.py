# SPDX-License-Identifier: Apache-2.0
"""VMs that were not moved when their host came back: started there, once it is taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.remedy.build import NOW, facts, incident, server, service
from vmha_remediator.remedy.facts import Facts, Migration
from vmha_remediator.remedy.incident import ProofRecord, VmRecord, VmStatus
from vmha_remediator.remedy.plan import next_steps
from vmha_remediator.remedy.steps import FollowVm, Hold, Move, Plan, RestartVm, RestoreVm

OLD = ProofRecord("redfish", "power is off", "power reads off", NOW - 120)
VM = VmRecord("id-a", "a", "h1", status=VmStatus.PENDING, vm_state="active", attempts=4)
NO_ROOM = Migration("m1", "id-a", "h1", None, "error", NOW - 100)
FORCED = service(forced_down=True, updated_at=NOW)
TAKEN = service(updated_at=NOW)


def back(vm: VmRecord, **fields: Any) -> Plan:
    known: dict[str, Any] = {"service": FORCED, "migrations": (NO_ROOM,)}
    given = incident("recovered", heard_since=NOW - 60, proof=OLD, vms=(vm,))
    return next_steps(given, facts(None, **(known | fields)), NOW)


def words(plan: Plan) -> list[str]:
    return [
        f"-> {s.to}"
        if isinstance(s, Move)
        else f"{s.record.status}"
        if isinstance(s, FollowVm)
        else s.name
        for s in plan.steps
    ]


def test_a_vm_in_error_is_started_on_its_host_after_that_was_taken_back() -> None:
    plan = back(VM, servers=(server("a", vm_state="error"),))
    assert words(plan) == ["unforce", "restart-vm"]


def test_the_host_is_not_taken_back_while_nova_may_still_remove_guests_from_it() -> None:
    done = Migration("m0", "id-b", "h1", "h2", "done", NOW - 100)
    plan = back(VM, servers=(server("a", vm_state="error"),), migrations=(done, NO_ROOM))
    assert not [s for s in plan.steps if isinstance(s, RestartVm)]
    assert "has to be restarted, so that" in plan.sentence
    assert "1 evacuation record not completed" in plan.sentence


def test_of_two_records_of_a_vm_nova_completes_one_at_a_start_so_it_takes_another() -> None:
    done = Migration("m0", "id-b", "h1", "h2", "done", NOW - 100)
    now = replace(done, id="m1", status="completed", updated=NOW - 1)
    for other, word in (
        (now, "restarted once more"),
        (replace(now, server_id="id-c"), "restarted, so"),
        (replace(now, updated=NOW - 5000), "restarted, so"),  # of a failure of before
    ):
        plan = back(VM, servers=(server("a"),), migrations=(done, other))
        assert f"has to be {word}" in plan.sentence


def test_it_is_over_when_the_vm_runs_there() -> None:
    started = replace(VM, dest="h1", attempts=1, acted="start")
    runs = server("a")
    assert words(back(started, service=TAKEN, servers=(runs,))) == ["done"]
    done = replace(started, status=VmStatus.DONE)
    assert words(back(done, service=TAKEN, servers=(runs,))) == ["-> readmitted"]


def test_the_task_that_a_late_request_left_is_taken_off_unless_the_vm_may_exist_elsewhere() -> (
    None
):
    left = server("a", vm_state="error", task_state="rebuilding")
    late = Migration("m0", "id-a", "h1", "h3", "failed", NOW - 200, updated=NOW - 20)
    asked = Migration("m1", "id-a", "h1", None, "completed", NOW - 100, updated=NOW - 15)
    known: dict[str, Any] = {
        "service": TAKEN, "servers": (left,), "migrations": (late, asked)
    }  # fmt: skip
    assert words(back(VM, **known)) == ["reset-state"]
    assert words(back(VM, **known | {"migrations": (asked,)})) == [], "somebody may work on it"
    half = replace(VM, may_run_on="h3")
    plan = back(half, **known)
    assert "reset-state" not in words(plan)
    assert "may exist there" in str(plan.steps)


@pytest.mark.parametrize(
    ("what", "vm", "known"),
    [
        ("it is being started", VM, server("a", vm_state="error", task_state="rebooting_hard")),
        (
            "it was asked for a moment ago",
            replace(VM, dest="h1", attempts=1, not_before=NOW + 5),
            server("a", vm_state="error"),
        ),
    ],
)
def test_the_incident_stays_open_while_a_vm_is_on_its_way(
    what: str, vm: VmRecord, known: Any
) -> None:
    assert words(back(vm, service=TAKEN, servers=(known,))) == [], what


@pytest.mark.parametrize(
    ("vm", "known", "records", "why"),
    [
        (
            VM,
            {"vm_state": "error"},
            (Migration("m2", "id-a", "h1", "h2", "failed", NOW - 50),),
            "may exist there",
        ),
        (
            VM,
            {"vm_state": "error"},
            (
                Migration("m2", "id-a", "h1", "h3", "error", NOW - 50),
                Migration("m3", "id-a", "h1", "h2", "failed", NOW - 50),  # in the same second
            ),
            "to h2 failed half-way",
        ),
        (VM, {"vm_state": "paused"}, (), "is paused, was active before"),
        (replace(VM, may_run_on="h3"), {"vm_state": "error"}, (), "to h3 failed half-way"),
        (replace(VM, dest="h1", attempts=3), {"vm_state": "error"}, (), "in 3 attempts"),
        (VM, {"vm_state": "error", "launched": False}, (), "never started"),
    ],
)
def test_what_must_not_be_started_there_is_left_for_a_person(
    vm: VmRecord, known: dict[str, Any], records: tuple[Migration, ...], why: str
) -> None:
    found = {"servers": (server("a", **known),), "migrations": records, "service": TAKEN}
    (follow,) = back(vm, **found).steps
    assert isinstance(follow, FollowVm)
    plan = back(follow.record, **found)
    (hold,) = plan.steps
    assert isinstance(hold, Hold)
    assert hold.by == "vms-left"
    assert why in hold.reason


def test_a_vm_that_was_stopped_is_stopped_again() -> None:
    plan = back(replace(VM, vm_state="stopped"), servers=(server("a", vm_state="error"),))
    assert words(plan) == ["unforce", "restore-vm"]
    (step,) = [s for s in plan.steps if isinstance(s, RestoreVm)]
    assert step.action == "stop"
    quiet = (server("a", vm_state="stopped"),)
    assert words(back(replace(step.record, acted="stop"), service=TAKEN, servers=quiet)) == [
        "done"
    ]


def test_a_vm_that_nova_calls_active_although_it_is_off_is_started() -> None:
    off = server("a", power=4)
    assert words(back(VM, service=TAKEN, servers=(off,))) == ["restart-vm"]


def test_a_vm_that_died_with_its_host_does_not_run_because_nova_says_so() -> None:
    never_asked = replace(VM, attempts=0, dest=None)
    active = (server("a", power=1),)
    assert words(back(never_asked, service=TAKEN, servers=active)) == ["restart-vm"]
    started = replace(never_asked, dest="h1", attempts=1, acted="start")
    assert words(back(started, service=TAKEN, servers=active)) == ["done"]


def test_what_a_person_has_put_right_is_believed() -> None:
    """We may not start it ourselves, so nobody would ever say that it runs."""
    half = replace(VM, attempts=1, dest="h2", may_run_on="h2")
    assert words(back(half, service=TAKEN, servers=(server("a"),))) == ["done"]


def test_what_is_left_closes_by_itself_when_it_runs_again() -> None:
    vm = replace(VM, dest="h1", attempts=3)
    given = incident(
        "held", held_by="vms-left", fencing_since=NOW - 200, heard_since=NOW - 99, vms=(vm,)
    )
    known = facts(None, service=TAKEN, servers=(server("a", vm_state="error"),))
    assert words(next_steps(given, known, NOW)) == []
    fixed = replace(known, servers=(server("a"),))
    assert words(next_steps(given, fixed, NOW)) == ["-> recovered"]
    assert words(next_steps(given, facts(), NOW)) == ["-> detected"]  # it has failed again


def test_a_host_that_fails_again_takes_its_vms_with_it_again() -> None:
    came_back = replace(VM, status=VmStatus.DONE, dest="h1", attempts=1)
    moved = replace(VM, server_id="id-b", name="b", status=VmStatus.DONE, dest="h2")
    known: Facts = facts(service=service(forced_down=True), servers=(server("a"),))
    plan = next_steps(incident("fenced", vms=(came_back, moved)), known, NOW)
    assert words(plan) == ["waiting", "-> evacuating", "evacuate"]
    assert "evacuating 1 protected VM;" in plan.sentence


@pytest.mark.parametrize("state", ["shelved", "error"])
def test_what_did_not_run_before_does_not_keep_its_host_out(state: str) -> None:
    vm = VmRecord("id-a", "a", "h1", VmStatus.PENDING, vm_state=state, reason="it is as it was")
    plan = back(vm, servers=(server("a", vm_state=state),))
    (step,) = [s for s in plan.steps if isinstance(s, FollowVm)]
    assert step.record.status is VmStatus.DONE
    assert not any(isinstance(s, Hold) for s in plan.steps)
