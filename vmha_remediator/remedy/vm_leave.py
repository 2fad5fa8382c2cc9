# SPDX-License-Identifier: Apache-2.0
"""Getting one VM away from its dead host: out of a dead task, out of an odd state, evacuated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vmha_remediator.remedy import groups, outdated, unprotectable
from vmha_remediator.remedy.facts import FAILED, FINISHED, NOT_STARTED, Migration, Server
from vmha_remediator.remedy.incident import VmRecord, VmStatus
from vmha_remediator.remedy.steps import ConfirmResize, Evacuate, ResetState, Step
from vmha_remediator.remedy.vm_case import CONFIRM, Case, pending, settle

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
#: States of a VM that its owner has deleted.
GONE = frozenset({"soft-delete", "deleted"})
#: Where a VM may run of which not even Nova knows where it was going.
SOMEWHERE = "an unknown host"
#: A second try on the same destination: Nova refuses it there if the guest already exists.
SAME_DEST_ATTEMPTS = 2


def next_step(case: Case, server: Server) -> Step | None:
    """Judge a VM that Nova still places on the dead host, with no evacuation under way."""
    vm, last = case.vm, case.last
    if last is not None and not _known(vm, last):
        if last.status in (NOT_STARTED, FAILED):
            return _failed(case, server, last)
        if last.status in FINISHED and vm.started is not None:
            if not case.policy.due(last.updated + case.policy.settle, case.now):
                return None  # Nova has moved it between two of our reads
            if _is_over(case, server):
                return _failed(case, server, last)
    asked = vm.status is VmStatus.REQUESTED
    if asked and not case.policy.due(vm.not_before + case.policy.settle, case.now):
        return None  # the record may still appear
    confirmed = vm.acted == CONFIRM and server.vm_state != "resized"
    if not case.policy.due(vm.not_before, case.now) and not confirmed:
        return None
    if server.task_state and not case.dest_died:
        return _unstick(case, server, server.task_state)
    return evacuate(case, server)


def _is_over(case: Case, server: Server) -> bool:
    """Tell whether nobody works on an evacuation any more, although its record is finished.

    A nova-compute that starts completes the records of what was to leave its host, whether it has
    left or not (nova.compute.manager: _destroy_evacuated_instances).
    """
    if not server.task_state:
        return True
    # Its task stays, too, where a request that came too late has put it in error.
    return case.facts.heard and outdated.broken_by(case.vm, server, case.facts) is not None


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
    if last.status == FAILED and server.vm_state == "error" and not case.dest_died:
        half = last.dest or SOMEWHERE
    elif last.status == NOT_STARTED:
        what += groups.together(case.facts.groups, server.id) + case.chooser.kept(server)
    return settle(
        case,
        VmStatus.PENDING if late else VmStatus.WAITING,
        what,
        attempts=attempts,
        may_run_on=half,
        not_before=again,
        migration_id=last.id,
        dest=last.dest,
    )


def _unstick(case: Case, server: Server, task: str) -> Step | None:
    if task in DEAD_TASKS:
        to = "error" if server.vm_state == "error" else "active"
        return ResetState(case.vm, to, f"its task '{task}' died with the host")
    asked = case.vm.status is VmStatus.REQUESTED  # and Nova has no record of that
    if asked and outdated.broken_by(case.vm, server, case.facts):
        return ResetState(case.vm, "active", outdated.LEFT)
    if task in REBUILD_TASKS and case.now < case.vm.not_before + case.policy.stuck_after:
        return None  # an evacuation whose record has not been seen yet
    if task in DELETE_TASKS:
        return settle(case, VmStatus.SKIPPED, "was being deleted when its host died")
    if not server.launched:
        return pending(case, f"was in the middle of '{task}' when its host died")
    return pending(
        case,
        f"was in the middle of '{task}' when its host died, so it may exist elsewhere; find out "
        f"where it runs, then: openstack server set --state error {case.vm.server_id}",
    )


def evacuate(case: Case, server: Server) -> Step | None:
    vm, state = case.vm, server.vm_state
    if not server.launched and state in ("error", "building"):
        return pending(case, "was never started; delete it or build it again")
    if reason := unprotectable.told(vm.reason):
        return pending(case, reason)
    if why := unprotectable.why(server, case.policy.disks):
        return pending(case, f"{why}{unprotectable.NOW}")
    if case.dest_died and server.task_state:
        to = "error" if vm.vm_state == "error" else "active"
        return ResetState(vm, to, f"its destination {', '.join(sorted(case.bound_for))} died too")
    if state not in EVACUABLE:
        return _odd(case, state)
    half = vm.may_run_on
    if half is None and state == "error":
        half = _half_way(case)
    if half and half not in case.facts.still_off:
        vm = replace(vm, may_run_on=half)  # which its state no longer says once that is reset
        step = _once_more(case, server, half)
    else:
        step = Evacuate(vm)
    if isinstance(step, Evacuate) and state == "error" and vm.vm_state != "error":
        # Nova starts what it evacuates from "error", whatever it was, and whatever waits for it.
        return ResetState(vm, "active", "it is to arrive as it was, not as Nova left it")
    return step


def _half_way(case: Case) -> str | None:
    """Return where an evacuation failed half-way, by the records alone, or None.

    Which of them are this incident's goes by two machines' clocks. So once it has asked for one,
    the latest of all counts: better one VM too many that a person has to look at.
    """
    last = case.last or (case.latest if case.vm.attempts else None)
    return (last.dest or SOMEWHERE) if last is not None and last.status == FAILED else None


def _odd(case: Case, state: str) -> Step | None:
    """Bring a VM out of a state from which Nova does not evacuate, where that can be done."""
    refused = f"Nova does not evacuate a server that is {state}"
    if state in RESETTABLE:
        return ResetState(case.vm, "active", refused)
    if state == "resized":
        return _confirm(case)
    if state in GONE:
        return settle(case, VmStatus.SKIPPED, "was deleted, and can only be restored by hand")
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
    if case.vm.acted != CONFIRM or case.policy.due(case.vm.not_before, case.now):
        return ConfirmResize(case.vm)
    return None
