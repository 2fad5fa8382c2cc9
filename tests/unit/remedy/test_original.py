# SPDX-License-Identifier: Apache-2.0
"""A VM becomes again what it was, step by step, from whatever Nova made of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.remedy.build import NOW, facts, incident, server
from vmha_remediator.remedy import original, vm_case, vms
from vmha_remediator.remedy.facts import Facts, Migration, Server, ServerGroup
from vmha_remediator.remedy.incident import VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import (
    ConfirmResize,
    Evacuate,
    FollowVm,
    ResetState,
    RestoreVm,
    StartVm,
    Step,
)

POLICY = Policy()
MOVED = VmRecord(
    "id-a", "a", "h1", VmStatus.MOVING, attempts=1, not_before=NOW - 1, started=NOW - 1
)


def _plan(vms_: tuple[VmRecord, ...], known: Facts, may_start: str = "") -> tuple[Step, ...]:
    given = incident("evacuating", vms=vms_)
    return vms.steps_for(given, known, NOW, POLICY, may_start=may_start)


def _arrived(vm: VmRecord, state: str, **fields: object) -> Step | None:
    done = Migration("m1", "id-a", "h1", "h2", "done", NOW - 1)
    there = server("a", host="h2", vm_state=state, **fields)
    steps = _plan((vm,), facts(servers=(there,), migrations=(done,)))
    assert len(steps) <= 1
    return steps[0] if steps else None


def _does(step: Step | None) -> str:
    if isinstance(step, RestoreVm):
        return step.action
    if isinstance(step, StartVm):
        return "start"
    assert isinstance(step, FollowVm), step
    return str(step.record.status)


@pytest.mark.parametrize(
    ("was", "arrives", "deed"),
    [
        ("active", "active", "done"),
        ("active", "stopped", "start"),
        ("stopped", "stopped", "done"),
        ("paused", "active", "pause"),
        ("paused", "stopped", "start"),
        ("paused", "paused", "done"),
        ("suspended", "active", "suspend"),
        ("suspended", "stopped", "start"),
        ("suspended", "suspended", "done"),
        ("rescued", "active", "rescue"),
        ("rescued", "stopped", "rescue"),
        ("rescued", "rescued", "done"),
        ("error", "active", "done"),
        ("resized", "active", "done"),
        ("active", "paused", "done"),  # by its owner
    ],
)
def test_a_vm_becomes_what_it_was(was: str, arrives: str, deed: str) -> None:
    vm = replace(MOVED, vm_state=was, wish=original.wish(server("a", vm_state=was)))
    assert _does(_arrived(vm, arrives)) == deed


@pytest.mark.parametrize(
    ("was", "task", "wish"),
    [
        ("active", None, "active"),
        ("active", "powering-off", "stopped"),
        ("stopped", "powering-on", "active"),
        ("stopped", "image_snapshot", "stopped"),
        ("active", "pausing", "paused"),
        ("paused", "unpausing", "active"),
        ("suspended", "resuming", "active"),
        ("active", "rescuing", "rescued"),
        ("active", "shelving", "stopped"),
        ("shelved", None, "stopped"),
        ("error", None, "active"),
    ],
)
def test_a_task_that_died_says_what_was_wanted(was: str, task: str | None, wish: str) -> None:
    assert original.wish(server("a", vm_state=was, task_state=task)) == wish
    assert original.wanted(replace(MOVED, vm_state=was, task_state=task)) == wish


def test_a_stopped_vm_that_its_owner_started_is_left_running() -> None:
    vm = replace(MOVED, vm_state="stopped", wish="stopped")
    assert _does(_arrived(vm, "active")) == "done"


@pytest.mark.parametrize("fields", [{"reset_to": "active"}, {"attempts": 2}])
def test_a_stopped_vm_that_nova_started_is_stopped(fields: dict[str, object]) -> None:
    vm = replace(MOVED, vm_state="stopped", wish="stopped", **fields)  # type: ignore[arg-type]
    assert _does(_arrived(vm, "active")) == "stop"


def test_what_was_lost_is_said_at_the_end() -> None:
    vm = replace(MOVED, vm_state="suspended", wish="suspended")
    step = _arrived(vm, "suspended")
    assert isinstance(step, FollowVm)
    assert step.sentence.startswith("a: is suspended on h2; it was suspended")
    assert "memory" in step.record.reason


def test_nova_is_given_time_before_it_is_asked_again() -> None:
    vm = replace(MOVED, vm_state="paused", wish="paused", acted="pause", not_before=NOW + 5)
    assert _arrived(vm, "active") is None
    started = replace(vm, acted="start")
    assert _does(_arrived(started, "active")) == "pause"  # the next step does not wait


def test_nothing_is_asked_of_a_host_in_trouble() -> None:
    known = facts()
    assert known.cluster is not None
    vm = replace(MOVED, vm_state="active", wish="active")
    done = Migration("m1", "id-a", "h1", "h2", "done", NOW - 1)
    there = server("a", host="h2", vm_state="stopped")
    troubled = replace(known.cluster, in_trouble=frozenset({"h1", "h2"}))
    (step,) = _plan((vm,), replace(known, servers=(there,), migrations=(done,), cluster=troubled))
    assert isinstance(step, FollowVm)
    assert step.record.status is VmStatus.PENDING
    assert "which is in trouble itself" in step.record.reason
    assert _plan((step.record,), replace(known, servers=(there,), cluster=troubled)) == ()
    (again,) = _plan((step.record,), replace(known, servers=(there,), migrations=(done,)))
    assert isinstance(again, StartVm)


def test_a_vm_whose_new_host_died_too_is_to_be_as_it_was_at_first() -> None:
    first = replace(MOVED, server_id="id-a", vm_state="paused", wish="paused", old_host="h0")
    there = server("a", host="h1", vm_state="stopped")
    (second,) = vms.journal(
        incident("fenced"), facts(servers=(there,), unfinished=(first,)), POLICY
    )
    assert (second.vm_state, second.wish) == ("stopped", "paused")


def test_a_vm_shelved_meanwhile_has_no_host_and_is_skipped() -> None:
    vm = replace(MOVED, vm_state="active")
    gone = server("a", host=None, vm_state="shelved_offloaded")
    (step,) = _plan((vm,), facts(servers=(gone,)))
    assert isinstance(step, FollowVm)
    assert step.record.status is VmStatus.SKIPPED


# -- before it is moved ---------------------------------------------------------------------


def _home(vm: VmRecord, found: Server) -> Step | None:
    steps = _plan((vm,), facts(servers=(found,)))
    return steps[0] if steps else None


WAITING = VmRecord("id-a", "a", "h1", vm_state="active", wish="active")


def test_a_resize_is_confirmed_first_on_the_host_that_lives() -> None:
    vm = replace(WAITING, vm_state="resized")
    assert _home(vm, server("a", vm_state="resized")) == ConfirmResize(vm)
    asked = replace(vm, acted=vm_case.CONFIRM, not_before=NOW + 5)
    assert _home(asked, server("a", vm_state="resized")) is None
    assert _home(asked, server("a")) == Evacuate(asked)


def test_a_resized_vm_that_was_off_stays_off() -> None:
    assert original.wish(server("a", vm_state="resized", power=original.OFF)) == "stopped"
    assert original.wish(server("a", vm_state="resized", power=1)) == "active"


def test_a_refused_confirmation_says_what_a_person_can_do() -> None:
    vm = replace(WAITING, vm_state="resized", acted=vm_case.CONFIRM)
    told = vm_case.not_restored(vm, vm_case.CONFIRM, "409 no", NOW, POLICY)
    assert told.status is VmStatus.PENDING
    assert "openstack server set --state active id-a" in told.reason


def test_a_vm_in_soft_delete_is_skipped() -> None:
    step = _home(WAITING, server("a", vm_state="soft-delete"))
    assert isinstance(step, FollowVm)
    assert step.record.status is VmStatus.SKIPPED


def test_a_shelved_vm_waits_with_advice() -> None:
    step = _home(replace(WAITING, vm_state="shelved"), server("a", vm_state="shelved"))
    assert isinstance(step, FollowVm)
    assert step.record.status is VmStatus.PENDING
    assert "openstack server set --state active id-a" in step.record.reason


def test_a_vm_that_novalidhost_left_in_error_is_reset_so_that_it_stays_stopped() -> None:
    vm = replace(WAITING, vm_state="stopped", wish="stopped", attempts=1)
    step = _home(vm, server("a", vm_state="error"))
    assert isinstance(step, ResetState)
    assert step.to == "active"


def test_one_that_may_run_somewhere_goes_nowhere_else_whatever_fails_next() -> None:
    failed = Migration("m1", "id-a", "h1", "h2", "failed", NOW - 9)
    (step,) = _plan(
        (MOVED,), facts(servers=(server("a", vm_state="error"),), migrations=(failed,))
    )
    assert isinstance(step, FollowVm)
    assert step.record.may_run_on == "h2"
    # ... the next attempt never reached a host, which says nothing of the first
    refused = Migration("m2", "id-a", "h1", None, "error", NOW - 3)
    vm = replace(step.record, attempts=2, migration_id="m2", not_before=NOW)
    known = facts(servers=(server("a", vm_state="error"),), migrations=(failed, refused))
    (reset,) = _plan((vm,), known)
    assert isinstance(reset, ResetState)
    active = replace(known, servers=(server("a"),))
    assert _plan((reset.record,), active) == (Evacuate(reset.record, "h2"),)
    (free,) = _plan((vm,), replace(known, still_off=frozenset({"h2"})))
    assert isinstance(free, ResetState)


# -- server groups --------------------------------------------------------------------------


def _group(policy: str) -> ServerGroup:
    return ServerGroup("g", "db", policy, frozenset({"id-a", "id-b", "id-z"}))


@pytest.mark.parametrize(
    ("policy", "at_once"), [("anti-affinity", 2), ("soft-anti-affinity", 2), ("affinity", 3)]
)
def test_members_that_avoid_each_other_move_one_after_another(policy: str, at_once: int) -> None:
    records = tuple(VmRecord(f"id-{n}", n, "h1", vm_state="active") for n in "abc")
    known = facts(servers=tuple(server(n) for n in "abc"), groups=(_group(policy),))
    steps = _plan(records, known)
    assert sum(isinstance(step, Evacuate) for step in steps) == at_once
    waits = [s.record.reason for s in steps if isinstance(s, FollowVm)]
    assert all("group 'db'" in reason for reason in waits)
    assert len(waits) == 3 - at_once


def test_a_member_that_another_incident_moves_is_waited_for() -> None:
    other = VmRecord("id-z", "z", "h9", VmStatus.MOVING)
    known = facts(servers=(server("a"),), groups=(_group("anti-affinity"),), unfinished=(other,))
    (step,) = _plan((WAITING,), known)
    assert isinstance(step, FollowVm)


def test_strict_affinity_to_a_dead_host_is_named() -> None:
    none = Migration("m1", "id-a", "h1", None, "error", NOW - 1)
    broken = server("a", vm_state="error", fault="No valid host was found.")
    known = facts(servers=(broken,), migrations=(none,), groups=(_group("affinity"),))
    (step,) = _plan((MOVED,), known)
    assert isinstance(step, FollowVm)
    assert "openstack server group delete g" in step.record.reason
