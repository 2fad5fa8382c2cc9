# SPDX-License-Identifier: Apache-2.0
"""Planning from the proof on: move the VMs, follow them, take the host back."""

from __future__ import annotations

from dataclasses import replace

from vmha_remediator.remedy import guards, order, pieces, proof, reserves, vms
from vmha_remediator.remedy.facts import UNFINISHED, Facts
from vmha_remediator.remedy.incident import IN_FLIGHT, SERVICE_WRITES, SETTLED, Incident, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.steps import Hold, JournalVms, Move, Note, Plan, Step

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
    if facts.service is None or facts.servers is None:
        return Plan((), f"{host}: waiting for Nova's view of it")
    before = (
        *proof.not_heard(incident),
        *pieces.force_down(facts),
        *journal(incident, facts, now, policy),
    )
    records = (*incident.vms, *vms.journal(incident, facts, policy))
    told = order.remarks(replace(incident, vms=records), facts, now, policy, records)
    counted = f"{host}: evacuating {len(records)} protected VMs of {len(facts.servers)}"
    sentence = "; ".join((counted, *_few(told)))
    moving = _moving(replace(incident, vms=records), facts, now, policy, may_not="")
    return Plan((*before, Move(S.EVACUATING, sentence), *moving), sentence)


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
    if incident.heard_since is None:
        note = Note({"heard_since": now})
        return Plan((note,), f"{host}: nothing is started, it is heard although it was off")
    if proof.heard_for(incident, now) < policy.heard_after:
        return Plan((), f"{host}: nothing is started while it is heard although it was off")
    if facts.power == "on" and incident.state is not S.FENCED:
        return returned(incident)
    hold = Hold(
        pieces.STILL_ALIVE,
        f"{host} was proven off ({incident.proof.evidence if incident.proof else ''}), yet it is "
        f"heard since {proof.heard_for(incident, now):.0f} s; power: {facts.power or 'not known'}",
        f"check that fencing switches the right machine; to fence {host} again: "
        f"{guards.release_command(incident)}",
    )
    return Plan((hold,), f"{host}: held, {hold.reason}")


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
    if facts.servers is None or facts.migrations is None or facts.service is None:
        return Plan((), f"{host}: waiting for Nova's view of it")
    if incident.released_by and not any(vm.status in IN_FLIGHT for vm in incident.vms):
        sentence = (
            f"closed by {incident.released_by}; {host} stays as it is; {pieces.tally(incident)}"
        )
        return Plan((Move(S.CLEARED, sentence, dict(pieces.FRESH)),), sentence)
    if proof.proof_is_void(incident, facts):
        return proof.anew(incident)
    if facts.heard and incident.heard_since is None:
        return Plan((Note({"heard_since": now}),), f"{host}: is heard again")
    if pieces.gone(incident, facts) and facts.heard:
        return readmit(incident, facts, now, policy)
    may_not = proof.may_not_start(incident, facts, now, policy)
    steps = _moving(incident, facts, now, policy, may_not)
    return Plan(steps, f"{host}: recovered ({pieces.tally(incident)}), waiting for it to return")


def quarantined(incident: Incident, facts: Facts, policy: Policy) -> bool:
    """Tell whether a host that is back has failed too often to be trusted with VMs."""
    if not policy.quarantine_after or pieces.QUARANTINE in incident.waived:
        return False
    return facts.failures > policy.quarantine_after


def readmit(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    host, service = incident.host, facts.service
    follow = vms.steps_for(incident, facts, now, policy, may_start=f"{host} is back")
    since = max(incident.last_step(SERVICE_WRITES), incident.proof.time if incident.proof else 0.0)
    updated = (service.updated_at if service else None) or 0.0
    reported = updated > since + policy.contradiction_tolerance
    waiting = [m for m in facts.migrations or () if m.status in UNFINISHED and m.source == host]
    if not reported:
        return Plan(follow, f"{host}: is heard again, waiting for its nova-compute to report")
    if waiting:
        return Plan(
            follow,
            f"{host}: is back, but {len(waiting)} evacuation records are not completed: its "
            f"nova-compute has to be restarted, so that it removes what was moved away",
        )
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
    sentence = f"{host} is back and takes part again; {pieces.tally(incident)}"
    return Plan(
        (
            *follow,
            *stay(incident),
            *pieces.unforce(incident, facts),
            *pieces.enable(facts),
            Move(S.READMITTED, sentence),
        ),
        sentence,
    )
