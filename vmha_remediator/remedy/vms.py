# SPDX-License-Identifier: Apache-2.0
"""What to do next with the protected VMs of a host that is proven off: who, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from vmha_remediator.remedy import groups, one_vm, original, protect
from vmha_remediator.remedy.facts import Facts, Migration, Server
from vmha_remediator.remedy.incident import IN_FLIGHT, Incident, VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import ConfirmResize, Evacuate, FollowVm, ResetState, Step

#: Steps that begin something on the way off the dead host: not without proof.
STARTING = (Evacuate, ResetState, ConfirmResize)


def journal(incident: Incident, facts: Facts, policy: Policy) -> tuple[VmRecord, ...]:
    """Return records of the protected VMs on the host that are not written down yet."""
    known = {vm.server_id for vm in incident.vms}
    begun = {vm.server_id: vm for vm in facts.unfinished}
    return tuple(
        _written(incident, server, begun.get(server.id))
        for server in facts.servers or ()
        if server.host == incident.host
        and server.id not in known
        and protect.is_protected(server, policy.protect)
    )


def _written(incident: Incident, server: Server, begun: VmRecord | None) -> VmRecord:
    """Return a VM as it is; one that another incident was not done with is to be as it was."""
    return VmRecord(
        server_id=server.id,
        name=server.name,
        old_host=incident.host,
        vm_state=server.vm_state,
        task_state=server.task_state,
        locked=server.locked,
        locked_reason=server.locked_reason,
        priority=protect.priority(server),
        wish=original.wanted(begun) if begun else original.wish(server),
    )


def steps_for(
    incident: Incident, facts: Facts, now: float, policy: Policy, *, may_start: str
) -> tuple[Step, ...]:
    """Return the steps for every VM of the incident, most important first.

    `may_start` is empty when evacuations may begin now, else the reason why not.
    """
    servers = {s.id: s for s in facts.servers or ()}
    last = _latest(facts.migrations or (), incident)
    following: list[Step] = []
    starting: list[Step] = []
    in_flight = facts.in_flight_elsewhere
    turns = groups.Turns(facts.groups, _moving(incident) | facts.moving_elsewhere)
    for vm in sorted(incident.vms, key=lambda v: (-v.priority, v.name, v.server_id)):
        if vm.status in (VmStatus.DONE, VmStatus.SKIPPED):
            continue
        case = one_vm.Case(
            vm, servers.get(vm.server_id), last.get(vm.server_id), facts, now, policy
        )
        step = one_vm.next_step(case)
        if step is None:
            in_flight += vm.status in IN_FLIGHT and not case.has_left
        elif not isinstance(step, STARTING):
            following.append(step)
            in_flight += isinstance(step, FollowVm) and step.record.status in IN_FLIGHT
        elif may_start or (rival := turns.rival(vm.server_id)):
            following += _postponed(vm, may_start or f"waits for {rival}")
        elif in_flight < policy.parallel:
            starting.append(step)
            in_flight += 1
            turns.take(vm.server_id)
    return (*following, *starting)


def _moving(incident: Incident) -> frozenset[str]:
    return frozenset(vm.server_id for vm in incident.vms if vm.status in IN_FLIGHT)


def give_up(incident: Incident, why: str) -> tuple[Step, ...]:
    """Return the steps that list every VM not yet moved as pending, with one reason."""
    return tuple(
        FollowVm(replace(vm, status=VmStatus.PENDING, reason=why), f"{vm.name}: {why}")
        for vm in incident.vms
        if vm.status in (VmStatus.WAITING, VmStatus.REQUESTED)
    )


def _latest(migrations: Iterable[Migration], incident: Incident) -> Mapping[str, Migration]:
    """Return each server's latest evacuation that this incident can have caused."""
    begun = incident.fencing_since or incident.opened
    found: dict[str, Migration] = {}
    for migration in sorted(migrations, key=lambda m: m.created):
        # Nova stamps whole seconds with its own clock; a minute covers both. An older one
        # that is still under way counts too: somebody else evacuates this VM.
        if migration.under_way or migration.created >= begun - 60:
            found[migration.server_id] = migration
    return found


def _postponed(vm: VmRecord, why: str) -> list[Step]:
    if vm.status is VmStatus.PENDING or vm.reason == why:
        return []
    return [FollowVm(replace(vm, reason=why))]
