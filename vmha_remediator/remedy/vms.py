# SPDX-License-Identifier: Apache-2.0
"""What to do next with each protected VM of a host that is proven off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from vmha_remediator.remedy import candidates, protect
from vmha_remediator.remedy.facts import FAILED, FINISHED, NOT_STARTED, Facts, Migration, Server
from vmha_remediator.remedy.incident import IN_FLIGHT, Incident, VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import Evacuate, FollowVm, ResetState, StartVm, Step

#: Nova evacuates from these alone (nova.compute.api.API.evacuate, check_instance_state).
EVACUABLE = frozenset({"active", "stopped", "error"})
#: Odd states that a reset to "active" makes evacuable; what they were is in the journal.
RESETTABLE = frozenset({"paused", "suspended", "rescued"})
#: Tasks that died with the host and left nothing behind elsewhere.
DEAD_TASKS = frozenset(
    {
        "powering-off", "powering-on", "rebooting", "reboot_pending", "reboot_started",
        "reboot_pending_hard", "rebooting_hard", "reboot_started_hard", "pausing", "unpausing",
        "suspending", "resuming", "rescuing", "unrescuing", "image_snapshot",
        "image_snapshot_pending", "image_pending_upload", "image_uploading", "image_backup",
        "updating_password",
    }
)  # fmt: skip
DELETE_TASKS = frozenset({"deleting", "soft-deleting"})
REBUILD_TASKS = frozenset({"rebuilding", "rebuild_block_device_mapping", "rebuild_spawning"})
#: A second try on the same destination: Nova refuses it there if the guest already exists.
SAME_DEST_ATTEMPTS = 2


@dataclass(frozen=True)
class _Case:
    """All that is known of one VM."""

    vm: VmRecord
    server: Server | None
    last: Migration | None  # its latest evacuation in this incident
    tried: Mapping[str, int]  # destinations that were named and refused it, with how often
    facts: Facts
    now: float
    policy: Policy
    chooser: candidates.Chooser


def journal(incident: Incident, facts: Facts, policy: Policy) -> tuple[VmRecord, ...]:
    """Return records of the protected VMs on the host that are not written down yet."""
    known = {vm.server_id for vm in incident.vms}
    return tuple(
        VmRecord(
            server_id=server.id,
            name=server.name,
            old_host=incident.host,
            vm_state=server.vm_state,
            task_state=server.task_state,
            locked=server.locked,
            locked_reason=server.locked_reason,
            priority=protect.priority(server),
        )
        for server in facts.servers or ()
        if server.host == incident.host
        and server.id not in known
        and protect.is_protected(server, policy.protect)
    )


def steps_for(
    incident: Incident, facts: Facts, now: float, policy: Policy, *, may_start: str
) -> tuple[Step, ...]:
    """Return the steps for every VM of the incident, most important first.

    `may_start` is empty when evacuations may begin now, else the reason why not.
    """
    chooser = candidates.Chooser(facts, policy, Counter(facts.in_flight_to))
    following: list[Step] = []
    ready: list[tuple[_Case, Step]] = []
    in_flight = facts.in_flight_elsewhere
    for case in _cases(incident, facts, now, policy, chooser):
        step = _next(case)
        if isinstance(step, Evacuate | ResetState):
            ready.append((case, step))
            continue
        following += () if step is None else (step,)
        record = step.record if isinstance(step, FollowVm) else case.vm
        if record.status in IN_FLIGHT:
            in_flight += 1
            chooser.take(record.dest, case.server)
    if may_start:
        return (*following, *(s for case, _ in ready for s in _postponed(case.vm, may_start)))
    starting: list[Step] = []
    for case, step in ready:
        if in_flight >= policy.parallel:
            break
        placed = _placed(case, step)
        if isinstance(placed, Evacuate | ResetState):
            starting.append(placed)
            in_flight += 1
        elif placed is not None:
            following.append(placed)
    return (*following, *starting)


def _cases(
    incident: Incident, facts: Facts, now: float, policy: Policy, chooser: candidates.Chooser
) -> Iterator[_Case]:
    """Yield the VMs that are not over with, most important first."""
    servers = {s.id: s for s in facts.servers or ()}
    records = _of_this_incident(facts.migrations or (), incident)
    for vm in sorted(incident.vms, key=lambda v: (-v.priority, v.name, v.server_id)):
        if vm.status in (VmStatus.DONE, VmStatus.SKIPPED):
            continue
        own = [m for m in records if m.server_id == vm.server_id]
        tried = Counter(m.dest for m in own if m.dest and m.status == NOT_STARTED)
        server, last = servers.get(vm.server_id), own[-1] if own else None
        yield _Case(vm, server, last, tried, facts, now, policy, chooser)


def _placed(case: _Case, step: Step) -> Step | None:
    """Give an evacuation its destination; None: every host that could take it is busy."""
    if not isinstance(step, Evacuate) or case.server is None:
        return step
    if step.dest is not None:  # it can only be there
        case.chooser.take(step.dest, case.server)
        return step
    choice = case.chooser.choose(case.server, case.tried)
    if choice.nowhere:
        return _pending(case, choice.nowhere)
    if choice.full:
        return None
    case.chooser.take(choice.dest, case.server)
    return replace(step, dest=choice.dest)


def give_up(incident: Incident, why: str) -> tuple[Step, ...]:
    """Return the steps that list every VM not yet moved as pending, with one reason."""
    return tuple(
        FollowVm(replace(vm, status=VmStatus.PENDING, reason=why), f"{vm.name}: {why}")
        for vm in incident.vms
        if vm.status in (VmStatus.WAITING, VmStatus.REQUESTED)
    )


def _of_this_incident(migrations: Iterable[Migration], incident: Incident) -> list[Migration]:
    """Return the evacuations that this incident can have caused, oldest first."""
    begun = incident.fencing_since or incident.opened
    # Nova stamps whole seconds with its own clock; a minute covers both. An older one that is
    # still under way counts too: somebody else evacuates this VM.
    found = [m for m in migrations if m.under_way or m.created >= begun - 60]
    return sorted(found, key=lambda m: m.created)


def _postponed(vm: VmRecord, why: str) -> list[Step]:
    if vm.status is VmStatus.PENDING or vm.reason == why:
        return []
    return [FollowVm(replace(vm, reason=why))]


def _settle(case: _Case, status: VmStatus, sentence: str, **fields: object) -> Step | None:
    """Return the step that writes a new status down, or None when it says nothing new."""
    reason = "" if status is VmStatus.DONE else sentence
    if status is VmStatus.DONE or status is VmStatus.SKIPPED:
        fields["finished"] = case.now
    record = replace(case.vm, status=status, reason=reason, **fields)  # type: ignore[arg-type]
    return None if record == case.vm else FollowVm(record, f"{case.vm.name}: {sentence}")


def _pending(case: _Case, reason: str, **fields: object) -> Step | None:
    return _settle(case, VmStatus.PENDING, reason, **fields)


def _next(case: _Case) -> Step | None:
    """Return what to do with one VM now; None: wait."""
    vm, server = case.vm, case.server
    if server is None:
        return _settle(case, VmStatus.SKIPPED, "was deleted meanwhile")
    if case.last is not None and case.last.under_way and not _dest_died(case):
        return _follow(case, case.last)
    if server.host != vm.old_host:
        return _elsewhere(case, server)
    return _at_home(case, server)


def _dest_died(case: _Case) -> bool:
    cluster = case.facts.cluster
    return bool(case.last and cluster and case.last.dest in cluster.fenced)


def _follow(case: _Case, migration: Migration) -> Step | None:
    dest = migration.dest or case.vm.dest
    if case.now - migration.created > case.policy.stuck_after:
        return _pending(
            case,
            f"its evacuation to {dest or 'a host not chosen yet'} makes no progress "
            f"(record {migration.id}, {migration.status}); look at nova-compute there",
            migration_id=migration.id,
            dest=dest,
        )
    record = replace(
        case.vm, status=VmStatus.MOVING, dest=dest, migration_id=migration.id, reason=""
    )
    return None if record == case.vm else FollowVm(record)


def _elsewhere(case: _Case, server: Server) -> Step | None:
    """Judge a VM that Nova no longer places on the dead host."""
    dest = server.host
    if case.last is None and case.vm.started is None:
        return _settle(case, VmStatus.SKIPPED, f"is on {dest}; not moved by this incident")
    if server.task_state or case.now < case.vm.not_before:
        return None
    move = {"dest": dest, "migration_id": case.last.id if case.last else case.vm.migration_id}
    if server.vm_state == "error":
        return _pending(case, f"arrived on {dest} in error: {server.fault or 'no fault'}", **move)
    if server.vm_state == "stopped" and case.vm.vm_state != "stopped":
        return StartVm(replace(case.vm, **move))  # type: ignore[arg-type]
    what = "is stopped on" if server.vm_state == "stopped" else "runs on"
    was = f"; it was {case.vm.vm_state} before" if case.vm.vm_state in RESETTABLE else ""
    return _settle(case, VmStatus.DONE, f"{what} {dest}{was}", **move)


def _at_home(case: _Case, server: Server) -> Step | None:
    """Judge a VM that Nova still places on the dead host, with no evacuation under way."""
    vm, last = case.vm, case.last
    if last is not None and last.status in (NOT_STARTED, FAILED) and not _known(vm, last):
        return _failed(case, server, last)
    if last is not None and last.status in FINISHED and vm.started is not None:
        return None  # Nova has moved it between two of our reads
    if vm.status is VmStatus.REQUESTED and case.now < vm.not_before + case.policy.settle:
        return None  # the record may still appear
    if case.now < vm.not_before:
        return None
    if server.task_state and not _dest_died(case):
        return _unstick(case, server, server.task_state)
    return _evacuate(case, server)


def _known(vm: VmRecord, last: Migration) -> bool:
    """Tell whether this failed record has been counted already."""
    return last.id == vm.migration_id and vm.status is not VmStatus.MOVING


def _failed(case: _Case, server: Server, last: Migration) -> Step | None:
    attempts = max(case.vm.attempts, 1)
    what = f"attempt {attempts} failed: {server.fault or last.status}"
    again = case.now + case.policy.retry_after(attempts)
    refused = last.status == NOT_STARTED and last.dest is not None
    if refused and case.chooser.untried(server, case.tried):
        again = case.now  # only that host has no room for it
    late = attempts >= case.policy.quick_attempts
    return _settle(
        case,
        VmStatus.PENDING if late else VmStatus.WAITING,
        what,
        attempts=attempts,
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


def _unstick(case: _Case, server: Server, task: str) -> Step | None:
    if task in DEAD_TASKS:
        to = "error" if server.vm_state == "error" else "active"
        return ResetState(case.vm, to, f"its task '{task}' died with the host")
    if task in REBUILD_TASKS and case.now < case.vm.not_before + case.policy.stuck_after:
        return None  # an evacuation whose record has not been seen yet
    if task in DELETE_TASKS or not server.launched:
        return _pending(case, f"was in the middle of '{task}' when its host died")
    return _pending(
        case,
        f"was in the middle of '{task}' when its host died, so it may exist elsewhere; find out "
        f"where it runs, then: openstack server set --state error {case.vm.server_id}",
    )


def _evacuate(case: _Case, server: Server) -> Step | None:
    vm, last = case.vm, case.last
    if not server.launched and server.vm_state == "error":
        return _pending(case, "was never started; delete it or build it again")
    if _dest_died(case) and server.task_state:
        return ResetState(vm, "error", f"its destination {last.dest if last else ''} died too")
    if server.vm_state in RESETTABLE:
        return ResetState(
            vm, "active", f"Nova does not evacuate a server that is {server.vm_state}"
        )
    if server.vm_state not in EVACUABLE:
        return _pending(case, f"Nova does not evacuate a server that is {server.vm_state}")
    if last and last.status == FAILED and server.vm_state == "error" and not _dest_died(case):
        # The destination may have started it before it failed. Only there Nova itself
        # refuses to start it a second time.
        if last.dest is None or vm.attempts > SAME_DEST_ATTEMPTS:
            return _pending(
                case,
                f"its evacuation to {last.dest} failed half-way ({server.fault or 'no fault'}); "
                f"make sure that it does not run there, then evacuate it by hand",
            )
        return Evacuate(vm, last.dest)
    return Evacuate(vm)
