# SPDX-License-Identifier: Apache-2.0
"""What to do next with one VM of a host that is proven off, from all that is known of it."""

from __future__ import annotations

from dataclasses import replace

from vmha_remediator.remedy import flight, original, outdated, vm_leave
from vmha_remediator.remedy.facts import ACCEPTED, Migration, Server
from vmha_remediator.remedy.incident import VmStatus
from vmha_remediator.remedy.steps import FollowVm, ResetState, RestoreVm, StartVm, Step
from vmha_remediator.remedy.vm_case import Case, pending, settle

#: What a person can do about a VM whose evacuation Nova took on, and then nobody began.
LOST = (
    "its evacuation {no_progress}: the message by which Nova's services ask each other may be "
    "lost, as when RabbitMQ restarts. Make sure that nova-conductor works and that no other host "
    "runs it; to have it asked for anew: openstack server set --state error {id}"
)


def next_step(case: Case) -> Step | None:
    """Return what to do with one VM now; None: wait."""
    vm, server = case.vm, case.server
    if server is None:
        return settle(case, VmStatus.SKIPPED, "was deleted meanwhile")
    if server.host != vm.old_host:
        # Whatever its records say: of two that are accepted Nova's conductor takes the older one,
        # and the newer one stays as it is for ever.
        return _elsewhere(case, server)
    if case.awaited is not None:
        return _follow(case, server, case.awaited)
    return vm_leave.next_step(case, server)


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
            return vm_leave.evacuate(case, server)
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
    if not flight.lingers(record, case.now, case.policy):
        return None if record == case.vm else FollowVm(record)
    return settle(
        case, VmStatus.MOVING, flight.told(case.hosts_of(migration)), migration_id=migration.id
    )


def _elsewhere(case: Case, server: Server) -> Step | None:
    """Judge a VM that Nova no longer places on the dead host."""
    dest = server.host
    if case.last is None and case.vm.started is None and not case.vm.attempts:
        return settle(case, VmStatus.SKIPPED, f"is on {dest}; not moved by this incident")
    if dest is None:
        return settle(case, VmStatus.SKIPPED, f"has no host any more: it is {server.vm_state}")
    late = outdated.broken_by(case.vm, server, case.facts)
    if server.task_state and late is None:
        return None
    vm = replace(case.vm, dest=dest, migration_id=case.last.id if case.last else None)
    if case.last is None:
        vm = replace(vm, migration_id=case.vm.migration_id)
    case = replace(case, vm=vm, journaled=case.vm)
    if server.vm_state == "error":
        return _in_error(case, server, dest, late)
    action = original.action(vm, server.vm_state)
    if action is None:
        return _arrived(case, server, dest)
    if _in_trouble(case, dest):
        # What is asked of a dead nova-compute waits in its queue until it lives again.
        return pending(case, f"is {server.vm_state} on {dest}, which is in trouble itself")
    if action == vm.acted and not case.policy.due(vm.not_before, case.now):
        return None
    return StartVm(vm) if action == "start" else RestoreVm(vm, action)


def _in_error(case: Case, server: Server, dest: str, late: Migration | None) -> Step | None:
    """Judge a VM that is in error where it has arrived, put there by a `late` request or not."""
    if late is None:
        return pending(case, f"arrived on {dest} in error: {server.fault or 'no fault'}")
    if _in_trouble(case, dest):
        return pending(case, f"is in error on {dest}, which is in trouble itself")
    return ResetState(case.vm, "active", "it runs; only a request that came too late failed")


def _in_trouble(case: Case, host: str) -> bool:
    return case.facts.cluster is not None and host in case.facts.cluster.in_trouble


def _arrived(case: Case, server: Server, dest: str) -> Step | None:
    where = original.IS.get(server.vm_state, f"is {server.vm_state} on")
    known = original.caveat(case.vm, server.vm_state)
    sentence = f"{where} {dest}{'; ' if known else ''}{known}"
    return settle(case, VmStatus.DONE, sentence, reason=known)
