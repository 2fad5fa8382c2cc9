# SPDX-License-Identifier: Apache-2.0
"""What to do next with the protected VMs of a host that is proven off: who, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from vmha_remediator.remedy import candidates, cells, groups, one_vm, order, original, protect
from vmha_remediator.remedy.facts import (
    ACCEPTED,
    FAILED,
    NOT_STARTED,
    Facts,
    Migration,
    Server,
)
from vmha_remediator.remedy.flight import Flight
from vmha_remediator.remedy.incident import IN_FLIGHT, Incident, VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import (
    ConfirmResize,
    Evacuate,
    FollowVm,
    ResetState,
    StartVm,
    Step,
)
from vmha_remediator.remedy.vm_case import Case, pending

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
    flight = Flight(now, policy).add_all(facts.unfinished)
    chooser = candidates.Chooser(
        facts, policy, flight.to.copy(), unknown=flight.unknown, foreign=cells.foreign(incident)
    )
    following: list[Step] = []
    ready: list[tuple[Case, Step]] = []
    wishes = order.order(incident, facts, now, policy)
    for case in _cases(incident, facts, now, policy, chooser, wishes):
        before, step = _in_turn(case, one_vm.next_step(case), wishes)
        following += before
        if isinstance(step, STARTING) and not case.has_left:
            ready.append((case, step))
            continue
        following += () if step is None else (step,)
        record = step.record if isinstance(step, FollowVm) else case.vm
        if record.status in IN_FLIGHT and not case.has_left and flight.add(record):
            chooser.take(record.dest, case.server)
    if may_start:
        return (*following, *(s for case, _ in ready for s in _postponed(case.vm, may_start)))
    starting: list[Step] = []
    turns = groups.Turns(facts.groups, _moving(incident) | facts.moving_elsewhere)
    for case, step in ready:
        if flight.full:
            break
        if rival := turns.rival(case.vm.server_id):
            following += _postponed(case.vm, f"waits for {rival}")
            continue
        placed = _placed(case, step)
        if isinstance(placed, STARTING):
            starting.append(placed)
            flight.holding += 1
            turns.take(case.vm.server_id)
        elif placed is not None:
            following.append(placed)
    return (*following, *starting)


def _cases(
    incident: Incident,
    facts: Facts,
    now: float,
    policy: Policy,
    chooser: candidates.Chooser,
    wishes: order.Order,
) -> Iterator[Case]:
    """Yield the VMs that are not over with, most important first."""
    servers = {s.id: s for s in facts.servers or ()}
    records = _of_this_incident(facts.migrations or (), incident)
    latest = {m.server_id: m for m in sorted(facts.migrations or (), key=lambda m: m.created)}
    for vm in sorted(incident.vms, key=wishes.rank):
        if vm.status in order.OVER:
            continue
        own = [m for m in records if m.server_id == vm.server_id]
        tried = Counter(m.dest for m in own if m.dest and m.status == NOT_STARTED)
        server, last = servers.get(vm.server_id), own[-1] if own else None
        newest, going = latest.get(vm.server_id), tuple(m for m in own if m.under_way)
        yield Case(vm, server, last, newest, tried, facts, now, policy, chooser, going=going)


def _placed(case: Case, step: Step) -> Step | None:
    """Give an evacuation its destination; None: every host that could take it is busy."""
    if not isinstance(step, Evacuate) or case.server is None:
        return step
    if step.dest is not None:  # it can only be there
        case.chooser.take(step.dest, case.server)
        return step
    choice = case.chooser.choose(case.server, case.tried)
    if choice.nowhere:
        return pending(case, choice.nowhere)
    if choice.full:
        return None
    case.chooser.take(choice.dest, case.server)
    return replace(step, dest=choice.dest)


def bound_for(incident: Incident, facts: Facts) -> frozenset[str]:
    """Return the hosts on which a VM that is not over with may yet be started, or was half."""
    going = {vm.server_id: vm for vm in incident.vms if vm.status not in order.OVER}
    found = {vm.may_run_on for vm in going.values()}
    for record in facts.migrations or ():
        if record.server_id in going and (record.under_way or record.status == FAILED):
            found |= {record.dest} | facts.queued.get(record.id, frozenset())
    return frozenset(host for host in found if host is not None)


def unbegun(incident: Incident, facts: Facts) -> list[Migration]:
    """Return the evacuations that wait in a queue: of VMs not over with, the latest of each."""
    going = {vm.server_id for vm in incident.vms if vm.status not in order.OVER}
    records = sorted(facts.migrations or (), key=lambda m: m.created)
    waiting = (m for m in records if m.status == ACCEPTED and m.dest is None)
    return list({m.server_id: m for m in waiting if m.server_id in going}.values())


def _moving(incident: Incident) -> frozenset[str]:
    return frozenset(vm.server_id for vm in incident.vms if vm.status in IN_FLIGHT)


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


def _in_turn(case: Case, step: Step | None, wishes: order.Order) -> tuple[list[Step], Step | None]:
    """Hold a VM back that has to wait for others; return what to say first, and the step."""
    vm = case.vm
    if not _would_start(step, case.facts, vm):
        return [], step
    why, late = wishes.waits.get(vm.server_id), wishes.late.get(vm.server_id)
    if why:
        return _postponed(vm, why, step), None
    if late and vm.reason.startswith("waits for"):  # so it was told before
        said = f"{vm.name}: {late} no longer: [evacuation] depends_wait is over"
        return [FollowVm(replace(vm, reason=""), said)], step
    return [], step


def _would_start(step: Step | None, facts: Facts, vm: VmRecord) -> bool:
    """Tell whether a step leads to a running VM; without one that ran there is none."""
    if isinstance(step, StartVm):
        return True
    wanted = original.wanted(vm)
    return isinstance(step, Evacuate) and not facts.leaves_stopped and wanted != "stopped"


def _postponed(vm: VmRecord, why: str, step: Step | None = None) -> list[Step]:
    """Say why a VM waits; one that has arrived and is to be started waits where it is."""
    record = step.record if isinstance(step, StartVm) else vm
    if vm.status is VmStatus.PENDING or vm.reason == why:
        return []
    return [FollowVm(replace(record, reason=why))]
