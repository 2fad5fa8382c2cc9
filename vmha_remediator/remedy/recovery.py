# SPDX-License-Identifier: Apache-2.0
"""Planning from the proof on: move the VMs, follow them, take the host back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vmha_remediator.remedy import guards, home, order, outdated, pieces, proof, reserves, vms
from vmha_remediator.remedy.facts import COMPLETED, UNFINISHED, Facts, Migration
from vmha_remediator.remedy.incident import (
    IN_FLIGHT,
    SETTLED,
    Incident,
    VmRecord,
    VmStatus,
)
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.steps import FollowVm, Hold, JournalVms, Move, Note, Plan, Step

#: Our writes to the Nova service that keep a host out: it must have reported after them.
KEPT_OFF = frozenset({"force-down", "disable-scheduling"})

#: So many remarks on the wishes of VMs are in a report.
REMARKS = 5


def fenced(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Force the service down and write down what ran there, then move it."""
    host = incident.host
    if not incident.proven_off:
        hold = proof.no_proof(incident, "the stored proof is missing")
        return Plan((hold,), f"{host}: held, {hold.reason}")
    if facts.heard:
        return heard_after_proof(incident, facts, now, policy)
    if proof.proof_is_void(incident, facts):
        return proof.anew(incident)
    may_not = proof.may_not_start(incident, facts, now, policy)
    if may_not:
        return Plan((), f"{host}: waiting, {may_not}")
    if facts.servers is None:
        return Plan((), f"{host}: waiting for Nova's view of it")
    before = (
        *proof.not_heard(incident),
        *pieces.force_down(facts),
        *journal(incident, facts, now, policy),
    )
    again = {vm.server_id: vm for vm in home.renewed(incident, facts)}
    before = (*before, *(FollowVm(vm, f"{vm.name}: is on {host} again") for vm in again.values()))
    known = (again.get(vm.server_id, vm) for vm in incident.vms)
    records = (*known, *vms.journal(incident, facts, policy))
    told = order.remarks(replace(incident, vms=records), facts, now, policy, records)
    counted = f"{host}: evacuating {_how_many(host, records, facts)}"
    sentence = "; ".join((counted, *_few(told)))
    moving = _moving(replace(incident, vms=records), facts, now, policy, may_not="")
    return Plan((*before, Move(S.EVACUATING, sentence), *moving), sentence)


def _how_many(host: str, records: Iterable[VmRecord], facts: Facts) -> str:
    """Return how many VMs are to be moved, of those that Nova has on the host."""
    there = {server.id for server in facts.servers or () if server.host == host}
    moved = sum(vm.status not in home.OVER and vm.server_id in there for vm in records)
    return f"{pieces.count(moved, 'protected VM')}; {pieces.count(len(there), 'VM')} on it in all"


