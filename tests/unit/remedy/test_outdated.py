# SPDX-License-Identifier: Apache-2.0
"""A destination that died is back, and finds a request for a VM that runs elsewhere by now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.remedy.build import NOW, facts, incident, server, service
from vmha_remediator.remedy import outdated
from vmha_remediator.remedy.facts import Facts, Migration
from vmha_remediator.remedy.incident import POWER_OFF, Incident, ProofRecord, VmRecord, VmStatus
from vmha_remediator.remedy.plan import next_steps
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import FollowVm, ResetState, RestoreVm, Step, Unforce

DONE = VmRecord(
    "id-a", "a", "h1", VmStatus.DONE, "active", dest="h3", attempts=2, started=NOW - 90,
    finished=NOW - 50,
)  # fmt: skip
MOVING = replace(DONE, status=VmStatus.MOVING, finished=None)
ARRIVED = Migration("m2", "id-a", "h1", "h3", "done", NOW - 60, NOW - 51)
WAITS = Migration("m1", "id-a", "h1", "h2", "accepted", NOW - 90)
CAME = replace(WAITS, status="failed", updated=NOW - 1)
BROKEN = server("a", host="h3", vm_state="error")


def steps(vm: VmRecord, known: Facts) -> tuple[Step, ...]:
    known = replace(known, service=service(forced_down=True))
    return next_steps(incident("recovered", vms=(vm,)), known, NOW).steps


def test_a_request_is_late_when_it_fails_after_its_vm_has_arrived() -> None:
    assert outdated.late(DONE, (WAITS, ARRIVED)) is None
    assert outdated.late(DONE, (CAME, ARRIVED)) == CAME
    assert outdated.late(MOVING, (CAME, ARRIVED)) == CAME
    assert outdated.late(DONE, (replace(CAME, server_id="id-b"), ARRIVED)) is None


def test_an_attempt_that_failed_before_the_one_that_succeeded_is_not_late() -> None:
    failed = replace(CAME, updated=NOW - 70)
    assert outdated.late(DONE, (failed, ARRIVED)) is None
    assert outdated.late(MOVING, (failed, ARRIVED)) is None
    assert outdated.late(MOVING, (CAME,)) is None
    assert outdated.late(MOVING, ()) is None


def test_one_that_comes_after_a_newer_request_of_which_nova_has_no_record_is_late() -> None:
    """Nova went away when it was asked anew; the task that is left on the VM is nobody's."""
    asked = replace(MOVING, status=VmStatus.REQUESTED, not_before=NOW - 30, dest=None)
    assert outdated.late(asked, (CAME,)) == CAME
    assert outdated.late(asked, (replace(CAME, updated=NOW - 40),)) is None
    left = server("a", vm_state="error", task_state="rebuilding")
    known = facts(servers=(left,), migrations=(CAME,), service=service(forced_down=True))
    begun = incident("evacuating", vms=(asked,))
    plan = next_steps(begun, known, NOW)
    assert [type(step) for step in plan.steps] == [ResetState]
    earlier = replace(known, migrations=(replace(CAME, updated=NOW - 40),))
    assert next_steps(begun, earlier, NOW).steps == (), "its own record may not have been seen yet"


def test_it_may_be_the_very_record_by_which_the_vm_has_moved() -> None:
    """Nova's conductor has taken the older of two, and the newer one stays accepted."""
    stays = replace(ARRIVED, status="accepted", updated=0.0)
    there = replace(BROKEN, vm_state="active")
    moved = replace(CAME, dest="h3", status="done")
    known = facts(servers=(there,), migrations=(moved, stays))
    (done,) = steps(MOVING, known)
    assert isinstance(done, FollowVm)
    assert done.record.status is VmStatus.DONE
    left = replace(BROKEN, task_state="rebuilding")
    known = facts(servers=(left,), migrations=(CAME, stays))
    (again,) = steps(DONE, known)
    assert isinstance(again, FollowVm)
    assert isinstance(steps(again.record, known)[0], ResetState)
    assert steps(DONE, facts(servers=(left,), migrations=(WAITS, stays))) == ()


def test_a_vm_that_nova_then_puts_in_error_is_made_active_again_and_what_it_was() -> None:
    paused = replace(DONE, vm_state="paused")
    known = facts(servers=(BROKEN,), migrations=(CAME, ARRIVED))
    (again,) = steps(paused, known)
    assert isinstance(again, FollowVm)
    assert again.record.status is VmStatus.PENDING
    assert again.record.reason == outdated.BROKEN.format(late="h2", dest="h3")
    (reset,) = steps(again.record, known)
    assert isinstance(reset, ResetState)
    assert reset.to == "active"
    active = replace(known, servers=(replace(BROKEN, vm_state="active"),))
    (restore,) = steps(replace(reset.record, reset_to="active"), active)
    assert isinstance(restore, RestoreVm)
    assert restore.action == "pause"


