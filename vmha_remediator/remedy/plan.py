# SPDX-License-Identifier: Apache-2.0
"""Planning: what to do next with an incident, from what is stored and what is known now.

Nothing is remembered between two plans, so an engine that starts anew goes on where the facts
are. Each planner answers for one state; a step that fails ends its plan, and the next cycle
plans again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from vmha_remediator.remedy import guards, vms
from vmha_remediator.remedy.facts import UNFINISHED, Facts
from vmha_remediator.remedy.incident import IN_FLIGHT, SETTLED, Incident, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.steps import (
    DisableScheduling,
    EnableScheduling,
    Fence,
    ForceDown,
    Hold,
    JournalVms,
    Move,
    Note,
    Plan,
    Step,
    Unforce,
)
from vmha_remediator.rules.judge import State

#: Begins Nova's disabled_reason where scheduling was disabled by us; only that is undone.
OUR_REASON = "vmha:"
NO_PROOF = "no-proof"
STILL_ALIVE = "still-alive"
HEARD_AGAIN = "heard-again"
#: Steps that change the Nova service, as the journal names them.
SERVICE_WRITES = frozenset({"force-down", "unforce", "disable-scheduling", "enable-scheduling"})
DISABLE_SCHEDULING = "disable-scheduling"

Planner = Callable[[Incident, Facts, float, Policy], Plan]


def next_steps(incident: Incident, facts: Facts, now: float, policy: Policy | None = None) -> Plan:
    """Return what to do now; a plan without steps waits, and its sentence says for what.

    `now` is in seconds since the epoch.
    """
    return _PLANNERS[incident.state](incident, facts, now, policy or Policy())


def no_proof(incident: Incident, evidence: str) -> Hold:
    """Return the hold for a host that could not be proven off."""
    host = incident.host
    return Hold(
        NO_PROOF,
        f"{host} could not be proven off, so none of its VMs was touched: {evidence}",
        f"switch {host} off by hand, then: vmha-manage fence confirm {host}; or repair fencing, "
        f"then: {guards.release_command(incident)}",
    )


def wants_power(incident: Incident, facts: Facts, now: float, policy: Policy) -> bool:
    """Tell whether a plan may need the host's power state, which takes a while to read."""
    if incident.state is S.FENCING:
        return facts.heard
    if incident.proof is None or incident.state not in PROVEN_STATES:
        return False
    if facts.heard:
        return incident.state is not S.RECOVERED
    due = incident.state is S.FENCED or any(
        vm.status in (VmStatus.WAITING, VmStatus.PENDING, VmStatus.REQUESTED)
        and vm.not_before <= now
        for vm in incident.vms
    )
    old = now - incident.proof.time > policy.proof_age
    return incident.heard_since is not None or (old and due)


#: States that rest on a proof.
PROVEN_STATES = frozenset({S.FENCED, S.EVACUATING, S.RECOVERED})
#: What a move that begins something anew wipes out.
FRESH: Mapping[str, Any] = {
    "released_by": "",
    "held_by": "",
    "held_from": None,
    "heard_since": None,
}


def _gone(incident: Incident, facts: Facts) -> bool:
    """Tell whether the rule says positively that its situation is over."""
    return facts.state_of(incident.rule) is State.OK


def _evidence(incident: Incident, facts: Facts) -> str:
    return next((v.evidence for v in facts.verdicts if v.rule == incident.rule), "no measures")


