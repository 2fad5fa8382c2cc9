# SPDX-License-Identifier: Apache-2.0
"""Looking at the other hosts: which are well enough to be given VMs, how full, and for whom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.judged import Judged
from vmha_remediator.engine.ports import Cloud
from vmha_remediator.errors import CloudRefused, CloudUnavailable, TelemetryUnavailable
from vmha_remediator.remedy import candidates, cluster, reserves
from vmha_remediator.remedy.facts import Aggregate, Facts, Service
from vmha_remediator.remedy.incident import Incident, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.rules import judge

LOG = log.getLogger(__name__)

#: One look at the hosts serves all plans within this time, in seconds: a witness publishes
#: a suspect host every two seconds.
LOOK_FOR = 2.0
#: Aggregates hardly ever change; one reading of them serves for so long, in seconds.
AGGREGATES_FOR = 30.0
_OVER = frozenset({VmStatus.DONE, VmStatus.SKIPPED})


def wanted(incident: Incident) -> bool:
    """Tell whether a plan for the incident may have VMs to place."""
    if incident.state is S.FENCED:
        return True
    placing = incident.state in (S.EVACUATING, S.RECOVERED)
    return placing and any(vm.status not in _OVER for vm in incident.vms)


class Destinations:
    """Reads the evidence about every other host, and Nova's free memory when it matters."""

    def __init__(
        self,
        cloud: Cloud,
        judge: Callable[[Iterable[str]], Mapping[str, Judged]],
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._cloud, self._judge, self._clock, self._policy = cloud, judge, clock, policy
        self._lock = threading.Lock()
        self._judged: tuple[float, frozenset[str], Mapping[str, Judged]] | None = None
        self._free: tuple[float, dict[str, int]] | None = None
        self._aggregates: tuple[float, tuple[Aggregate, ...]] | None = None

    def look(
        self,
        facts: Facts,
        services: list[Service],
        active: Iterable[Incident],
        left_alone: Iterable[str],
    ) -> Facts:
        """Return the facts with all that a choice of destinations rests on.

        Without telemetry the incidents, Nova's own view and the hosts in maintenance
        (`left_alone`) are what is left.
        """
        able = candidates.electable(replace(facts, services=tuple(services)))
        resting = {s.host for s in services if reserves.rests(s, self._policy)}
        found = self._evidence(able | resting)
        standing = {h: j.standing.rule for h, j in found.items() if j.standing is not None}
        unwatched = frozenset(h for h, rule in standing.items() if rule == cluster.SILENT)
        troubled = {h: rule for h, rule in standing.items() if h not in unwatched}
        doubts = {h: judge.may_hold(j.verdicts) for h, j in found.items()}
        troubled |= {h: f"{v.rule} is not ruled out" for h, v in doubts.items() if v is not None}
        troubled |= {i.host: f"{i.rule} is open" for i in active if i.host != facts.host}
        troubled |= dict.fromkeys(left_alone, "in maintenance")
        facts = replace(
            facts, services=tuple(services), troubled=troubled, unwatched=unwatched - {*troubled}
        )
        if candidates.names_hosts(facts, self._policy):
            facts = replace(facts, free=self._free_memory())
        return replace(facts, aggregates=self._read_aggregates())

    def _evidence(self, hosts: frozenset[str]) -> Mapping[str, Judged]:
        with self._lock:
            now = self._clock.monotonic()
            if self._judged is not None and now - self._judged[0] < LOOK_FOR:
                _, known, found = self._judged
                if hosts <= known:
                    return {h: j for h, j in found.items() if h in hosts}
            try:
                found = self._judge(sorted(hosts))
            except TelemetryUnavailable as exc:
                LOG.warning("destinations are chosen without measures: %s", exc)
                return {}
            self._judged = (now, hosts, found)
            return found

    def _free_memory(self) -> dict[str, int]:
        with self._lock:
            now = self._clock.monotonic()
            if self._free is None or now - self._free[0] >= LOOK_FOR:
                try:
                    self._free = (now, self._cloud.free_memory())
                except (CloudUnavailable, CloudRefused) as exc:
                    LOG.warning("destinations are chosen without their free memory: %s", exc)
                    return {}
            return self._free[1]

    def _read_aggregates(self) -> tuple[Aggregate, ...] | None:
        with self._lock:
            now = self._clock.monotonic()
            if self._aggregates is None or now - self._aggregates[0] >= AGGREGATES_FOR:
                try:
                    self._aggregates = (now, tuple(self._cloud.aggregates()))
                except (CloudUnavailable, CloudRefused) as exc:
                    LOG.warning("destinations are chosen without host aggregates: %s", exc)
                    return None
            return self._aggregates[1]
