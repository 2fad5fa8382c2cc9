# SPDX-License-Identifier: Apache-2.0
"""Looking: facts are read afresh for every plan, and no more of them than its state needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor as Pool
from dataclasses import replace

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine import destinations, vm_view
from vmha_remediator.engine.arrivals import Arrivals
from vmha_remediator.engine.destinations import Destinations
from vmha_remediator.engine.fallen import Fallen
from vmha_remediator.engine.judged import Judged
from vmha_remediator.engine.ports import Cloud, Fencing, Telemetry
from vmha_remediator.engine.queues import Queues
from vmha_remediator.engine.relations import Relations
from vmha_remediator.errors import CloudRefused, TelemetryUnavailable
from vmha_remediator.remedy import cluster, pieces, proof, reserves, vm_failure
from vmha_remediator.remedy import services as around_services
from vmha_remediator.remedy.facts import Cluster, Facts, ServerGroup, Service
from vmha_remediator.remedy.incident import SETTLED, Incident, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.rules import judge, metrics
from vmha_remediator.rules.judge import Readings, State, Verdict
from vmha_remediator.rules.templates import Template, Thresholds
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)

#: States whose planner looks at VMs.
_VMS = frozenset({S.FENCED, S.EVACUATING, S.RECOVERED})
#: What of the facts is measured.
_MEASURED = (
    "verdicts", "standing", "heartbeat_age", "lease_age", "fresh_heartbeat", "fresh_lease",
)  # fmt: skip
#: One listing of services serves all incidents that ask within this time, in seconds.
SERVICES_FOR = 0.3
#: The same for the server groups.
GROUPS_FOR = 30.0


class Observer:
    """Reads facts from telemetry, Nova, fencing and the store; safe to use from threads."""

    def __init__(
        self,
        *,
        telemetry: Telemetry,
        cloud: Cloud,
        fencing: Fencing,
        store: Store,
        templates: Iterable[Template],
        thresholds: Callable[[int], Thresholds],
        clock: Clock,
        policy: Policy,
        pool: Pool,
    ) -> None:
        self._telemetry, self._cloud, self._fencing = telemetry, cloud, fencing
        self._store, self._clock, self._policy = store, clock, policy
        self._templates = tuple(templates)
        self._thresholds = thresholds
        self._pool = pool
        self._services: tuple[float, list[Service]] | None = None
        self._server_groups: tuple[float, tuple[ServerGroup, ...]] | None = None
        self._lock = threading.Lock()
        self._relations = Relations(cloud, clock, policy)
        self._destinations = Destinations(cloud, self.judge, clock, policy)
        self._queues = Queues(cloud, clock, policy)
        self._arrivals = Arrivals(store, cloud)
        self._fallen = Fallen(store, fencing, self._with_measures, clock, policy)
        #: Hosts with an agent, as far as known; a very small cluster has fewer witnesses.
        self.agents = 0
        #: What the latest scan of all hosts says of them as a whole; empty: not known now.
        self.situations: tuple[Verdict, ...] = ()
        #: What is known of the services around, by the subject of their incidents.
        self.around: dict[str, Verdict] = {}
        #: Tells what is known of the single VM that an incident is about.
        self.vm_facts: Callable[[Incident], Facts] = lambda incident: Facts(incident.host)

    def judge(self, hosts: Iterable[str]) -> dict[str, Judged]:
        """Return what the rules say of each host on fresh measures.

        Raises `TelemetryUnavailable`.
        """
        names = list(hosts)
        found = self._telemetry.readings_of(names) if names else {}
        return {host: self._judge(readings) for host, readings in found.items()}

    def limits(self, share: float, standing: str) -> cluster.Limits:
        """Return what makes it most of the hosts, by the rules' thresholds in force."""
        limits = self._thresholds(self.agents)
        return cluster.Limits(share, limits.heartbeat_age, limits.lease_age, standing)

    def _judge(self, readings: Readings) -> Judged:
        limits = self._thresholds(self.agents)
        found = judge.judge(self._templates, readings, limits)
        verdicts = (*found, cluster.silence(readings))
        return Judged(readings, verdicts, judge.standing(verdicts))

    def facts(self, incident: Incident) -> Facts:
        """Return all that the planner needs for `incident` now.

        Without telemetry every rule is UNKNOWN. Raises `CloudUnavailable`, `StoreUnavailable`.
        """
        if incident.host == cluster.EVERYBODY:
            known = self.situations
            return Facts(incident.host, verdicts=known, standing=judge.standing(known))
        if incident.host in around_services.SUBJECTS:
            about = self.around.get(incident.host)
            return Facts(incident.host, verdicts=(about,) if about is not None else ())
        if vm_failure.is_subject(incident.host):
            return self.vm_facts(incident)
        measures = self._pool.submit(self._with_measures, incident)
        wants_vms = incident.state in _VMS or (incident.state is S.HELD and _unsettled(incident))
        wants_vms = wants_vms or incident.held_by == pieces.LEFT_VMS
        seen = self._pool.submit(vm_view.look, self._cloud, incident) if wants_vms else None
        facts = Facts(incident.host)
        if incident.state is not S.FENCING:
            facts = self._with_services(incident, facts)
        measured = measures.result()
        facts = replace(
            facts,
            **{name: getattr(measured, name) for name in _MEASURED},
            failures=self._failures(incident),
            confirmed=self._confirmed(incident),
            deeds=self._deeds(incident, measured.standing),
        )
        if incident.rule == around_services.COMPUTE_DOWN and measured.verdicts:
            facts = replace(facts, verdicts=(*facts.verdicts, self._compute(facts)))
        if seen is not None:
            migrations, servers = seen.result()
            facts = replace(
                facts,
                migrations=migrations,
                servers=servers,
                groups=self._groups(),
                others=self._relations.look(incident, servers),
                leaves_stopped=self._cloud.leaves_stopped(),
            )
            facts = self._arrivals.look(incident, facts)
            facts = replace(facts, queued=self._queues.look(incident, facts))
            facts = replace(facts, still_off=self._fallen.look(incident, facts))
        if proof.wants_power(incident, facts, self._clock.now(), self._policy):
            facts = replace(facts, power=self._fencing.power(incident.host).value)
        return facts

    def heard_again(self, incident: Incident) -> bool:
        """Tell whether a host that had failed is heard now, so far as is known."""
        return self._with_measures(incident).heard_again

    def _compute(self, facts: Facts) -> Verdict:
        age = facts.heartbeat_age
        readings = Readings(facts.host, {} if age is None else {metrics.HEARTBEAT_AGE.name: age})
        return around_services.compute(facts.service, readings, self.limits(0.0, ""))

    def _with_measures(self, incident: Incident) -> Facts:
        limits = self._thresholds(self.agents)
        facts = Facts(
            incident.host, fresh_heartbeat=limits.heartbeat_age, fresh_lease=limits.lease_age
        )
        try:
            judged = self._judge(self._telemetry.readings(incident.host))
        except TelemetryUnavailable as exc:
            LOG.warning("%s: no measures now: %s", incident.host, exc)
            return facts
        return replace(
            facts,
            verdicts=judged.verdicts,
            standing=judged.standing,
            heartbeat_age=judged.readings.values.get(metrics.HEARTBEAT_AGE.name),
            lease_age=judged.readings.values.get(metrics.LEASE_AGE.name),
        )

    def _confirmed(self, incident: Incident) -> str | None:
        return self._store.confirmation(incident.host) if incident.state is S.HELD else None

    def _failures(self, incident: Incident) -> int:
        if incident.state is not S.RECOVERED or not self._policy.quarantine_after:
            return 0
        since = self._clock.now() - self._policy.quarantine_window
        return self._store.fenced_since(incident.host, since)

    def _deeds(self, incident: Incident, standing: Verdict | None) -> tuple[str, ...]:
        """Return what the rule asks for; a flapping host is in now one situation, now another."""
        flapping = incident.rule == cluster.FLAPPING and standing is not None
        rule = standing.rule if flapping and standing is not None else incident.rule
        return next((t.actions for t in self._templates if t.name == rule), ())

    def _with_services(self, incident: Incident, facts: Facts) -> Facts:
        services = self._all_services()
        active = self._store.incidents(active_only=True)
        mine = next((s for s in services if s.host == incident.host), None)
        flags = self._store.maintenance()
        unfinished = tuple(
            vm
            for other in active
            if other.id != incident.id
            for vm in other.vms
            if vm.status not in (VmStatus.DONE, VmStatus.SKIPPED)
        )
        if destinations.wanted(incident):
            facts = self._destinations.look(facts, services, active, flags)
        return replace(
            facts,
            service=mine,
            cluster=self._cluster(services, active, frozenset(flags)),
            situation=self._situation(active),
            maintenance=flags.get(incident.host),
            unfinished=unfinished,
        )

    def _situation(self, active: Iterable[Incident]) -> Verdict | None:
        """Return the cluster's reported situation while it still stands, or is not known."""
        told = next((i for i in active if i.host == cluster.EVERYBODY), None)
        if told is None:
            return None
        return Verdict(
            told.rule, told.host, State.ALARM, told.action, told.severity, told.evidence
        )

    def services(self) -> list[Service]:
        """Return Nova's compute services, at most a moment old; raises `CloudUnavailable`."""
        return self._all_services()

    def read_services(self) -> list[Service]:
        """Return them read now, without making anybody wait; raises `CloudUnavailable`."""
        return self._cloud.services()

    def _all_services(self) -> list[Service]:
        with self._lock:
            now = self._clock.monotonic()
            if self._services is None or now - self._services[0] >= SERVICES_FOR:
                self._services = (now, self._cloud.services())
            return self._services[1]

    def forget_services(self) -> None:
        """Read the services anew at the next look: one of them has just been changed."""
        with self._lock:
            self._services = None

    def _cluster(
        self, services: Iterable[Service], active: Iterable[Incident], left_alone: frozenset[str]
    ) -> Cluster:
        active = list(active)
        services = list(services)
        recent = self._clock.now() - self._policy.storm_window
        failures = [i for i in active if i.action == "recover"]
        down = frozenset(s.host for s in services if not s.up or s.forced_down)
        return Cluster(
            hosts=frozenset(s.host for s in services),
            failing=frozenset(i.host for i in failures if not _over_with(i) or i.opened >= recent),
            fenced=frozenset(i.host for i in failures if i.proven_off),
            unwell=frozenset(i.host for i in active)
            | frozenset(s.host for s in services if _unwell(s, self._policy)),
            in_trouble=down | frozenset(i.host for i in active),
            maintenance=left_alone,
            usable=frozenset(s.host for s in services if not _unwell(s, self._policy))
            - left_alone,
        )

    def _groups(self) -> tuple[ServerGroup, ...]:
        """Return the server groups, read now and then: members hardly ever change."""
        with self._lock:
            now = self._clock.monotonic()
            if self._server_groups is None or now - self._server_groups[0] >= GROUPS_FOR:
                self._server_groups = (now, self._read_groups())
            return self._server_groups[1]

    def _read_groups(self) -> tuple[ServerGroup, ...]:
        try:
            return tuple(self._cloud.groups())
        except CloudRefused as exc:
            LOG.warning(
                "server groups cannot be read, so their members move side by side: %s", exc
            )
            return ()


def _unwell(service: Service, policy: Policy) -> bool:
    """Tell whether Nova would not give the host a VM, now or once a reserve is enabled."""
    usable = service.enabled or reserves.rests(service, policy)
    return not usable or not service.up or service.forced_down


def _usable(service: Service) -> bool:
    """Tell whether Nova would start VMs there."""
    return service.up and service.enabled and not service.forced_down


def _over_with(incident: Incident) -> bool:
    """Tell whether its VMs are taken care of: it waits for its host, or for a person's word."""
    return incident.state is S.RECOVERED or incident.held_by == pieces.QUARANTINE


def _unsettled(incident: Incident) -> bool:
    return any(vm.status not in SETTLED for vm in incident.vms)