def _detected(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    return _before_fencing(
        incident, facts, now, policy, Move(S.CONFIRMED, _evidence(incident, facts))
    )


def _confirmed(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    begin = Move(S.FENCING, f"{incident.host} is being switched off", {"fencing_since": now})
    return _before_fencing(incident, facts, now, policy, begin, Fence(incident.host))


def _before_fencing(
    incident: Incident, facts: Facts, now: float, policy: Policy, *onward: Step
) -> Plan:
    """Go on only while the failure stands and no guard objects."""
    host, state = incident.host, facts.state_of(incident.rule)
    if state is State.OK:
        return _clear(incident, facts, "is over before anything was done")
    if state is State.UNKNOWN or facts.standing is None or facts.standing.rule != incident.rule:
        return Plan((), f"{host}: waiting, the measures give no clear verdict now")
    objection = guards.objection(incident, facts, now, policy)
    if objection is not None:
        hold = Hold(objection.guard, objection.reason, objection.advice)
        return Plan((hold,), f"{host}: held, {objection.reason}")
    return Plan(onward, f"{host}: {incident.rule} stands, no guard objects")


def _clear(incident: Incident, facts: Facts, why: str) -> Plan:
    sentence = f"{incident.rule} of {incident.host} {why}"
    return Plan((*_enable(facts), Move(S.CLEARED, sentence)), sentence)


def _enable(facts: Facts) -> tuple[Step, ...]:
    """Return the step that undoes our own disabling, unless another situation stands."""
    service = facts.service
    ours = service is not None and (service.disabled_reason or "").startswith(OUR_REASON)
    if service is None or not ours or service.enabled or facts.standing is not None:
        return ()
    return (EnableScheduling(service.id, service.host),)


def _unforce(incident: Incident, facts: Facts) -> tuple[Step, ...]:
    service = facts.service
    if service is None or not service.forced_down or not incident.forced_by_us:
        return ()
    return (Unforce(service.id, service.host),)


def _fencing(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Take up a fencing that was begun: its outcome is not known, so it is done again.

    A host that is heard and switched on has not been fenced; killing it now would help nobody.
    """
    host = incident.host
    if not facts.heard or facts.power == "off":
        return Plan((Fence(host),), f"{host}: is being switched off")
    hold = Hold(
        HEARD_AGAIN,
        f"{host} is heard again after its fencing had begun; no VM was touched "
        f"(power: {facts.power or 'not known'})",
        f"look at {host}; if it is well, this closes the incident, else it is fenced again: "
        f"{guards.release_command(incident)}",
    )
    return Plan((hold,), f"{host}: held, {hold.reason}")


def _fenced(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Force the service down and write down what ran there, then move it."""
    host = incident.host
    if not incident.proven_off:
        hold = no_proof(incident, "the stored proof is missing")
        return Plan((hold,), f"{host}: held, {hold.reason}")
    if facts.heard:
        return _heard_after_proof(incident, facts, now, policy)
    if _proof_is_void(incident, facts):
        return _anew(incident)
    may_not = _may_not_start(incident, facts, now, policy)
    if may_not:
        return Plan((), f"{host}: waiting, {may_not}")
    if facts.service is None or facts.servers is None:
        return Plan((), f"{host}: waiting for Nova's view of it")
    before = (*_not_heard(incident), *_force_down(facts), *_journal(incident, facts, policy))
    records = (*incident.vms, *vms.journal(incident, facts, policy))
    sentence = f"{host}: evacuating {len(records)} protected VMs of {len(facts.servers)}"
    moving = vms.steps_for(replace(incident, vms=records), facts, now, policy, may_start="")
    return Plan((*before, Move(S.EVACUATING, sentence), *moving), sentence)


def _force_down(facts: Facts) -> tuple[Step, ...]:
    service = facts.service
    if service is None or service.forced_down:
        return ()
    return (ForceDown(service.id, service.host),)


def _journal(incident: Incident, facts: Facts, policy: Policy) -> tuple[Step, ...]:
    records = vms.journal(incident, facts, policy)
    return (JournalVms(records),) if records else ()


def _not_heard(incident: Incident) -> tuple[Step, ...]:
    """Forget that it seemed to be heard; asked only once its power is known to be off."""
    return () if incident.heard_since is None else (Note({"heard_since": None}),)


def _proof_is_void(incident: Incident, facts: Facts) -> bool:
    """Tell whether the host has lived since it was proven off, and has failed again."""
    lived = incident.heard_since is not None or facts.power == "on"
    failed = facts.state_of(incident.rule) is State.ALARM
    return lived and failed and not facts.heard and facts.power != "off"


def _anew(incident: Incident) -> Plan:
    sentence = (
        f"{incident.host} has lived since it was proven off and has failed again: it is judged "
        f"and fenced anew"
    )
    fields = {**FRESH, "proof": None, "fencing_since": None}
    return Plan((Move(S.DETECTED, sentence, fields),), sentence)


def _heard_for(incident: Incident, now: float) -> float:
    return 0.0 if incident.heard_since is None else now - incident.heard_since


def _heard_after_proof(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Wait until it is clear whether the host is heard again, or was never off."""
    host = incident.host
    if incident.heard_since is None:
        note = Note({"heard_since": now})
        return Plan((note,), f"{host}: nothing is started, it is heard although it was off")
    if _heard_for(incident, now) < policy.heard_after:
        return Plan((), f"{host}: nothing is started while it is heard although it was off")
    if facts.power == "on" and incident.state is not S.FENCED:
        return _returned(incident)
    hold = Hold(
        STILL_ALIVE,
        f"{host} was proven off ({incident.proof.evidence if incident.proof else ''}), yet it is "
        f"heard since {_heard_for(incident, now):.0f} s; power: {facts.power or 'not known'}",
        f"check that fencing switches the right machine; to fence {host} again: "
        f"{guards.release_command(incident)}",
    )
    return Plan((hold,), f"{host}: held, {hold.reason}")


def _returned(incident: Incident) -> Plan:
    """End the evacuation of a host that is back: what has not moved may run there now."""
    host = incident.host
    if any(vm.status is VmStatus.MOVING for vm in incident.vms):
        return Plan((), f"{host}: is back; following what is under way")
    sentence = f"{host} came back; {_tally(incident)}"
    return Plan((*_stay(incident), Move(S.RECOVERED, sentence)), sentence)


def _stay(incident: Incident) -> tuple[Step, ...]:
    why = f"its host {incident.host} came back before it was moved, so it may run there"
    return vms.give_up(incident, why)


def _may_not_start(incident: Incident, facts: Facts, now: float, policy: Policy) -> str:
    """Return why no evacuation may begin now, or nothing: the one law, in one place."""
    proof = incident.proof
    if proof is None or not incident.proven_off:
        return "there is no proof that the host is off"
    if facts.heard:
        return "the host is heard although it was off"
    if facts.power == "on":
        return "the host is switched on again and may run it"
    if incident.heard_since is not None and facts.power != "off":
        return "the host was heard after it had been proven off"
    if now - proof.time <= policy.proof_age or facts.power == "off":
        return ""
    if facts.state_of(incident.rule) is State.ALARM:
        return ""
    return "the proof is old, and neither power nor measures can be read now"


def _evacuating(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    host = incident.host
    if facts.servers is None or facts.migrations is None:
        return Plan((), f"{host}: waiting for Nova's view of its VMs")
    if facts.heard:
        plan = _heard_after_proof(incident, facts, now, policy)
        follow = vms.steps_for(incident, facts, now, policy, may_start="its host is heard again")
        return Plan((*follow, *plan.steps), plan.sentence)
    if _proof_is_void(incident, facts):
        return _anew(incident)
    may_not = _may_not_start(incident, facts, now, policy)
    steps: list[Step] = [*_journal(incident, facts, policy)]
    if not may_not:
        steps = [*_not_heard(incident), *_force_down(facts), *steps]
    steps += vms.steps_for(incident, facts, now, policy, may_start=may_not)
    if not steps and all(vm.status in SETTLED for vm in incident.vms):
        sentence = f"{host}: {_tally(incident)}"
        return Plan((Move(S.RECOVERED, sentence),), sentence)
    return Plan(tuple(steps), f"{host}: evacuating, {_tally(incident)}")


def _tally(incident: Incident) -> str:
    """Return how many VMs are in which status, for people."""
    if not incident.vms:
        return "no protected VM was on it"
    counts = {
        status: sum(vm.status is status for vm in incident.vms)
        for status in VmStatus
        if any(vm.status is status for vm in incident.vms)
    }
    return ", ".join(f"{number} {status}" for status, number in counts.items())


def _recovered(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Keep trying what is pending, and take the host back once it is well."""
    host = incident.host
    if facts.servers is None or facts.migrations is None or facts.service is None:
        return Plan((), f"{host}: waiting for Nova's view of it")
    if incident.released_by and not any(vm.status in IN_FLIGHT for vm in incident.vms):
        sentence = f"closed by {incident.released_by}; {host} stays as it is; {_tally(incident)}"
        return Plan((Move(S.CLEARED, sentence, dict(FRESH)),), sentence)
    if _proof_is_void(incident, facts):
        return _anew(incident)
    if facts.heard and incident.heard_since is None:
        return Plan((Note({"heard_since": now}),), f"{host}: is heard again")
    if _gone(incident, facts) and facts.heard:
        return _readmit(incident, facts, now, policy)
    steps = vms.steps_for(
        incident, facts, now, policy, may_start=_may_not_start(incident, facts, now, policy)
    )
    return Plan(steps, f"{host}: recovered ({_tally(incident)}), waiting for it to return")


def _readmit(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    host, service = incident.host, facts.service
    follow = vms.steps_for(incident, facts, now, policy, may_start=f"{host} is back")
    reported = service is not None and (service.updated_at or 0) > (
        _last_write(incident) + policy.contradiction_tolerance
    )
    waiting = [m for m in facts.migrations or () if m.status in UNFINISHED and m.source == host]
    if not reported:
        return Plan(follow, f"{host}: is heard again, waiting for its nova-compute to report")
    if waiting:
        return Plan(
            follow,
            f"{host}: is back, but {len(waiting)} evacuation records are not completed: its "
            f"nova-compute has to be restarted, so that it removes what was moved away",
        )
    sentence = f"{host} is back and takes part again; {_tally(incident)}"
    return Plan(
        (
            *follow,
            *_stay(incident),
            *_unforce(incident, facts),
            *_enable(facts),
            Move(S.READMITTED, sentence),
        ),
        sentence,
    )


def _last_write(incident: Incident) -> float:
    """Return when we last wrote to the service: Nova's updated_at shows that, too."""
    proven = incident.proof.time if incident.proof else incident.opened
    writes = [s.finished or s.time for s in incident.steps if s.step in SERVICE_WRITES]
    return max([proven, *writes])


def _held(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Wait for a person, for the evidence to go, or for a confirmation."""
    host = incident.host
    if not incident.fencing_begun and _gone(incident, facts):
        return _clear(incident, facts, "is over, nothing was done")
    if incident.held_by == NO_PROOF and facts.confirmed and not facts.heard:
        return _resume(incident, S.FENCING, f"{facts.confirmed}: fencing goes on")
    if incident.released_by:
        return _released(incident, facts)
    if _fence_again_due(incident, facts, now, policy):
        return Plan((Fence(host),), f"{host}: held for want of a proof; fencing is tried again")
    follow: tuple[Step, ...] = ()
    if facts.servers is not None and facts.migrations is not None:
        follow = vms.steps_for(incident, facts, now, policy, may_start="its incident is held")
    return Plan(follow, f"{host}: held for a person: {incident.reason}. {incident.advice}")


def _fence_again_due(incident: Incident, facts: Facts, now: float, policy: Policy) -> bool:
    """Tell whether a BMC that failed may be asked again: the failure stands, time has passed."""
    if incident.held_by != NO_PROOF or facts.heard:
        return False
    if facts.state_of(incident.rule) is not State.ALARM:
        return False
    begun = incident.fencing_since or incident.opened
    last = max([begun, *(s.finished or s.time for s in incident.steps if s.step == "fence")])
    # As long again as it has been tried already: the pause doubles, without a counter.
    pause = min(max(last - begun, policy.fence_again), policy.fence_again_limit)
    if now - last < pause:
        return False
    return guards.objection(incident, facts, now, policy) is None


def _released(incident: Incident, facts: Facts) -> Plan:
    host, who = incident.host, incident.released_by
    if not incident.fencing_begun:
        return _resume(incident, S.DETECTED, f"released by {who}: judged anew")
    untouched = all(vm.started is None for vm in incident.vms)
    if facts.heard and _gone(incident, facts) and not untouched:
        return _resume(incident, S.RECOVERED, f"released by {who}: {host} is back")
    if facts.heard and _gone(incident, facts):
        # Well, nothing moved, and a person has looked: the only way back from fencing.
        plan = _clear(incident, facts, f"is over (released by {who}); no VM was moved")
        return Plan((*_unforce(incident, facts), *plan.steps), plan.sentence)
    if not incident.proven_off or incident.held_by == STILL_ALIVE:
        fields = {"proof": None, "fencing_since": incident.fencing_since}
        return _resume(incident, S.FENCING, f"released by {who}: {host} is fenced again", fields)
    return _resume(incident, incident.held_from or S.FENCED, f"released by {who}")


def _resume(
    incident: Incident, to: S, sentence: str, fields: dict[str, Any] | None = None
) -> Plan:
    move = Move(to, sentence, {**FRESH, **(fields or {})})
    return Plan((move,), f"{incident.host}: {sentence}")


def _reported(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Keep a report open while its rule holds; a failure takes over at once."""
    host, standing = incident.host, facts.standing
    if standing is not None and standing.action == "recover":
        sentence = f"{incident.rule} of {host} has become {standing.rule}"
        return Plan((Move(S.CLEARED, sentence),), sentence)
    if incident.released_by:
        return _clear(incident, facts, f"was closed by {incident.released_by}")
    state = facts.state_of(incident.rule)
    if state is State.UNKNOWN:
        return Plan((), f"{host}: {incident.rule} reported; no measures now, so it stands")
    if state is State.ALARM:
        steps: list[Step] = [] if incident.well_since is None else [Note({"well_since": None})]
        return Plan((*steps, *_disable(incident, facts)), f"{host}: {incident.rule} reported")
    if incident.well_since is None:
        return Plan((Note({"well_since": now}),), f"{host}: {incident.rule} no longer holds")
    if now - incident.well_since < policy.clear_after:
        return Plan((), f"{host}: {incident.rule} no longer holds; waiting whether it stays so")
    return _clear(incident, facts, f"has become {standing.rule}" if standing else "is over")


def _disable(incident: Incident, facts: Facts) -> tuple[Step, ...]:
    service = facts.service
    wanted = DISABLE_SCHEDULING in facts.deeds
    if not wanted or service is None or not service.enabled:
        return ()
    reason = f"{OUR_REASON} {incident.rule} (incident {incident.id})"
    return (DisableScheduling(service.id, service.host, reason),)


def _over(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    return Plan((), f"{incident.host}: incident {incident.id} is over ({incident.state})")


_PLANNERS: Mapping[S, Planner] = {
    S.DETECTED: _detected,
    S.CONFIRMED: _confirmed,
    S.FENCING: _fencing,
    S.FENCED: _fenced,
    S.EVACUATING: _evacuating,
    S.RECOVERED: _recovered,
    S.HELD: _held,
    S.REPORTED: _reported,
    S.CLEARED: _over,
    S.READMITTED: _over,
}