def test_it_is_over_with_once_it_is_what_it_was() -> None:
    active = facts(servers=(replace(BROKEN, vm_state="active"),), migrations=(CAME, ARRIVED))
    assert steps(DONE, active) == ()
    (done,) = steps(replace(DONE, status=VmStatus.PENDING), active)
    assert isinstance(done, FollowVm)
    assert (done.record.status, done.record.finished) == (VmStatus.DONE, NOW)
    broken_later = facts(servers=(BROKEN,), migrations=(CAME, ARRIVED))
    assert steps(done.record, broken_later) == ()


def test_nothing_is_done_to_it_while_its_new_host_is_in_trouble_itself() -> None:
    known = facts(servers=(BROKEN,), migrations=(CAME, ARRIVED))
    assert known.cluster is not None
    known = replace(known, cluster=replace(known.cluster, in_trouble=frozenset({"h3"})))
    (step,) = steps(replace(DONE, status=VmStatus.PENDING), known)
    assert isinstance(step, FollowVm)
    assert "in trouble itself" in step.record.reason


# -- when the incident of the host that it came from is over --------------------------------


def test_the_incident_of_the_late_destination_takes_it_up_and_waits_for_it() -> None:
    """Otherwise it would stay in error for good, though it runs."""
    h2 = incident("recovered", host="h2", heard_since=NOW - 20)
    broken = replace(BROKEN, task_state="rebuilding")
    known = replace(
        facts(None, servers=(broken,), migrations=(CAME,), late_for=(DONE,)),
        host="h2", service=service(host="h2", forced_down=True, updated_at=NOW),
        heartbeat_age=0.5,
    )  # fmt: skip
    (taken,) = next_steps(h2, known, NOW).steps
    assert isinstance(taken, FollowVm)
    assert taken.record == replace(
        DONE, status=VmStatus.PENDING, reason=outdated.BROKEN.format(late="h2", dest="h3")
    )
    again = replace(h2, vms=(taken.record,))
    plan = next_steps(again, replace(known, late_for=()), NOW)
    assert [type(step) for step in plan.steps if not isinstance(step, Unforce)] == [ResetState]
    well = replace(known, late_for=(), servers=(replace(BROKEN, vm_state="active"),))
    done = next(s for s in next_steps(again, well, NOW).steps if isinstance(s, FollowVm))
    assert done.record.status is VmStatus.DONE


# -- a host that is back is not taken back before it has come upon what it was asked for --------


AGAIN = replace(ARRIVED, status="accepted")  # of two, Nova's conductor takes the older one


def back(*records: Migration, **known: Any) -> tuple[Incident, Facts]:
    """Return h2, which is well again, and the records of a VM that was on its way when it fell."""
    known |= {"opened": NOW - 130, "proof": ProofRecord("redfish", POWER_OFF, "", NOW - 120)}
    h2 = incident("recovered", host="h2", heard_since=NOW - 60, **known)
    looked = replace(
        facts(None, servers=(), migrations=(), asked=((DONE, records),)),
        host="h2", service=service(host="h2", forced_down=True, updated_at=NOW),
        heartbeat_age=0.5,
    )  # fmt: skip
    return h2, looked


def planned(h2: Incident, known: Facts) -> list[str]:
    return [step.name for step in next_steps(h2, known, NOW).steps]


@pytest.mark.parametrize("first", ["accepted", "done", "completed"])
def test_of_two_requests_one_may_be_to_come(first: str) -> None:
    h2, known = back(replace(WAITS, status=first), AGAIN)
    assert outdated.to_come(h2, known) == ("a",)
    assert planned(h2, known) == ["note"]
    assert "requests of before in its queue, for a" in next_steps(h2, known, NOW).sentence


def test_meanwhile_it_is_waited_for_and_not_for_ever() -> None:
    wait = Policy().late_wait
    assert planned(*back(WAITS, ARRIVED, well_since=NOW - wait + 1)) == []
    assert planned(*back(WAITS, ARRIVED, well_since=NOW - wait)) == ["unforce", "move"]


@pytest.mark.parametrize(
    "records",
    [
        (CAME, AGAIN),
        (CAME, ARRIVED, AGAIN),
        (ARRIVED,),
        (replace(WAITS, status="error"), ARRIVED),
        (replace(WAITS, status="failed", dest="h4"), ARRIVED),
    ],
)
def test_nothing_is_to_come_once_it_failed_there_or_where_nobody_was_asked(
    records: tuple[Migration, ...],
) -> None:
    assert planned(*back(*records)) == ["unforce", "move"]


def test_a_failure_there_of_before_it_died_is_none_of_that_request() -> None:
    h2, known = back(replace(CAME, updated=1.0), WAITS, ARRIVED)
    assert outdated.to_come(h2, known) == ("a",)
