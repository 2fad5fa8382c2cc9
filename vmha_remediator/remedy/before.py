# SPDX-License-Identifier: Apache-2.0
"""Planning before anything irreversible: confirm, ask the guards, fence."""

from __future__ import annotations

from vmha_remediator.remedy import guards, home, pieces
from vmha_remediator.remedy.facts import Facts
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.steps import Fence, Hold, Move, Plan, Step
from vmha_remediator.rules.judge import State


def detected(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    return before_fencing(
        incident, facts, now, policy, Move(S.CONFIRMED, pieces.evidence(incident, facts))
    )


def confirmed(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    begin = Move(S.FENCING, f"{incident.host} is being switched off", {"fencing_since": now})
    return before_fencing(incident, facts, now, policy, begin, Fence(incident.host))


def before_fencing(
    incident: Incident, facts: Facts, now: float, policy: Policy, *onward: Step
) -> Plan:
    """Go on only while the failure stands and no guard objects."""
    host, state = incident.host, facts.state_of(incident.rule)
    if pieces.gone(incident, facts):
        return over(incident, facts, "is over before anything was done")
    if state is State.OK:
        doubt = f"{incident.rule} does not hold now, but nothing shows that it is over"
        return Plan((), f"{host}: waiting, {doubt}")
    if state is State.UNKNOWN or facts.standing is None or facts.standing.rule != incident.rule:
        return Plan((), f"{host}: waiting, the measures give no clear verdict now")
    objection = guards.objection(incident, facts, now, policy)
    if objection is not None:
        hold = Hold(objection.guard, objection.reason, objection.advice)
        return Plan((hold,), f"{host}: held, {objection.reason}")
    return Plan(onward, f"{host}: {incident.rule} stands, no guard objects")


def over(incident: Incident, facts: Facts, why: str) -> Plan:
    """Clear a failure that is over before it was fenced, unless it had been fenced once already.

    Then the host still has our force-down, and perhaps VMs that were not moved: it is taken back
    like any other that returns.
    """
    if not incident.forced_by_us and all(vm.status in home.OVER for vm in incident.vms):
        return pieces.clear(incident, facts, f"{why}: {pieces.evidence(incident, facts)}")
    sentence = f"{incident.host} lives again before it was fenced anew; {pieces.tally(incident)}"
    return pieces.resume(incident, S.RECOVERED, sentence, {"fencing_since": incident.opened})


def fencing(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Take up a fencing that was begun: its outcome is not known, so it is done again.

    A host that is heard and switched on has not been fenced; killing it now would help nobody.
    """
    host = incident.host
    if not facts.heard_again or facts.power == "off":
        return Plan((Fence(host),), f"{host}: is being switched off")
    hold = Hold(
        pieces.HEARD_AGAIN,
        f"{host} is heard again after its fencing had begun; no VM was touched "
        f"(power: {facts.power or 'not known'})",
        f"look at {host}; if it is well, this closes the incident, else it is fenced again: "
        f"{guards.release_command(incident)}",
    )
    return Plan((hold,), f"{host}: held, {hold.reason}")
