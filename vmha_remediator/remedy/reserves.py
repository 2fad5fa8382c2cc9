# SPDX-License-Identifier: Apache-2.0
"""Reserve hosts: kept empty for failures, enabled when one needs them, given back afterwards.

A reserve is disabled in Nova with a reason of ours while it rests. One is enabled for each host
that is proven off, and another one when those that are enabled have refused a VM. Nothing is
remembered: which hosts are reserves is configured, and all else is seen in Nova.
"""

from __future__ import annotations

from collections.abc import Iterable

from vmha_remediator.remedy.candidates import RESERVED
from vmha_remediator.remedy.facts import NOT_STARTED, OUR_REASON, Facts, Service
from vmha_remediator.remedy.incident import Incident, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import Step, UseReserve

#: Nova's disabled_reason of a reserve that rests.
REASON = f"{OUR_REASON} reserved"
#: A reserve that Nova would not enable is not asked for again for so long, in seconds.
REST = 60.0
_OVER = frozenset({VmStatus.DONE, VmStatus.SKIPPED})


def is_reserve(host: str, policy: Policy) -> bool:
    """Tell whether a host is kept for failures."""
    return policy.candidates == RESERVED and host in policy.reserved_hosts


def rests(service: Service, policy: Policy) -> bool:
    """Tell whether a service is a reserve's, which we have disabled and which could be enabled."""
    ours = (service.disabled_reason or "").startswith(REASON)
    able = service.up and not service.forced_down
    return is_reserve(service.host, policy) and not service.enabled and ours and able


def use(incident: Incident, facts: Facts, now: float, policy: Policy) -> tuple[Step, ...]:
    """Return the steps that enable the reserves which this failure needs and has not got."""
    if policy.candidates != RESERVED or all(vm.status in _OVER for vm in incident.vms):
        return ()
    resting = sorted(_resting(incident, facts, now, policy), key=lambda s: _order(s, facts))
    hosts = facts.cluster.fenced if facts.cluster is not None else frozenset[str]()
    wanted = len(hosts | {incident.host}) - len(_working(facts, policy))
    if wanted <= 0 and _refused_by_all(incident, facts, policy):
        wanted = 1
    return tuple(UseReserve(s.id, s.host) for s in resting[: max(wanted, 0)])


def _order(service: Service, facts: Facts) -> tuple[bool, bool, str]:
    """Return what sorts a reserve of the failed host's own zone first."""
    home = next((s.zone for s in facts.services if s.host == facts.host), "")
    return service.host in facts.unwatched, service.zone != home, service.host


def _resting(incident: Incident, facts: Facts, now: float, policy: Policy) -> list[Service]:
    failed = {
        step.sentence
        for step in incident.steps
        if step.step == UseReserve.NAME and step.ok is False and now - step.time < REST
    }
    return [
        s
        for s in facts.services
        if rests(s, policy)
        and s.host not in facts.troubled
        and not any(text.startswith(f"{said(s.host)}:") for text in failed)
    ]


def said(host: str) -> str:
    """Return how the journal says that a reserve is enabled."""
    return f"enable the reserve {host}"


def _working(facts: Facts, policy: Policy) -> list[str]:
    """Return the reserves that can be given VMs now."""
    return [
        s.host
        for s in facts.services
        if is_reserve(s.host, policy)
        and s.enabled
        and s.up
        and not s.forced_down
        and s.host not in facts.troubled
    ]


def _refused_by_all(incident: Incident, facts: Facts, policy: Policy) -> bool:
    """Tell whether a VM has been refused by every reserve that is enabled."""
    working = set(_working(facts, policy))
    open_ones = {vm.server_id for vm in incident.vms if vm.status not in _OVER}
    refused: dict[str, set[str]] = {}
    for migration in facts.migrations or ():
        if migration.status == NOT_STARTED and migration.dest and migration.server_id in open_ones:
            refused.setdefault(migration.server_id, set()).add(migration.dest)
    return any(working <= hosts for hosts in refused.values())


def idle(
    services: Iterable[Service], incidents: Iterable[Incident], policy: Policy
) -> list[Service]:
    """Return the enabled reserves that no failure needs; each goes to rest once it is empty."""
    if policy.candidates != RESERVED:
        return []
    active = [incident for incident in incidents if incident.active]
    if any(incident.action == "recover" for incident in active):
        return []
    troubled = {incident.host for incident in active}
    return [
        s
        for s in services
        if is_reserve(s.host, policy)
        and s.enabled
        and s.up
        and not s.forced_down
        and s.host not in troubled
    ]
