# SPDX-License-Identifier: Apache-2.0
"""What happens next to one VM, by what Nova says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.remedy.build import NOW, facts, incident, server
from vmha_remediator.remedy import flight, protect, vms
from vmha_remediator.remedy.facts import Cluster, Facts, Migration, Server
from vmha_remediator.remedy.incident import VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import Evacuate, FollowVm, ResetState, StartVm, Step

VM = VmRecord("id-a", "a", "h1", vm_state="active")
ASKED = replace(VM, status=VmStatus.REQUESTED, attempts=1, not_before=NOW - 1, started=NOW - 1)
MOVING = replace(ASKED, status=VmStatus.MOVING, migration_id="m1", dest="h2")
POLICY = Policy()


def _migration(status: str, dest: str | None = "h2", age: float = 1.0) -> Migration:
    return Migration("m1", "id-a", "h1", dest, status, NOW - age)


def _step(
    vm: VmRecord,
    found: Server | None,
    record: Migration | None = None,
    known: Facts | None = None,
) -> Step | None:
    servers = () if found is None else (found,)
    migrations = () if record is None else (record,)
    known = replace(known or facts(), servers=servers, migrations=migrations)
    steps = vms.steps_for(incident("evacuating", vms=(vm,)), known, NOW, POLICY, may_start="")
    assert len(steps) <= 1
    return steps[0] if steps else None


def _status(step: Step | None) -> VmStatus:
    assert isinstance(step, FollowVm), step
    return step.record.status


def test_a_vm_at_home_is_evacuated_where_the_scheduler_likes() -> None:
    assert _step(VM, server("a")) == Evacuate(VM)


def test_a_vm_in_error_that_once_ran_is_evacuated() -> None:
    broken = replace(VM, vm_state="error")
    assert _step(broken, server("a", vm_state="error")) == Evacuate(broken)


def test_a_vm_that_never_started_is_pending() -> None:
    step = _step(VM, server("a", vm_state="error", launched=False))
    assert _status(step) is VmStatus.PENDING


@pytest.mark.parametrize("state", ["paused", "suspended", "rescued"])
def test_odd_states_are_reset_first(state: str) -> None:
    step = _step(VM, server("a", vm_state=state))
    assert isinstance(step, ResetState)
    assert step.to == "active"


@pytest.mark.parametrize("task", ["powering-off", "rebooting", "image_snapshot"])
def test_a_task_that_died_with_the_host_is_reset(task: str) -> None:
    assert isinstance(_step(VM, server("a", task_state=task)), ResetState)


@pytest.mark.parametrize("task", ["migrating", "resize_migrating", "resize_finish"])
def test_a_vm_that_may_exist_elsewhere_is_left_for_a_person(task: str) -> None:
    step = _step(VM, server("a", task_state=task))
    assert _status(step) is VmStatus.PENDING
    assert isinstance(step, FollowVm)
    assert "find out where it runs" in step.record.reason


@pytest.mark.parametrize("state", ["shelved", "queued"])
def test_a_state_that_nova_does_not_evacuate_is_pending_with_a_reason(state: str) -> None:
    step = _step(VM, server("a", vm_state=state))
    assert isinstance(step, FollowVm)
    assert step.record.status is VmStatus.PENDING
    assert state in step.record.reason


def test_what_was_asked_a_moment_ago_is_not_asked_again() -> None:
    assert _step(ASKED, server("a", task_state="rebuilding")) is None
    assert _step(ASKED, server("a")) is None


def test_what_was_never_received_is_asked_again_later() -> None:
    lost = replace(ASKED, not_before=NOW - 60, started=None)
    assert isinstance(_step(lost, server("a")), Evacuate)


def test_an_evacuation_under_way_is_followed() -> None:
    step = _step(ASKED, server("a", task_state="rebuilding"), _migration("pre-migrating"))
    assert isinstance(step, FollowVm)
    assert (step.record.status, step.record.dest) == (VmStatus.MOVING, "h2")
    assert _step(step.record, server("a"), _migration("pre-migrating")) is None


def test_an_evacuation_that_hangs_is_listed() -> None:
    at_work = server("a", task_state="rebuild_spawning")
    step = _step(MOVING, at_work, _migration("pre-migrating", age=2000))
    assert isinstance(step, FollowVm)
    assert step.record.status is VmStatus.PENDING
    assert "look at nova-compute there" in step.record.reason


def test_an_evacuation_that_nova_has_lost_is_asked_for_anew_when_a_person_says_so() -> None:
    """RabbitMQ has restarted in between: nobody knows of it any more, but Nova's database."""
    lost, waits = _migration("accepted", None, age=2000), server("a", task_state="rebuilding")
    step = _step(ASKED, waits, lost)
    assert isinstance(step, FollowVm)
    assert step.record.status is VmStatus.PENDING
    assert "openstack server set --state error id-a" in step.record.reason
    assert _step(step.record, waits, lost) is None
    given_up = server("a", vm_state="error")
    assert isinstance(_step(step.record, given_up, lost), ResetState)
    assert _step(step.record, server("a"), lost) == Evacuate(step.record)


