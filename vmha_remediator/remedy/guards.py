# SPDX-License-Identifier: Apache-2.0
"""Guards: reasons not to fence a host although its failure is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vmha_remediator.remedy import cluster
from vmha_remediator.remedy.facts import Facts
from vmha_remediator.remedy.incident import SERVICE_WRITES, Incident
from vmha_remediator.remedy.policy import Policy

#: The guards' names: what `held_by` says, and what a release waives.
NO_SERVICE = "no-service"
MAINTENANCE = "maintenance"
OPERATOR = "operator-force-down"
CONTRADICTION = "contradiction"
SITUATION = "cluster-situation"
STORM = "storm"
NO_DESTINATION = "no-destination"
MIN_HEALTHY = "min-healthy"


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
    if now - service.updated_at >= policy.compute_silent:
        return None  # it has fallen silent since: nothing speaks for the host any more
    return Objection(
        CONTRADICTION,
        f"nova-compute on {facts.host} reported to Nova {later:.0f} s after the last heartbeat "
        f"that anybody heard, so the host may well be alive",
        f"look at {facts.host}; once its nova-compute has been silent for "
        f"{policy.compute_silent:g} s as well, it is judged anew by itself; if it is really "
        f"down: {release_command(incident)}",
    )


def no_service(incident: Incident, facts: Facts, now: float, policy: Policy) -> Objection | None:
    """Object when Nova knows no compute service of that name: nothing could be evacuated."""
    if facts.service is not None:
        return None
    return Objection(
        NO_SERVICE,
        f"Nova knows no nova-compute service named {facts.host}",
        "give the agent the name that 'openstack compute service list' shows ([agent] host), or, "
        "if the host was removed from Nova, take it out of the evidence, too: stop its agent and "
        f"'vmha-agent forget' it; then: {release_command(incident)}",
    )


def maintenance(incident: Incident, facts: Facts, now: float, policy: Policy) -> Objection | None:
    """Object when an operator has said that the host is to be left alone."""
    flag = facts.maintenance
    if flag is None:
        return None
    return Objection(
        MAINTENANCE,
        f"{flag.host} is in maintenance, says {flag.who}: {flag.reason}",
        f"when the work is over: vmha-manage host maintenance unset {flag.host}; a host that "
        f"fails then is judged anew by itself",
    )


def operator_forced_down(
    incident: Incident, facts: Facts, now: float, policy: Policy
) -> Objection | None:
    """Object when an operator has forced the service down: the host is theirs for now."""
    service = facts.service
    if service is None or not service.forced_down or incident.forced_by_us:
        return None
    return Objection(
        OPERATOR,
        f"somebody else has forced nova-compute on {facts.host} down; that is left alone",
        f"when that is taken back {facts.host} is judged anew by itself; if its VMs are to be "
        f"recovered all the same: {release_command(incident)}",
    )


def storm(incident: Incident, facts: Facts, now: float, policy: Policy) -> Objection | None:
    """Object when a larger share of the hosts fails at once than is believable.

    None of them is believed then: which of them are "too many" nobody can say. A host whose
    fencing has begun is not asked any more.
    """
    if facts.cluster is None:
        return None
    failing = facts.cluster.failing | {facts.host}
    total = len((facts.cluster.hosts - facts.cluster.maintenance) | {facts.host})
    allowed = max(1, int(total * policy.storm_share))
    if len(failing) <= allowed:
        return None
    return Objection(
        STORM,
        f"{len(failing)} of {total} hosts fail at once ({_names(failing)}), more than the "
        f"{allowed} that [guards] storm_share allows",
        f"look for a common cause (network, storage, power); when no more than {allowed} have "
        f"failed for {policy.storm_window:g} s it is judged anew by itself; if {facts.host} is "
        f"really down: {release_command(incident)}",
    )


def no_destination(
    incident: Incident, facts: Facts, now: float, policy: Policy
) -> Objection | None:
    """Object when no other host is left on which Nova could start a VM.

    Fencing a dead host harms nobody, but here it would help nobody either, and what all hosts
    have in common is more likely a mistake of ours.
    """
    if facts.cluster is None or facts.cluster.usable is None:
        return None
    if facts.cluster.usable - facts.cluster.failing - facts.cluster.fenced - {facts.host}:
        return None
    return Objection(
        NO_DESTINATION,
        f"no other host could take the VMs of {facts.host}: each has failed, is down, disabled, "
        f"forced down or in maintenance",
        "bring a host back, or enable one ('openstack compute service set --enable HOST "
        f"nova-compute'); {facts.host} is judged anew by itself then; or go on without: "
        f"{release_command(incident)}",
    )


def min_healthy(incident: Incident, facts: Facts, now: float, policy: Policy) -> Objection | None:
    """Object when too few healthy hosts would be left to take the VMs."""
    healthy = facts.cluster.healthy if facts.cluster is not None else policy.min_healthy
    if healthy >= policy.min_healthy:
        return None
    return Objection(
        MIN_HEALTHY,
        f"beside {facts.host} only {healthy} {'host is' if healthy == 1 else 'hosts are'} "
        f"healthy; [guards] min_healthy wants {policy.min_healthy}",
        f"bring hosts back, then it is judged anew by itself; or go on with: "
        f"{release_command(incident)}",
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
    NO_SERVICE: no_service,
    MAINTENANCE: maintenance,
    OPERATOR: operator_forced_down,
    CONTRADICTION: contradiction,
    SITUATION: situation,
    STORM: storm,
    NO_DESTINATION: no_destination,
    MIN_HEALTHY: min_healthy,
}

#: Without a Nova service nothing can be done, whoever says so.
NOT_WAIVABLE = frozenset({NO_SERVICE})

#: Guards whose reason comes and goes: it must be gone for so long before it is believed.
CALM: Mapping[str, Callable[[Policy], float]] = {
    STORM: lambda policy: policy.storm_window,
    NO_DESTINATION: lambda policy: policy.clear_after,
    MIN_HEALTHY: lambda policy: policy.clear_after,
}


def objection(incident: Incident, facts: Facts, now: float, policy: Policy) -> Objection | None:
    """Return the first objection that no person has waived for this incident."""
    for name, guard in GUARDS.items():
        if name in incident.waived and name not in NOT_WAIVABLE:
            continue
        found = guard(incident, facts, now, policy)
        if found is not None:
            return found
    return None
