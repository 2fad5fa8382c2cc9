# SPDX-License-Identifier: Apache-2.0
"""Guards: reasons not to fence a host although its failure is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vmha_remediator.remedy import cluster
from vmha_remediator.remedy.facts import Facts
from vmha_remediator.remedy.incident import SERVICE_WRITES, Incident
from vmha_remediator.remedy.policy import Policy

#: Held by what is wrong with most hosts; it ends by itself.
SITUATION = "cluster-situation"


@dataclass(frozen=True)
class Objection:
    """Why a guard stops an incident, and what a person can do about it."""

    guard: str
    reason: str
    advice: str


def release_command(incident: Incident) -> str:
    """Return the command that lets a held incident go on."""
    return f"vmha-manage incident release {incident.id}"


def _names(hosts: frozenset[str]) -> str:
    return ", ".join(sorted(hosts))


def contradiction(
    incident: Incident, facts: Facts, now: float, policy: Policy
) -> Objection | None:
    """Object when nova-compute reported after the last heartbeat that anybody heard."""
    service, age = facts.service, facts.heartbeat_age
    if service is None or service.updated_at is None or age is None:
        return None
    if service.updated_at <= incident.last_step(SERVICE_WRITES) + policy.contradiction_tolerance:
        return None  # Nova shows our own write, not a report
    later = service.updated_at - (now - age)
    if later <= policy.contradiction_tolerance:
        return None
    return Objection(
        "contradiction",
        f"nova-compute on {facts.host} reported to Nova {later:.0f} s after the last heartbeat "
        f"that anybody heard, so the host may well be alive",
        f"look at {facts.host}; if it is really down: {release_command(incident)}",
    )


def no_service(incident: Incident, facts: Facts, now: float, policy: Policy) -> Objection | None:
    """Object when Nova knows no compute service of that name: nothing could be evacuated."""
    if facts.service is not None:
        return None
    return Objection(
        "no-service",
        f"Nova knows no nova-compute service named {facts.host}",
        "give the agent the name that 'openstack compute service list' shows ([agent] host); "
        f"then: {release_command(incident)}",
    )


def operator_forced_down(
    incident: Incident, facts: Facts, now: float, policy: Policy
) -> Objection | None:
    """Object when an operator has forced the service down: the host is theirs for now."""
    service = facts.service
    if service is None or not service.forced_down or incident.forced_by_us:
        return None
    return Objection(
        "operator-force-down",
        f"somebody else has forced nova-compute on {facts.host} down; that is left alone",
        f"if its VMs are to be recovered all the same: {release_command(incident)}",
    )


def storm(incident: Incident, facts: Facts, now: float, policy: Policy) -> Objection | None:
    """Object when a larger share of the hosts fails at once than is believable."""
    if facts.cluster is None:
        return None
    failing = facts.cluster.failing | {facts.host}
    total = len(facts.cluster.hosts | {facts.host})
    allowed = max(1, int(total * policy.storm_share))
    if len(failing) <= allowed:
        return None
    return Objection(
        "storm",
        f"{len(failing)} of {total} hosts fail at once ({_names(failing)}), more than the "
        f"{allowed} that [guards] storm_share allows",
        "look for a common cause (network, storage, power); if the hosts are really down: "
        f"{release_command(incident)}",
    )


def min_healthy(incident: Incident, facts: Facts, now: float, policy: Policy) -> Objection | None:
    """Object when too few healthy hosts would be left to take the VMs."""
    if facts.cluster is None or facts.cluster.healthy >= policy.min_healthy:
        return None
    return Objection(
        "min-healthy",
        f"only {facts.cluster.healthy} healthy hosts are left; [guards] min_healthy wants "
        f"{policy.min_healthy}",
        f"bring hosts back, or go on with: {release_command(incident)}",
    )


def situation(incident: Incident, facts: Facts, now: float, policy: Policy) -> Objection | None:
    """Object while most hosts are in a situation that makes this host's evidence worthless."""
    standing = facts.situation
    known = cluster.BY_NAME.get(standing.rule) if standing is not None else None
    if standing is None or known is None or not known.spoils:
        return None
    return Objection(
        SITUATION,
        f"{standing.rule} stands for {cluster.CLUSTER}: {known.spoils}",
        f"when it is over {facts.host} is judged anew by itself; if it is really down: "
        f"{release_command(incident)}",
    )


Guard = Callable[[Incident, Facts, float, Policy], Objection | None]

#: In the order in which they are asked; the key is what a release waives.
GUARDS: Mapping[str, Guard] = {
    "no-service": no_service,
    "operator-force-down": operator_forced_down,
    "contradiction": contradiction,
    SITUATION: situation,
    "storm": storm,
    "min-healthy": min_healthy,
}

#: Without a Nova service nothing can be done, whoever says so.
NOT_WAIVABLE = frozenset({"no-service"})


def objection(incident: Incident, facts: Facts, now: float, policy: Policy) -> Objection | None:
    """Return the first objection that no person has waived for this incident."""
    for name, guard in GUARDS.items():
        if name in incident.waived and name not in NOT_WAIVABLE:
            continue
        found = guard(incident, facts, now, policy)
        if found is not None:
            return found
    return None
