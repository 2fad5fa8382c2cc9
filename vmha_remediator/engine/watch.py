# SPDX-License-Identifier: Apache-2.0
"""Watching all hosts: silence rings no doorbell, and what is wrong with most is one situation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.judged import Judged
from vmha_remediator.engine.observer import Observer
from vmha_remediator.errors import CloudUnavailable
from vmha_remediator.remedy import cluster, services
from vmha_remediator.remedy.facts import Service
from vmha_remediator.rules.judge import Readings, State, Verdict

LOG = log.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """How often all hosts are looked at, and how long a situation must stand; seconds."""

    share: float = 0.5  # of the hosts, beyond which it is most of them
    scan_interval: float = 10.0
    report_after: float = 10.0
    silent_after: float = 60.0
    unreachable_after: float = 30.0  # Aodh or Gnocchi without an answer
    evaluator_after: float = 90.0  # no alarm evaluated, though Aodh's API answers; 0: never told
    compute_after: float = 30.0  # a nova-compute that Nova calls down on a host that is heard


@dataclass
class Watch:
    """What the latest scan says of the cluster; only hints are kept, a restart waits anew."""

    observer: Observer
    clock: Clock
    timing: Timing = field(default_factory=Timing)

    def __post_init__(self) -> None:
        self._next = 0.0
        self._since: dict[str, float] = {}
        self._dead: dict[str, float] = {}  # host -> since when its nova-compute alone is dead
        self._found: list[Readings] = []  # of the latest scan
        self._quiet: dict[str, float] = {}  # host -> since when it has no measures
        self._services: list[Service] | None = None

    @property
    def forming(self) -> cluster.Situation | None:
        """Return the situation that the latest scan found, told already or not."""
        found = next((v for v in self.observer.situations if v.state is State.ALARM), None)
        return cluster.BY_NAME[found.rule] if found is not None else None

    def explains(self, rule: str) -> bool:
        """Tell whether a host's verdict is part of what is wrong with most hosts."""
        situation = self.forming
        return situation is not None and rule in situation.explains

    def is_due(self, urgent: bool, least: float) -> bool:
        """Tell whether to scan now: a suspect host may be one of many."""
        now = self.clock.monotonic()
        early = self._next - self.timing.scan_interval + least
        return now >= self._next or ((urgent or bool(self._since)) and now >= early)

    def blind(self) -> None:
        """Forget for how long anything has stood: what cannot be read is no silence."""
        self.observer.situations = ()
        self._since.clear()
        self._quiet.clear()

    def take(self, found: Mapping[str, Judged], told: str) -> tuple[Verdict | None, list[Verdict]]:
        """Take a scan of all hosts in; `told` names the situation that is reported, if any.

        Returns the cluster's situation once it has stood long enough, and the silence of each
        single host that nobody has watched for long enough.
        """
        now = self.clock.monotonic()
        self._next = now + self.timing.scan_interval
        limits = self.observer.limits(self.timing.share, told)
        readings = [judged.readings for judged in found.values()]
        self._found = readings
        quiet = [r for r in readings if not cluster.witnessed(r.values)]
        listed = self._list_services() if quiet else self._services
        counted = cluster.expected(readings, listed)
        self.observer.situations = cluster.judge(counted, limits)
        return self._standing(now), self._silent(found, quiet, now)

    def computes(self, limits: cluster.Limits) -> list[Verdict]:
        """Return the nova-computes that have been dead for long enough on hosts that are well.

        While most hosts are in one trouble, that is all there is to tell.
        """
        try:
            listed = self.observer.read_services()
        except CloudUnavailable as exc:
            LOG.debug("nova-computes are not looked at: %s", exc)
            return []
        dead, outage = services.computes(listed, self._found, limits)
        self.observer.around[services.NOVA] = outage
        if outage.state is State.ALARM:
            dead = [outage]
        if self.forming is not None:
            dead = []
        now = self.clock.monotonic()
        self._dead = {v.host: self._dead.get(v.host, now) for v in dead}
        return [v for v in dead if now - self._dead[v.host] >= self.timing.compute_after]

    def _list_services(self) -> list[Service] | None:
        try:
            self._services = self.observer.services()
        except CloudUnavailable as exc:
            LOG.debug("the latest list of services is used: %s", exc)
        return self._services

    def _standing(self, now: float) -> Verdict | None:
        alarming = [v for v in self.observer.situations if v.state is State.ALARM]
        self._since = {v.rule: self._since.get(v.rule, now) for v in alarming}
        for verdict in alarming:
            silent = verdict.rule == cluster.SILENT
            wait = self.timing.silent_after if silent else self.timing.report_after
            if now - self._since[verdict.rule] >= wait:
                return verdict
        return None

    def _silent(
        self, found: Mapping[str, Judged], quiet: Iterable[Readings], now: float
    ) -> list[Verdict]:
        up = {s.host for s in self._services or () if s.up and cluster.wants_watch(s)}
        hosts = [r.host for r in quiet if r.host in up] if self.forming is None else []
        self._quiet = {host: self._quiet.get(host, now) for host in hosts}
        return [
            cluster.silence(found[host].readings)
            for host, since in self._quiet.items()
            if now - since >= self.timing.silent_after
        ]


def flapping(standing: Verdict, onsets: Sequence[float]) -> Verdict:
    """Return the verdict on a host whose situations come and go: told once, at once.

    `onsets` are the times (s) at which it got into one, the latest last.
    """
    evidence = (
        f"{cluster.FLAPPING}: within {onsets[-1] - onsets[0]:.0f} s {standing.host} has got into "
        f"situations that are only reported {len(onsets)} times, and out of them again. This "
        f"is told once, until it has been well for a while; look for a loose link or a "
        f"service that restarts. The latest: {standing.evidence}"
    )
    return replace(standing, rule=cluster.FLAPPING, evidence=evidence)