def test_an_evacuation_that_nova_may_still_begin_is_left_alone_whoever_has_touched_it() -> None:
    young = _migration("accepted", None)
    step = _step(ASKED, server("a"), young)
    assert _status(step) is VmStatus.MOVING


def test_a_vm_that_arrived_is_done() -> None:
    step = _step(MOVING, server("a", host="h2"), _migration("done"))
    assert isinstance(step, FollowVm)
    assert step.record.status is VmStatus.DONE
    assert step.record.finished == NOW
    assert step.sentence == "a: runs on h2"


def test_a_vm_that_was_stopped_stays_stopped() -> None:
    stopped = replace(MOVING, vm_state="stopped")
    step = _step(stopped, server("a", host="h2", vm_state="stopped"), _migration("done"))
    assert _status(step) is VmStatus.DONE


def test_a_vm_that_arrived_stopped_is_started() -> None:
    step = _step(MOVING, server("a", host="h2", vm_state="stopped"), _migration("done"))
    assert isinstance(step, StartVm)


def test_a_vm_that_arrived_broken_is_pending() -> None:
    broken = server("a", host="h2", vm_state="error", fault="no disk")
    step = _step(MOVING, broken, _migration("done"))
    assert isinstance(step, FollowVm)
    assert "no disk" in step.record.reason


def test_a_failure_before_any_destination_is_retried_later() -> None:
    fault = "No valid host was found."
    step = _step(MOVING, server("a", vm_state="error", fault=fault), _migration("error", None))
    assert isinstance(step, FollowVm)
    assert step.record.status is VmStatus.WAITING
    assert step.record.not_before == NOW + POLICY.retry_first
    assert fault in step.record.reason
    # ... and counted once only
    known = step.record
    assert _step(known, server("a", vm_state="error"), _migration("error", None)) is None
    due = replace(known, not_before=NOW)
    again = _step(due, server("a", vm_state="error"), _migration("error", None))
    assert isinstance(again, ResetState)  # Nova starts what it evacuates from "error"
    assert _step(due, server("a"), _migration("error", None)) == Evacuate(due)


def test_after_quick_attempts_it_is_pending_and_still_tried() -> None:
    tired = replace(MOVING, attempts=3)
    step = _step(tired, server("a", vm_state="error"), _migration("error", None))
    assert isinstance(step, FollowVm)
    assert step.record.status is VmStatus.PENDING
    due = replace(step.record, not_before=NOW)
    assert isinstance(_step(due, server("a"), _migration("error")), Evacuate)


def test_a_failure_that_may_have_started_it_goes_back_to_the_same_host() -> None:
    failed = replace(MOVING, status=VmStatus.WAITING, not_before=NOW)
    step = _step(failed, server("a", vm_state="error"), _migration("failed"))
    assert isinstance(step, ResetState)  # Nova starts what it evacuates from "error"
    assert step.record == replace(failed, may_run_on="h2")
    assert _step(step.record, server("a"), _migration("failed")) == Evacuate(step.record, "h2")


