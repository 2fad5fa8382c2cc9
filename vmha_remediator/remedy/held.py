# SPDX-License-Identifier: Apache-2.0
"""Planning for an incident that waits for a person."""

from __future__ import annotations

from vmha_remediator.remedy import before, guards, home, pieces, proof, vms
from vmha_remediator.remedy.facts import Facts
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.steps import Fence, ForgetWord, Note, Plan, Step
from vmha_remediator.rules.judge import State

#: Holds of a host that is back: when it fails again, that is judged and fenced anew.
BACK = frozenset({pieces.QUARANTINE, pieces.LEFT_VMS})


def held(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Wait for a person, for the evidence to go, or for what holds it to dissolve."""
    host = incident.host
    for planner in (over, word_is_void, by_a_person, guard_gone, back):
        plan = planner(incident, facts, now, policy)
        if plan is not None:
            return plan
    if fence_again_due(incident, facts, now, policy):
        return Plan((Fence(host),), f"{host}: held for want of a proof; fencing is tried again")
    follow: tuple[Step, ...] = ()
    if facts.servers is not None and facts.migrations is not None:
        follow = vms.steps_for(incident, facts, now, policy, may_start="its incident is held")
    return Plan(follow, f"{host}: held for a person: {incident.reason}. {incident.advice}")


def over(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan | None:
    """Close what nothing was done about and is over; once fencing has begun it never is."""
    if incident.fencing_begun:
        return None
    if pieces.gone(incident, facts):
        return before.over(incident, facts, "is over, nothing was done")
    if pieces.unknown_everywhere(incident, facts):
        return pieces.clear(incident, facts, pieces.UNKNOWN_EVERYWHERE)
    return None


def word_is_void(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan | None:
    """Drop the word of a person who was mistaken: it must not count once nobody hears the host."""
    if not facts.confirmed or not facts.heard:
        return None
    sentence = f"{facts.confirmed}, but it is heard: that word does not count any more"
    return Plan((ForgetWord(sentence),), f"{incident.host}: {sentence}")


def by_a_person(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan | None:
    """Do what a person has said: that the host is off, or that the incident may go on."""
    if incident.held_by == pieces.NO_PROOF and facts.confirmed and not facts.heard:
        return pieces.resume(incident, S.FENCING, f"{facts.confirmed}: fencing goes on")
    return released(incident, facts) if incident.released_by else None


def back(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan | None:
    """Go on with a host that had come back: it has failed again, or what was left is well."""
    if incident.held_by not in BACK:
        return None
    if not facts.heard and _fails(incident, facts):
        return proof.anew(incident)
    if incident.held_by != pieces.LEFT_VMS or facts.servers is None or not facts.heard:
        return None
    if home.plan(incident, facts, now, policy).left:
        return None
    return pieces.resume(incident, S.RECOVERED, "the VMs that were left have come back")


def guard_gone(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan | None:
    """Judge anew what a guard holds once that guard no longer objects; None: it still holds.

    The failure must still stand on fresh measures: what cannot be read is no reason to go on.
    """
    guard = guards.GUARDS.get(incident.held_by)
    if guard is None or incident.fencing_begun or not _fails(incident, facts):
        return None
    if guard(incident, facts, now, policy) is not None:
        if incident.well_since is None:
            return None
        return Plan((Note({"well_since": None}),), f"{incident.host}: held, {incident.reason}")
    wait = guards.CALM.get(incident.held_by)
    calm = wait(policy) if wait is not None else 0.0
    gone_for = pieces.lasted(incident.well_since, now)
    if (gone_for or 0.0) >= calm:
        sentence = f"what held it ({incident.held_by}) is over: judged anew"
        return pieces.resume(incident, S.DETECTED, sentence, {"well_since": None})
    note = (Note({"well_since": now}),) if gone_for is None else ()
    return Plan(
        note, f"{incident.host}: what held it is over; waiting whether it stays so: {calm:g} s"
    )


def _fails(incident: Incident, facts: Facts) -> bool:
    return facts.state_of(incident.rule) is State.ALARM


def fence_again_due(incident: Incident, facts: Facts, now: float, policy: Policy) -> bool:
    """Tell whether a BMC that failed may be asked again: the failure stands, time has passed."""
    if incident.held_by != pieces.NO_PROOF or facts.heard:
        return False
    if facts.state_of(incident.rule) is not State.ALARM:
        return False
    begun = incident.fencing_since or incident.opened
    last = max(begun, incident.last_step(frozenset({"fence"})))
    # As long again as it has been tried already: the pause doubles, without a counter.
    pause = min(max(last - begun, policy.fence_again), policy.fence_again_limit)
    if 0 <= now - last < pause:  # a clock that was set back makes nobody wait
        return False
    return guards.objection(incident, facts, now, policy) is None


def released(incident: Incident, facts: Facts) -> Plan:
    host, who = incident.host, incident.released_by
    if incident.held_by == pieces.QUARANTINE:
        return pieces.resume(incident, S.RECOVERED, f"released by {who}: {host} may return")
    if incident.held_by == pieces.LEFT_VMS:
        return pieces.resume(incident, S.RECOVERED, f"released by {who}: closed without them")
    if not incident.fencing_begun:
        return pieces.resume(incident, S.DETECTED, f"released by {who}: judged anew")
    untouched = all(vm.started is None and not vm.attempts for vm in incident.vms)
    if facts.heard and pieces.gone(incident, facts) and not untouched:
        return pieces.resume(incident, S.RECOVERED, f"released by {who}: {host} is back")
    if facts.heard and pieces.gone(incident, facts):
        # Well, nothing moved, and a person has looked: the only way back from fencing.
        plan = pieces.clear(incident, facts, f"is over (released by {who}); no VM was moved")
        return Plan((*pieces.unforce(incident, facts), *plan.steps), plan.sentence)
    if not incident.proven_off and not facts.heard and pieces.gone(incident, facts):
        return Plan((), f"{host}: released by {who}, but it answers: let it boot, then it is over")
    if not incident.proven_off or incident.held_by == pieces.STILL_ALIVE:
        fields = {"proof": None, "fencing_since": incident.fencing_since}
        return pieces.resume(
            incident, S.FENCING, f"released by {who}: {host} is fenced again", fields
        )
    return pieces.resume(incident, incident.held_from or S.FENCED, f"released by {who}")
