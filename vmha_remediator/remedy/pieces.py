# SPDX-License-Identifier: Apache-2.0
"""Small pieces that several planners put into their plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmha_remediator.remedy import reserves
from vmha_remediator.remedy.cluster import CLUSTER, EVERYBODY
from vmha_remediator.remedy.facts import OUR_REASON, Facts
from vmha_remediator.remedy.incident import Incident, VmStatus
from vmha_remediator.remedy.services import SUBJECTS
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.steps import (
    DisableScheduling,
    EnableScheduling,
    ForceDown,
    Move,
    Plan,
    Step,
    Unforce,
)
from vmha_remediator.rules.judge import State

QUARANTINE = "quarantine"
LEFT_VMS = "vms-left"
NO_PROOF = "no-proof"
STILL_ALIVE = "still-alive"
HEARD_AGAIN = "heard-again"
DISABLE_SCHEDULING = "disable-scheduling"
UNKNOWN_EVERYWHERE = "is over: Nova no longer knows the host, and nobody speaks of it"

#: What a move that begins something anew wipes out.
FRESH: Mapping[str, Any] = {
    "released_by": "",
    "held_by": "",
    "held_from": None,
    "heard_since": None,
    "powered_since": None,
    "well_since": None,
}


def subject(incident: Incident) -> str:
    """Return whom an incident is about, for a sentence."""
    if incident.host == EVERYBODY:
        return CLUSTER
    return SUBJECTS.get(incident.host, incident.host)


def gone(incident: Incident, facts: Facts) -> bool:
    """Tell whether what was read shows that its situation is over."""
    return facts.over(incident.rule)


def lasted(since: float | None, now: float) -> float | None:
    """Return for how long something has lasted (s); None: it has not begun, or lies ahead.

    Then some clock was set back, or another controller's is ahead: it is counted anew, or it
    would be waited for until that moment has come.
    """
    return None if since is None or since > now else now - since


def unknown_everywhere(incident: Incident, facts: Facts) -> bool:
    """Tell whether neither the witnesses nor Nova know the host any more: it has been removed."""
    known = facts.service is not None or facts.state_of(incident.rule) is not State.UNKNOWN
    looked = bool(facts.verdicts) and facts.cluster is not None
    return looked and not known


def evidence(incident: Incident, facts: Facts) -> str:
    return next((v.evidence for v in facts.verdicts if v.rule == incident.rule), "no measures")


def clear(incident: Incident, facts: Facts, why: str) -> Plan:
    sentence = f"{incident.rule} of {subject(incident)} {why}"
    return Plan((*enable(facts), Move(S.CLEARED, sentence)), sentence)


def enable(facts: Facts) -> tuple[Step, ...]:
    """Return the step that undoes our own disabling, unless another situation stands."""
    service = facts.service
    ours = service is not None and (service.disabled_reason or "").startswith(OUR_REASON)
    if service is None or not ours or service.enabled or facts.standing is not None:
        return ()
    if (service.disabled_reason or "").startswith(reserves.REASON):
        return ()  # a reserve rests
    return (EnableScheduling(service.id, service.host),)


def disable(incident: Incident, facts: Facts) -> tuple[Step, ...]:
    service = facts.service
    wanted = DISABLE_SCHEDULING in facts.deeds
    if not wanted or service is None or not service.enabled:
        return ()
    reason = f"{OUR_REASON} {incident.rule} (incident {incident.id})"
    return (DisableScheduling(service.id, service.host, reason),)


def keep_off(incident: Incident, facts: Facts) -> tuple[Step, ...]:
    """Keep new VMs off a host that is quarantined: our force-down does, or scheduling is off."""
    service = facts.service
    if service is None or service.forced_down or not service.enabled:
        return ()
    reason = f"{OUR_REASON} {QUARANTINE} (incident {incident.id})"
    return (DisableScheduling(service.id, service.host, reason),)


def force_down(facts: Facts) -> tuple[Step, ...]:
    service = facts.service
    if service is None or service.forced_down:
        return ()
    return (ForceDown(service.id, service.host),)


def unforce(incident: Incident, facts: Facts) -> tuple[Step, ...]:
    service = facts.service
    if service is None or not service.forced_down or not incident.forced_by_us:
        return ()
    return (Unforce(service.id, service.host),)


def count(number: int, what: str) -> str:
    """Return "1 VM", "2 VMs" or "no VM"."""
    return f"{number or 'no'} {what}{'s' if number > 1 else ''}"


def tally(incident: Incident) -> str:
    """Return how many VMs are in which status, for people."""
    if not incident.vms:
        return "no protected VM was on it"
    counts = {
        status: sum(vm.status is status for vm in incident.vms)
        for status in VmStatus
        if any(vm.status is status for vm in incident.vms)
    }
    return ", ".join(f"{number} {status}" for status, number in counts.items())


def resume(incident: Incident, to: S, sentence: str, fields: dict[str, Any] | None = None) -> Plan:
    move = Move(to, sentence, {**FRESH, **(fields or {})})
    return Plan((move,), f"{incident.host}: {sentence}")
