# SPDX-License-Identifier: Apache-2.0
"""What to do next with one VM of a host that is proven off, from all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vmha_remediator.remedy import candidates, groups, original, unprotectable
from vmha_remediator.remedy.facts import (
    ACCEPTED,
    FAILED,
    FINISHED,
    NOT_STARTED,
    Facts,
    Migration,
    Server,
)
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

#: Nova evacuates from these alone (nova.compute.api.API.evacuate, check_instance_state).
EVACUABLE = frozenset({"active", "stopped", "error"})
#: Odd states that a reset to "active" makes evacuable; what they were is in the journal.
RESETTABLE = frozenset({"paused", "suspended", "rescued"})
#: What can be said of a VM in a state from which nothing leads on.
STUCK: Mapping[str, str] = {
    "shelved": "is shelved, so nothing of it ran; it can be unshelved when its host is back. To "
    "have it moved to another host now, where it will be stopped: openstack server set --state "
    "active {id}",
}
#: Tasks that died with the host and left nothing behind elsewhere.
DEAD_TASKS = frozenset(
    {
        "powering-off", "powering-on", "rebooting", "reboot_pending", "reboot_started",
        "reboot_pending_hard", "rebooting_hard", "reboot_started_hard", "pausing", "unpausing",
        "suspending", "resuming", "rescuing", "unrescuing", "image_snapshot",
        "image_snapshot_pending", "image_pending_upload", "image_uploading", "image_backup",
        "updating_password", "shelving", "shelving_image_pending_upload",
        "shelving_image_uploading",
    }
)  # fmt: skip
DELETE_TASKS = frozenset({"deleting", "soft-deleting"})
REBUILD_TASKS = frozenset({"rebuilding", "rebuild_block_device_mapping", "rebuild_spawning"})
#: What a record says was last done to a VM whose resize was confirmed.
CONFIRM = "confirm-resize"
#: What a person should know where Nova refuses; the rest is said the same way for all.
REFUSED: Mapping[str, str] = {
    CONFIRM: "its resize waits to be confirmed, which Nova refuses ({why}): it needs the host "
    "that the VM came from. To have it moved all the same, its resize never to be finished: "
    "openstack server set --state active {id}",
}
#: What a person can do about a VM whose evacuation Nova took on, and then nobody began.
LOST = (
    "its evacuation {no_progress}: the message by which Nova's services ask each other may be "
    "lost, as when RabbitMQ restarts. Make sure that nova-conductor works and that no other host "
    "runs it; to have it asked for anew: openstack server set --state error {id}"
)
#: States of a VM that its owner has deleted.
GONE = frozenset({"soft-delete", "deleted"})
#: Where a VM may run of which not even Nova knows where it was going.
SOMEWHERE = "an unknown host"
#: A second try on the same destination: Nova refuses it there if the guest already exists.
SAME_DEST_ATTEMPTS = 2


@dataclass(frozen=True)
class Case:
    """All that is known of one VM."""

    vm: VmRecord
    server: Server | None
    last: Migration | None  # its latest evacuation in this incident
    tried: Mapping[str, int]  # destinations that were named and refused it, with how often
    facts: Facts
    now: float
    policy: Policy
    chooser: candidates.Chooser
    journaled: VmRecord | None = None  # the record as it is stored, where `vm` is ahead of it

    @property
    def has_left(self) -> bool:
        """Tell whether Nova places the VM on another host."""
        return self.server is not None and self.server.host != self.vm.old_host


def _settle(case: Case, status: VmStatus, sentence: str, **fields: object) -> Step | None:
    """Return the step that writes a new status down, or None when it says nothing new."""
    reason = fields.pop("reason", "") if status is VmStatus.DONE else sentence
    if status is VmStatus.DONE or status is VmStatus.SKIPPED:
        fields["finished"] = case.now
    record = replace(case.vm, status=status, reason=reason, **fields)  # type: ignore[arg-type]
    stored = case.journaled or case.vm
    return None if record == stored else FollowVm(record, f"{case.vm.name}: {sentence}")


def pending(case: Case, reason: str, **fields: object) -> Step | None:
    return _settle(case, VmStatus.PENDING, reason, **fields)


def next_step(case: Case) -> Step | None:
    """Return what to do with one VM now; None: wait."""
    vm, server = case.vm, case.server
    if server is None:
        return _settle(case, VmStatus.SKIPPED, "was deleted meanwhile")
    if case.last is not None and case.last.under_way and not _dest_died(case):
        return _follow(case, server, case.last)
    if server.host != vm.old_host:
        return _elsewhere(case, server)
    return _at_home(case, server)


def _dest_died(case: Case) -> bool:
    return bool(case.last) and _fenced(case, case.last.dest if case.last else None)


def _fenced(case: Case, host: str | None) -> bool:
    cluster = case.facts.cluster
    return cluster is not None and host in cluster.fenced


def _given_up(case: Case) -> bool:
    """Tell whether a person has taken Nova's task off a VM that no destination has taken on.

    As long as Nova means to evacuate it, it is "rebuilding".
    """
    server = case.server
    return server is not None and server.host == case.vm.old_host and not server.task_state


def _follow(case: Case, server: Server, migration: Migration) -> Step | None:
    dest = migration.dest or case.vm.dest
    if case.now - migration.created > case.policy.stuck_after:
        if migration.status == ACCEPTED and _given_up(case):
            return _evacuate(case, server)
        no_progress = f"makes no progress (record {migration.id}, {migration.status})"
        reason = (
            LOST.format(no_progress=no_progress, id=server.id)
            if migration.status == ACCEPTED
            else f"its evacuation to {dest} {no_progress}; look at nova-compute there"
        )
        return pending(case, reason, migration_id=migration.id, dest=dest)
    record = replace(
        case.vm, status=VmStatus.MOVING, dest=dest, migration_id=migration.id, reason=""
    )
    return None if record == case.vm else FollowVm(record)


def _elsewhere(case: Case, server: Server) -> Step | None:
    """Judge a VM that Nova no longer places on the dead host."""
    dest = server.host
    if case.last is None and case.vm.started is None:
        return _settle(case, VmStatus.SKIPPED, f"is on {dest}; not moved by this incident")
    if dest is None:
        return _settle(case, VmStatus.SKIPPED, f"has no host any more: it is {server.vm_state}")
    if server.task_state:
        return None
    vm = replace(case.vm, dest=dest, migration_id=case.last.id if case.last else None)
    if case.last is None:
        vm = replace(vm, migration_id=case.vm.migration_id)
    case = replace(case, vm=vm, journaled=case.vm)
    if server.vm_state == "error":
        return pending(case, f"arrived on {dest} in error: {server.fault or 'no fault'}")
    action = original.action(vm, server.vm_state)
    if action is None:
        return _arrived(case, server, dest)
    if case.facts.cluster is not None and dest in case.facts.cluster.in_trouble:
        # What is asked of a dead nova-compute waits in its queue until it lives again.
        return pending(case, f"is {server.vm_state} on {dest}, which is in trouble itself")
    if action == vm.acted and case.now < vm.not_before:
        return None
    return StartVm(vm) if action == "start" else RestoreVm(vm, action)


def _arrived(case: Case, server: Server, dest: str) -> Step | None:
    where = original.IS.get(server.vm_state, f"is {server.vm_state} on")
    known = original.caveat(case.vm, server.vm_state)
    sentence = f"{where} {dest}{'; ' if known else ''}{known}"
    return _settle(case, VmStatus.DONE, sentence, reason=known)


def _at_home(case: Case, server: Server) -> Step | None:
    """Judge a VM that Nova still places on the dead host, with no evacuation under way."""
    vm, last = case.vm, case.last
    if last is not None and last.status in (NOT_STARTED, FAILED) and not _known(vm, last):
        return _failed(case, server, last)
    if last is not None and last.status in FINISHED and vm.started is not None:
        return None  # Nova has moved it between two of our reads
    if vm.status is VmStatus.REQUESTED and case.now < vm.not_before + case.policy.settle:
        return None  # the record may still appear
    confirmed = vm.acted == CONFIRM and server.vm_state != "resized"
    if case.now < vm.not_before and not confirmed:
        return None
    if server.task_state and not _dest_died(case):
        return _unstick(case, server, server.task_state)
    return _evacuate(case, server)


def _known(vm: VmRecord, last: Migration) -> bool:
    """Tell whether this failed record has been counted already."""
    return last.id == vm.migration_id and vm.status is not VmStatus.MOVING


def _failed(case: Case, server: Server, last: Migration) -> Step | None:
    attempts = max(case.vm.attempts, 1)
    what = f"attempt {attempts} failed: {server.fault or last.status}"
    again = case.now + case.policy.retry_after(attempts)
    refused = last.status == NOT_STARTED and last.dest is not None
    if refused and case.chooser.untried(server, case.tried):
        again = case.now  # only that host has no room for it
    late = attempts >= case.policy.quick_attempts
    half = case.vm.may_run_on
    if last.status == FAILED and server.vm_state == "error" and not _dest_died(case):
        half = last.dest or SOMEWHERE
    elif last.status == NOT_STARTED:
        what += groups.together(case.facts.groups, server.id)
    return _settle(
        case,
        VmStatus.PENDING if late else VmStatus.WAITING,
        what,
        attempts=attempts,
        may_run_on=half,
        not_before=again,
        migration_id=last.id,
        dest=last.dest,
    )


def refused(vm: VmRecord, why: str, now: float, policy: Policy) -> VmRecord:
    """Return the record of a VM whose evacuation Nova has refused: it is tried again later."""
    late = vm.attempts >= policy.quick_attempts
    return replace(
        vm,
        status=VmStatus.PENDING if late else VmStatus.WAITING,
        reason=f"attempt {vm.attempts} refused: {why}",
        not_before=now + policy.retry_after(vm.attempts),
    )


def not_restored(vm: VmRecord, action: str, why: str, now: float, policy: Policy) -> VmRecord:
    """Return the record of a VM that Nova refuses to bring nearer to what it was."""
    what = REFUSED.get(action, "Nova refused to {action} it on {dest}: {why}")
    return replace(
        vm,
        status=VmStatus.PENDING,
        reason=what.format(action=action, dest=vm.dest, why=why, id=vm.server_id),
        not_before=now + policy.retry_limit,
    )


def _unstick(case: Case, server: Server, task: str) -> Step | None:
    if task in DEAD_TASKS:
        to = "error" if server.vm_state == "error" else "active"
        return ResetState(case.vm, to, f"its task '{task}' died with the host")
    if task in REBUILD_TASKS and case.now < case.vm.not_before + case.policy.stuck_after:
        return None  # an evacuation whose record has not been seen yet
    if task in DELETE_TASKS:
        return _settle(case, VmStatus.SKIPPED, "was being deleted when its host died")
    if not server.launched:
        return pending(case, f"was in the middle of '{task}' when its host died")
    return pending(
        case,
        f"was in the middle of '{task}' when its host died, so it may exist elsewhere; find out "
        f"where it runs, then: openstack server set --state error {case.vm.server_id}",
    )


def _evacuate(case: Case, server: Server) -> Step | None:
    vm, last, state = case.vm, case.last, server.vm_state
    if not server.launched and state in ("error", "building"):
        return pending(case, "was never started; delete it or build it again")
    if reason := unprotectable.why(server, case.policy.disks):
        return pending(case, reason)
    if _dest_died(case) and server.task_state:
        to = "error" if vm.vm_state == "error" else "active"
        return ResetState(vm, to, f"its destination {last.dest if last else ''} died too")
    if state not in EVACUABLE:
        return _odd(case, state)
    half = vm.may_run_on
    if half is None and last and last.status == FAILED and state == "error":
        half = last.dest or SOMEWHERE
    if half and not _fenced(case, half):
        return _once_more(case, server, half)
    if state == "error" and vm.vm_state != "error":
        # Nova starts what it evacuates from "error", whatever it was, and whatever waits for it.
        return ResetState(vm, "active", "it is to arrive as it was, not as Nova left it")
    return Evacuate(vm)


def _odd(case: Case, state: str) -> Step | None:
    """Bring a VM out of a state from which Nova does not evacuate, where that can be done."""
    refused = f"Nova does not evacuate a server that is {state}"
    if state in RESETTABLE:
        return ResetState(case.vm, "active", refused)
    if state == "resized":
        return _confirm(case)
    if state in GONE:
        return _settle(case, VmStatus.SKIPPED, "was deleted, and can only be restored by hand")
    return pending(case, STUCK.get(state, refused).format(id=case.vm.server_id))


def _once_more(case: Case, server: Server, dest: str) -> Step | None:
    """Try again where it may have been started: only there Nova refuses to start it twice."""
    if dest == SOMEWHERE or case.vm.attempts > SAME_DEST_ATTEMPTS:
        return pending(
            case,
            f"its evacuation to {dest} failed half-way ({server.fault or 'no fault'}); "
            f"make sure that it does not run there, then evacuate it by hand",
        )
    return Evacuate(case.vm, dest)


def _confirm(case: Case) -> Step | None:
    """Confirm a resize; the host that it would go back from is the dead one."""
    if case.vm.acted != CONFIRM or case.now >= case.vm.not_before:
        return ConfirmResize(case.vm)
    return None