def test_and_after_that_it_is_a_persons_turn() -> None:
    failed = replace(MOVING, status=VmStatus.WAITING, not_before=NOW, attempts=3)
    step = _step(failed, server("a", vm_state="error"), _migration("failed"))
    assert isinstance(step, FollowVm)
    assert "make sure that it does not run there" in step.record.reason


def test_a_claim_that_failed_before_anything_started_is_free_to_go_anywhere() -> None:
    failed = replace(MOVING, status=VmStatus.WAITING, not_before=NOW)
    assert _step(failed, server("a"), _migration("failed")) == Evacuate(failed)


def test_a_destination_that_died_frees_its_vm_while_it_is_proven_off() -> None:
    stuck, off = server("a", task_state="rebuilding"), facts(still_off=frozenset({"h2"}))
    step = _step(MOVING, stuck, _migration("pre-migrating"), off)
    assert isinstance(step, ResetState)
    assert step.to == "active"
    reset = server("a")
    step = _step(MOVING, reset, _migration("pre-migrating"), off)
    assert isinstance(step, Evacuate)


@pytest.mark.parametrize("begun", ["pre-migrating", "accepted"])
def test_a_request_that_found_no_room_leaves_the_one_before_as_it_was(begun: str) -> None:
    """Its destination was off when the VM was asked for anew, and may be back by now."""
    first = _migration(begun, "h2", age=20.0)
    second = Migration("m2", "id-a", "h1", None, "error", NOW - 10.0)
    again = replace(MOVING, status=VmStatus.WAITING, not_before=NOW, attempts=2)
    failed = replace(again, migration_id="m2", reason="found no room")

    def look(off: set[str]) -> Step | None:
        known = facts(still_off=frozenset(off))
        known = replace(known, servers=(server("a"),), migrations=(first, second))
        going = incident("evacuating", vms=(failed,))
        return next(iter(vms.steps_for(going, known, NOW, POLICY, may_start="")), None)

    assert isinstance(look({"h2"}), Evacuate)
    waits = look(set())
    assert isinstance(waits, FollowVm)
    assert (waits.record.status, waits.record.dest) == (VmStatus.MOVING, "h2")


def test_a_destination_that_was_fenced_and_is_back_may_be_starting_it() -> None:
    both = frozenset({"h1", "h2"})
    cluster = Cluster(frozenset({"h1", "h2", "h3"}), both, both, unwell=frozenset())
    stuck = server("a", task_state="rebuild_spawning")
    known = facts(cluster=cluster)  # h2 is not off now
    assert _step(MOVING, stuck, _migration("pre-migrating"), known) is None
    assert _step(MOVING, server("a"), _migration("pre-migrating"), known) is None


def test_a_deleted_vm_is_skipped() -> None:
    assert _status(_step(VM, None)) is VmStatus.SKIPPED


def test_a_vm_that_somebody_else_moved_is_skipped() -> None:
    assert _status(_step(VM, server("a", host="h3"))) is VmStatus.SKIPPED


def test_an_evacuation_of_an_earlier_failure_does_not_count() -> None:
    old = _migration("completed", age=86400)
    assert isinstance(_step(VM, server("a"), old), Evacuate)


def test_the_reason_why_nothing_may_start_is_written_down_once() -> None:
    known = facts(servers=(server("a"),))
    given = incident("evacuating", vms=(VM,))
    (step,) = vms.steps_for(given, known, NOW, POLICY, may_start="it is heard")
    assert isinstance(step, FollowVm)
    assert step.record.reason == "it is heard"
    given = incident("evacuating", vms=(step.record,))
    assert vms.steps_for(given, known, NOW, POLICY, may_start="it is heard") == ()