def evacuating(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    host = incident.host
    if facts.servers is None or facts.migrations is None:
        return Plan((), f"{host}: waiting for Nova's view of its VMs")
    if facts.heard:
        plan = heard_after_proof(incident, facts, now, policy)
        follow = vms.steps_for(incident, facts, now, policy, may_start="its host is heard again")
        return Plan((*follow, *plan.steps), plan.sentence)
    if proof.proof_is_void(incident, facts):
        return proof.anew(incident)
    may_not = proof.may_not_start(incident, facts, now, policy)
    steps: list[Step] = [*journal(incident, facts, now, policy)]
    if not may_not:
        steps = [*proof.not_heard(incident), *pieces.force_down(facts), *steps]
    steps += _moving(incident, facts, now, policy, may_not)
    if not steps and all(vm.status in SETTLED for vm in incident.vms):
        sentence = f"{host}: {pieces.tally(incident)}"
        return Plan((Move(S.RECOVERED, sentence),), sentence)
    return Plan(tuple(steps), f"{host}: evacuating, {pieces.tally(incident)}")


def _moving(
    incident: Incident, facts: Facts, now: float, policy: Policy, may_not: str
) -> tuple[Step, ...]:
    """Return the steps for the VMs, or first for the reserves that they need."""
    first = () if may_not else reserves.use(incident, facts, now, policy)
    return first or vms.steps_for(incident, facts, now, policy, may_start=may_not)


def heard_after_proof(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Wait until it is clear whether the host is heard again, or was never off."""
    host = incident.host
    if pieces.lasted(incident.heard_since, now) is None:
        note = Note({"heard_since": now})
        return Plan((note,), f"{host}: nothing is started, it is heard although it was off")
    if proof.heard_for(incident, now) < policy.heard_after:
        return Plan((), f"{host}: nothing is started while it is heard although it was off")
    if facts.power == "on" and incident.state is not S.FENCED:
        return returned(incident)
    return proof.contradicted(incident, facts, now)


def returned(incident: Incident) -> Plan:
    """End the evacuation of a host that is back: what has not moved may run there now."""
    host = incident.host
    if any(vm.status is VmStatus.MOVING for vm in incident.vms):
        return Plan((), f"{host}: is back; following what is under way")
    sentence = f"{host} came back; {pieces.tally(incident)}"
    return Plan((*stay(incident), Move(S.RECOVERED, sentence)), sentence)


def stay(incident: Incident) -> tuple[Step, ...]:
    why = f"its host {incident.host} came back before it was moved, so it may run there"
    return vms.give_up(incident, why)


def journal(incident: Incident, facts: Facts, now: float, policy: Policy) -> tuple[Step, ...]:
    records = vms.journal(incident, facts, policy)
    if not records:
        return ()
    all_of_them = replace(incident, vms=(*incident.vms, *records))
    return (JournalVms(records, order.remarks(all_of_them, facts, now, policy, records)),)


def _few(remarks: tuple[str, ...]) -> tuple[str, ...]:
    """Cut what a report says short; the journal has all of it."""
    more = len(remarks) - REMARKS
    return (*remarks[:REMARKS], f"and {more} more remarks") if more > 0 else remarks


def recovered(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Keep trying what is pending, and take the host back once it is well."""
    host = incident.host
    if facts.servers is None or facts.migrations is None:
        return Plan((), f"{host}: waiting for Nova's view of it")
    if incident.released_by and not any(vm.status in IN_FLIGHT for vm in incident.vms):
        sentence = (
            f"closed by {incident.released_by}; {host} stays as it is; {pieces.tally(incident)}"
        )
        return Plan((Move(S.CLEARED, sentence, dict(pieces.FRESH)),), sentence)
    if again := outdated.broken(incident, facts):
        return Plan(again, f"{host}: {pieces.count(len(again), 'VM')} in error after the recovery")
    if facts.service is None:
        return removed(incident, facts, now, policy)
    if proof.proof_is_void(incident, facts):
        if facts.maintenance is not None:
            return Plan((), f"{host}: is switched on in maintenance; nothing is done about it")
        return proof.booting(incident, facts, now, policy) or proof.anew(incident)
    if facts.heard and incident.heard_since is None:
        return Plan((Note({"heard_since": now}),), f"{host}: is heard again")
    if pieces.gone(incident, facts) and facts.heard:
        return readmit(incident, facts, now, policy)
    may_not = proof.may_not_start(incident, facts, now, policy)
    steps = _moving(incident, facts, now, policy, may_not)
    if not may_not:
        # A VM may be seen to be protected only now: its image says so, and Glance was away.
        steps = (*journal(incident, facts, now, policy), *steps)
        steps = (*proof.not_heard(incident), *(pieces.force_down(facts) if steps else ()), *steps)
    return Plan(steps, f"{host}: recovered ({pieces.tally(incident)}), waiting for it to return")


def removed(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """End the incident of a host whose compute service has been deleted from Nova.

    Its VMs are followed until then: they may have arrived, or have been deleted before it.
    """
    host = incident.host
    if any(vm.status not in home.OVER for vm in incident.vms):
        waits = f"Nova no longer knows {host}, so what is left of it cannot be evacuated"
        follow = vms.steps_for(incident, facts, now, policy, may_start=waits)
        return Plan(follow, f"{host}: {waits} ({pieces.tally(incident)})")
    sentence = f"Nova no longer knows {host}: it has been removed; {pieces.tally(incident)}"
    return Plan((Move(S.CLEARED, sentence, dict(pieces.FRESH)),), sentence)


def quarantined(incident: Incident, facts: Facts, policy: Policy) -> bool:
    """Tell whether a host that is back has failed too often to be trusted with VMs."""
    if not policy.quarantine_after or pieces.QUARANTINE in incident.waived:
        return False
    return facts.failures > policy.quarantine_after


def not_yet(incident: Incident, facts: Facts, policy: Policy) -> str:
    """Return why a host that is heard again cannot be taken back yet, or nothing."""
    service = facts.service
    since = max(incident.last_step(KEPT_OFF), incident.proof.time if incident.proof else 0.0)
    updated = (service.updated_at if service else None) or 0.0
    if updated <= since + policy.contradiction_tolerance:
        return "is heard again, waiting for its nova-compute to report"
    waiting = [
        m for m in facts.migrations or () if m.status in UNFINISHED and m.source == incident.host
    ]
    if waiting:
        records = pieces.count(len(waiting), "evacuation record")
        once_more = " once more" if _completed_one(incident, facts, waiting) else ""
        return (
            f"is back; its nova-compute has to be restarted{once_more}, so that it removes what "
            f"was moved away: {records} not completed"
        )
    if facts.maintenance is not None:
        return f"is back; it is taken back after its maintenance ({facts.maintenance.reason})"
    return ""


def _completed_one(incident: Incident, facts: Facts, waiting: Iterable[Migration]) -> bool:
    """Tell whether its nova-compute has started, and left records of VMs that have several.

    It completes one of each VM at a start (nova.compute.manager: _destroy_evacuated_instances).
    """
    proven = incident.proof.time if incident.proof is not None else incident.opened
    done = {
        m.server_id
        for m in facts.migrations or ()
        if m.status == COMPLETED and m.source == incident.host and m.updated >= proven
    }
    return any(m.server_id in done for m in waiting)


def readmit(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Take the host back, then start there what was not moved; only then is it over."""
    host = incident.host
    follow = vms.steps_for(incident, facts, now, policy, may_start=f"{host} is back")
    why = not_yet(incident, facts, policy)
    if why:
        return Plan(follow, f"{host}: {why}")
    if quarantined(incident, facts, policy):
        hold = Hold(
            pieces.QUARANTINE,
            f"{host} is back, but has failed {facts.failures} times within "
            f"{policy.quarantine_window:g} s ([guards] quarantine_after is "
            f"{policy.quarantine_after}), so it takes no part; {pieces.tally(incident)}",
            f"find out why {host} keeps failing; to let it take part again: "
            f"{guards.release_command(incident)}",
        )
        steps = (*follow, *stay(incident), *pieces.keep_off(incident, facts), hold)
        return Plan(steps, f"{host}: held, {hold.reason}")
    coming = outdated.to_come(incident, facts)
    waited = pieces.lasted(incident.well_since, now)
    if coming and (waited is None or waited < policy.late_wait):
        note = (Note({"well_since": now}),) if waited is None else ()
        asked = f"it may find requests of before in its queue, for {', '.join(coming)}"
        waits = f"is back; {asked}: it is taken back then, or after {policy.late_wait:g} s"
        return Plan((*follow, *note), f"{host}: {waits}")
    return close(incident, facts, now, policy, follow)


def close(
    incident: Incident, facts: Facts, now: float, policy: Policy, follow: tuple[Step, ...]
) -> Plan:
    """Take the host back; its incident is over once no VM is left to be cared for."""
    host = incident.host
    back = (*pieces.unforce(incident, facts), *pieces.enable(facts))
    coming = home.plan(incident, facts, now, policy)
    follow = tuple(step for step in follow if not home.stays(step, facts))
    taken = f"{host} is back and takes part again"
    if coming.steps or coming.waiting or (coming.left and follow):
        sentence = taken
        if coming.waiting:
            sentence += f"; waiting for what was not moved: {', '.join(coming.waiting)}"
        return Plan((*follow, *back, *coming.steps), sentence)
    if coming.left and pieces.LEFT_VMS not in incident.waived:
        hold = Hold(
            pieces.LEFT_VMS,
            f"{taken}, but these VMs could not be recovered: {'; '.join(coming.left)}",
            f"bring them back by hand ('openstack server show', 'openstack server reboot --hard' "
            f"where they are); the incident is closed by itself when they run, or without them: "
            f"{guards.release_command(incident)}",
        )
        return Plan((*follow, *back, hold), f"{host}: held, {hold.reason}")
    sentence = f"{taken}; {pieces.tally(incident)}"
    return Plan((*follow, *back, Move(S.READMITTED, sentence)), sentence)
