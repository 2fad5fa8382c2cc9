# SPDX-License-Identifier: Apache-2.0
"""Planning: what to do next with an incident, from what is stored and what is known now.

Nothing is remembered between two plans, so an engine that starts anew goes on where the facts
are. Each planner answers for one state; a step that fails ends its plan, and the next cycle
plans again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vmha_remediator.remedy import before, held, pieces, recovery
from vmha_remediator.remedy.cluster import EVERYBODY, FLAPPING, SILENT, wants_watch
from vmha_remediator.remedy.facts import Facts
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.steps import CountOnset, Move, Note, Plan, Step
from vmha_remediator.rules.judge import State
from vmha_remediator.rules.vm_rule import RULE

Planner = Callable[[Incident, Facts, float, Policy], Plan]


def next_steps(incident: Incident, facts: Facts, now: float, policy: Policy | None = None) -> Plan:
    """Return what to do now; a plan without steps waits, and its sentence says for what.

    `now` is in seconds since the epoch.
    """
    return _PLANNERS[incident.state](incident, facts, now, policy or Policy())


def reported(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    """Keep a report open while its rule holds; a failure takes over at once."""
    host, standing = pieces.subject(incident), facts.standing
    if standing is not None and standing.action == "recover":
        sentence = f"{incident.rule} of {host} has become {standing.rule}"
        return Plan((Move(S.CLEARED, sentence),), sentence)
    why = moot(incident, facts)
    if why:
        return pieces.clear(incident, facts, why)
    state, calm = report_state(incident, facts, policy)
    if state is State.UNKNOWN:
        return Plan((), f"{host}: {incident.rule} reported; no measures now, so it stands")
    if state is State.ALARM:
        again = () if incident.well_since is None else came_again(incident, facts, policy)
        return Plan(
            (*again, *pieces.disable(incident, facts)), f"{host}: {incident.rule} reported"
        )
    over_for = pieces.lasted(incident.well_since, now)
    if over_for is None:
        return Plan((Note({"well_since": now}),), f"{host}: {incident.rule} no longer holds")
    if over_for < calm:
        return Plan((), f"{host}: {incident.rule} no longer holds; waiting whether it stays so")
    return pieces.clear(incident, facts, f"has become {standing.rule}" if standing else "is over")


def came_again(incident: Incident, facts: Facts, policy: Policy) -> tuple[Step, ...]:
    """Take back that a report seemed to be over.

    A host's situation is counted once more. While it comes back before the report is cleared,
    that one report says it all; the next that is due says `flapping`.
    """
    fields, standing = {"well_since": None}, facts.standing
    if standing is None or standing.rule != incident.rule or standing.rule == SILENT:
        return (Note(fields),)
    return (CountOnset(policy.flap_window, fields),)


def moot(incident: Incident, facts: Facts) -> str:
    """Return why a report matters no more, whatever its rule says, or nothing."""
    if incident.released_by:
        return f"was closed by {incident.released_by}"
    if facts.moot:
        return f"is over: {facts.moot}"
    if incident.rule == SILENT and incident.host != EVERYBODY and not wants_watch(facts.service):
        return "does not matter: its compute service is disabled"
    if facts.maintenance is not None:
        return f"does not matter: {incident.host} is in maintenance, says {facts.maintenance.who}"
    return pieces.UNKNOWN_EVERYWHERE if pieces.unknown_everywhere(incident, facts) else ""


def report_state(incident: Incident, facts: Facts, policy: Policy) -> tuple[State, float]:
    """Return what the incident's rule says now, and how long it must be over to be believed.

    A flapping host is in whichever situation that is only reported; it is over when it has
    been in none for a good while.
    """
    if incident.rule == RULE:
        return facts.state_of(incident.rule), policy.vm_window
    if incident.rule != FLAPPING:
        return facts.state_of(incident.rule), policy.clear_after
    if facts.standing is not None and facts.standing.rule != SILENT:
        return State.ALARM, policy.flap_calm
    known = any(v.state is State.OK for v in facts.verdicts if v.rule != SILENT)
    return State.OK if known else State.UNKNOWN, policy.flap_calm


def over(incident: Incident, facts: Facts, now: float, policy: Policy) -> Plan:
    return Plan((), f"{incident.host}: incident {incident.id} is over ({incident.state})")


_PLANNERS: Mapping[S, Planner] = {
    S.DETECTED: before.detected,
    S.CONFIRMED: before.confirmed,
    S.FENCING: before.fencing,
    S.FENCED: recovery.fenced,
    S.EVACUATING: recovery.evacuating,
    S.RECOVERED: recovery.recovered,
    S.HELD: held.held,
    S.REPORTED: reported,
    S.CLEARED: over,
    S.READMITTED: over,
}