def test_evacuations_of_other_hosts_count_against_the_limit() -> None:
    policy = replace(POLICY, parallel=2)
    begun = (_other("b", dest="h2"), _other("c", dest="h2"))
    assert _starts(policy, *begun) == 0
    assert _starts(policy, begun[0]) == 1


def _other(name: str, dest: str | None, age: float = 1.0) -> VmRecord:
    """Return a VM of another failed host on its way to `dest`, asked for so long ago."""
    asked = replace(VM, server_id=f"id-{name}", name=name, old_host="h3", not_before=NOW - age)
    return replace(asked, status=VmStatus.MOVING, dest=dest)


def _starts(policy: Policy, *others: VmRecord) -> int:
    """Return how many of two VMs are asked for while `others` are under way."""
    known = facts(servers=(server("a"), server("z")), unfinished=others)
    waits = incident("evacuating", vms=(VM, replace(VM, server_id="id-z", name="z")))
    found = vms.steps_for(waits, known, NOW, policy, may_start="")
    return sum(isinstance(step, Evacuate) for step in found)


OLD = POLICY.begin_wait + 1


def test_what_no_destination_has_begun_for_long_gives_its_place_free() -> None:
    policy = replace(POLICY, parallel=1)
    assert _starts(policy, _other("b", None, age=OLD)) == 1
    assert _starts(policy, _other("b", None, age=POLICY.begin_wait)) == 0
    assert _starts(policy, _other("b", "h2", age=OLD)) == 0  # one has begun it, or was named
    asked = replace(_other("b", None, age=OLD), status=VmStatus.REQUESTED)
    assert _starts(policy, asked) == 0  # Nova has not even accepted it


def test_but_never_more_than_twice_the_limit_are_under_way() -> None:
    """It may be Nova's conductor that is slow, and no dead host at all."""
    policy = replace(POLICY, parallel=2)
    old = [_other(name, None, age=OLD) for name in "bcde"]
    assert [_starts(policy, *old[:number]) for number in range(5)] == [2, 2, 2, 1, 0]
    assert _starts(policy, *old[:2], _other("f", "h2")) == 1


def test_a_vm_whose_evacuation_nobody_begins_is_told_of_once_and_not_asked_for_again() -> None:
    waits, lost = server("a", task_state="rebuilding"), _migration("accepted", None, age=OLD)
    asked = replace(ASKED, status=VmStatus.MOVING, migration_id="m1", not_before=NOW - OLD)
    off = facts(still_off=frozenset({"h2"}))
    step = _step(asked, waits, lost, off)
    assert isinstance(step, FollowVm)
    assert step.record == replace(asked, reason=flight.LINGERS)
    assert _step(step.record, waits, lost, off) is None
    begun = _step(step.record, waits, _migration("pre-migrating"))
    assert isinstance(begun, FollowVm)
    assert (begun.record.dest, begun.record.reason) == ("h2", "")


def _in_queue(off: set[str], *hosts: str, age: float = 5.0) -> Step | None:
    """Return what is done about a VM in the queue of one of `hosts`, some of them off."""
    waits, lost = server("a", task_state="rebuilding"), _migration("accepted", None, age=age)
    asked = replace(ASKED, status=VmStatus.MOVING, migration_id="m1", not_before=NOW - age)
    known = facts(still_off=frozenset(off), queued={"m1": frozenset(hosts)})
    return _step(asked, waits, lost, known)


def test_what_waits_in_the_queue_of_a_dead_host_is_asked_for_anew_once_that_is_known() -> None:
    step = _in_queue({"h2", "h3"}, "h2")
    assert isinstance(step, ResetState)
    assert step.because == "its destination h2 died too"
    assert isinstance(_in_queue({"h2", "h3"}, "h2", "h3"), ResetState)


def test_it_is_left_alone_while_any_host_may_begin_it() -> None:
    assert _in_queue(set(), "h2") is None
    assert _in_queue({"h2"}, "h2", "h3") is None  # of two requests one may wait at each
    assert _in_queue({"h2"}) is None  # not known


