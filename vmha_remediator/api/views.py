# SPDX-License-Identifier: Apache-2.0
"""How things look in answers: plain functions from records to JSON; names as in `schemas`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmha_remediator.remedy import protect
from vmha_remediator.remedy.capacity import Fit, Outlook
from vmha_remediator.remedy.facts import Maintenance, Server, Service
from vmha_remediator.remedy.incident import Change, Incident, StepRecord, VmRecord, VmStatus
from vmha_remediator.remedy.look import Look, Sight
from vmha_remediator.rules import judge, metrics
from vmha_remediator.rules.judge import State
from vmha_remediator.rules.model import Thresholds

Answer = dict[str, Any]

WELL, UNWELL, UNKNOWN = "well", "unwell", "unknown"
OK, LOST = "ok", "lost"


def summary(incident: Incident) -> Answer:
    """Return an incident without its journal."""
    done = sum(vm.status in (VmStatus.DONE, VmStatus.SKIPPED) for vm in incident.vms)
    pending = sum(vm.status is VmStatus.PENDING for vm in incident.vms)
    plain = (
        "id", "host", "rule", "action", "severity", "active", "opened", "updated", "closed",
        "evidence", "reason", "advice", "held_by",
    )  # fmt: skip
    return {name: getattr(incident, name) for name in plain} | {
        "state": str(incident.state),
        "says": incident.said or incident.reason or incident.evidence,
        "vms": {"total": len(incident.vms), "done": done, "pending": pending},
    }


def whole(incident: Incident, changes: list[Change]) -> Answer:
    """Return an incident with everything that is stored of it."""
    proof = incident.proof
    return summary(incident) | {
        "waived": sorted(incident.waived),
        "released_by": incident.released_by,
        "proof": None
        if proof is None
        else {
            "driver": proof.driver,
            "proves": proof.proves,
            "evidence": proof.evidence,
            "time": proof.time,
        },
        "steps": [step(record) for record in incident.steps],
        "servers": [vm(record) for record in incident.vms],
        "changes": [
            {"time": c.time, "state": str(c.after), "sentence": c.sentence} for c in changes
        ],
    }


def step(record: StepRecord) -> Answer:
    """Return one line of the journal."""
    plain = ("time", "finished", "step", "sentence", "ok")
    return {name: getattr(record, name) for name in plain}


def vm(record: VmRecord) -> Answer:
    """Return how far one VM is."""
    return {
        "id": record.server_id,
        "name": record.name,
        "status": str(record.status),
        "was": record.vm_state,
        "priority": record.priority,
        "from": record.old_host,
        "to": record.dest,
        "attempts": record.attempts,
        "started": record.started,
        "finished": record.finished,
        "reason": record.reason,
    }


def host(
    name: str,
    look: Look,
    incident: Incident | None,
    protected: int | None,
    maintenance: Mapping[str, Any] | None,
    limits: Thresholds,
) -> Answer:
    """Return one host: what is measured of it, what that means, and what is done about it."""
    sight = (look.sights or {}).get(name)
    standing = sight.standing if sight else None
    found = (look.services or {}).get(name)
    return {
        "host": name,
        "state": state_of(sight),
        "role": role(sight, limits),
        "verdict": standing.rule if standing else None,
        "severity": standing.severity if standing else None,
        "says": says(name, sight, look),
        "paths": paths(sight, limits),
        "readings": dict(sight.readings.values) if sight else {},
        "service": service(found) if found else None,
        "maintenance": maintenance,
        "protected": protected,
        "incident": incident.id if incident else None,
    }


def state_of(sight: Sight | None) -> str:
    """Return whether a host is well; what nobody measures is unknown, never well."""
    if sight is None or not sight.verdicts:
        return UNKNOWN
    if sight.standing is not None:
        return UNWELL
    well = all(v.state is State.OK and not v.doubtful for v in sight.verdicts)
    return WELL if well else UNKNOWN


def role(sight: Sight | None, limits: Thresholds) -> str | None:
    """Return the role of a host's agent, by its own word; None: it is not heard, or says nothing.

    The last word of an agent that has just died is still read for half a minute, hence the age.
    """
    values = sight.readings.values if sight else {}
    if metrics.HEARTBEAT.name not in values:
        return None
    if values.get(metrics.HEARTBEAT_AGE.name, 0.0) >= limits.heartbeat_age:
        return None
    said = values.get(metrics.ROLE.name, metrics.ROLES["member"])
    return next((name for name, value in metrics.ROLES.items() if value == said), None)


def says(name: str, sight: Sight | None, look: Look) -> str:
    """Return the verdict on a host in words."""
    if look.sights is None:
        return "The measures cannot be read now, so nothing is known of it."
    if sight is None or not sight.readings.values:
        return "Nobody measures it: no agent publishes, and no witness speaks of it."
    if sight.standing is not None:
        return sight.standing.evidence
    if state_of(sight) == WELL:
        return f"{name} is well: heard on the network, its lease is renewed."
    if doubt := judge.may_hold(sight.verdicts):
        return f"No verdict, and nothing shows that it lives: {doubt.evidence}"
    return "No verdict: some measures are missing, so nothing is concluded from the others."


def paths(sight: Sight | None, limits: Thresholds) -> Answer:
    """Return each path of the evidence: whether the host is seen on it, and how that is known."""
    values = sight.readings.values if sight else {}
    return {
        "network": _age(values, metrics.HEARTBEAT_AGE, limits.heartbeat_age, "heard"),
        "storage": _age(values, metrics.LEASE_AGE, limits.lease_age, "lease renewed"),
        "reachable": _flag(values, metrics.REACHABLE, 1, "answers", "does not answer"),
        "telemetry": _flag(values, metrics.HEARTBEAT, 1, "publishes itself", "is silent"),
        "isolated": _flag(values, metrics.ISOLATED, 0, "hears others", "says it hears nobody"),
    }


def _age(values: Mapping[str, float], metric: metrics.Metric, limit: float, what: str) -> Answer:
    value = values.get(metric.name)
    if value is None:
        return {"state": UNKNOWN, "says": "no data"}
    lost = value >= limit
    return {"state": LOST if lost else OK, "says": f"{what} {value:.1f} s ago"}


def _flag(
    values: Mapping[str, float], metric: metrics.Metric, good: float, yes: str, no: str
) -> Answer:
    value = values.get(metric.name)
    if value is None:
        return {"state": UNKNOWN, "says": "no data"}
    return {"state": OK, "says": yes} if value == good else {"state": LOST, "says": no}


def service(found: Service) -> Answer:
    """Return what Nova says of the host's nova-compute."""
    return {
        "up": found.up,
        "enabled": found.enabled,
        "forced_down": found.forced_down,
        "disabled_reason": found.disabled_reason,
        "zone": found.zone or None,
    }


def maintenance(flag: Maintenance | None) -> Answer | None:
    """Return an operator's word that a host is to be left alone."""
    if flag is None:
        return None
    plain = ("reason", "who", "since", "until")
    return {name: getattr(flag, name) for name in plain}


def stranded(found: Outlook, why: str) -> str:
    """Return what keeps a server down if its host fails, for a list of servers."""
    may = "may find" if found.fit is Fit.MAY_NOT else "has"
    return f"{may} no room if {found.host} fails: {why}; free some, or add a host"


def outlook(found: Outlook) -> Answer:
    """Return what would become of a host's protected VMs if it failed."""
    return {
        "host": found.host,
        "fit": str(found.fit),
        "protected": found.vms,
        "without_room": [{"id": key, "why": why} for key, why in found.stranded.items()],
        "missing": dict(found.missing),
        "says": found.says,
    }


def server(found: Server, policy: str, problem: str | None) -> Answer:
    """Return whether and by what a server is protected."""
    return {
        "id": found.id,
        "name": found.name,
        "host": found.host,
        "protected": protect.is_protected(found, policy),
        "by": protect.by(found, policy),
        "priority": protect.priority(found),
        "status": found.status,
        "problem": problem,
    }