def test_the_hosts_that_may_begin_it_are_told() -> None:
    step = _in_queue({"h2"}, "h2", "h3", age=OLD)
    assert isinstance(step, FollowVm)
    assert step.record.reason == flight.QUEUED.format(hosts="h2 or h3")


def test_what_waits_in_queues_is_what_nobody_has_begun_of_the_vms_that_are_not_over_with() -> None:
    over = replace(MOVING, server_id="id-c", status=VmStatus.DONE)
    lost = _migration("accepted", None)
    records = (
        replace(lost, id="m0", created=NOW - 9),
        lost,
        replace(_migration("accepted", "h3"), id="m2", server_id="id-b"),
        replace(lost, id="m3", server_id="id-c"),
    )
    given = incident("evacuating", vms=(MOVING, replace(VM, server_id="id-b"), over))
    known = facts(migrations=records, queued={"m1": frozenset({"h5", "h6"})})
    assert vms.unbegun(given, known) == [lost]
    assert vms.bound_for(given, known) == {"h3", "h5", "h6"}


def test_the_ways_that_may_yet_lead_to_a_host_are_those_of_vms_that_are_not_over_with() -> None:
    half = replace(VM, server_id="id-b", may_run_on="h3")
    over = replace(MOVING, server_id="id-c", status=VmStatus.DONE)
    known = facts(
        migrations=(
            _migration("pre-migrating"),
            replace(_migration("failed", "h4"), server_id="id-b"),
            replace(_migration("done", "h5"), server_id="id-b"),
            replace(_migration("pre-migrating", "h6"), server_id="id-c"),
        )
    )
    given = incident("evacuating", vms=(MOVING, half, over))
    assert vms.bound_for(given, known) == {"h2", "h3", "h4"}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"tags": frozenset({"vmha"})}, True),
        ({"metadata": {"HA_Enabled": "True"}}, True),
        ({"metadata": {"HA_Enabled": "no"}}, False),
        ({"extra_specs": {"evacuable": "true"}}, True),
        ({"image_properties": {"evacuable": "yes"}}, True),
        ({"metadata": {"ha_enabled": "True"}}, False),
        ({}, False),
    ],
)
def test_who_is_protected(fields: dict[str, object], wanted: bool) -> None:
    plain = {"tags": frozenset[str]()}
    assert protect.is_protected(server("a", **(plain | fields))) is wanted
    assert protect.is_protected(server("a", **(plain | fields)), "all")


@pytest.mark.parametrize(("text", "wanted"), [("7", 7), (" -1 ", -1), ("high", 0), ("", 0)])
def test_priority_is_a_number_or_nothing(text: str, wanted: int) -> None:
    assert protect.priority(server("a", metadata={"vmha:priority": text})) == wanted


@pytest.mark.parametrize(
    ("age", "task", "heard", "expected"),
    [
        (1.0, None, False, None),  # Nova may have moved it between two reads
        (20.0, None, False, VmStatus.WAITING),
        (20.0, "rebuilding", False, None),  # somebody may yet begin it
        (20.0, "rebuilding", True, VmStatus.WAITING),  # its host is back: nothing is started
    ],
)
def test_a_finished_record_of_a_vm_that_has_not_moved_is_a_failure(
    age: float, task: str | None, heard: bool, expected: VmStatus | None
) -> None:
    """A nova-compute that starts completes the records of what was to leave its host."""
    found = server("a", vm_state="error", task_state=task, fault="No valid host was found.")
    late = replace(_migration("failed", "h3", age=40.0), id="m0", updated=NOW - 25)
    finished = replace(_migration("completed", None, age=30.0), updated=NOW - age)
    known = facts("agent-down" if heard else "failure", servers=(found,))
    known = replace(known, migrations=(late, finished))
    begun = incident("evacuating", vms=(replace(MOVING, dest=None),))
    steps = vms.steps_for(begun, known, NOW, POLICY, may_start="")
    assert [_status(step) for step in steps] == ([] if expected is None else [expected])
