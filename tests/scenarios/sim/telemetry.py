# SPDX-License-Identifier: Apache-2.0
"""Ceilometer, Gnocchi and Aodh: from what an agent knows to what the engine may read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from tests.scenarios.sim.clockwork import EPOCH
from tests.scenarios.sim.hosts import Host
from vmha_pollsters.agent import report
from vmha_pollsters.pollsters import HostPollster
from vmha_remediator.errors import AgentUnavailable, TelemetryUnavailable
from vmha_remediator.rules import judge, metrics, templates, timing, vm_rule
from vmha_remediator.rules.judge import Readings, State
from vmha_remediator.rules.templates import Thresholds

if TYPE_CHECKING:
    from tests.scenarios.sim.world import World

POLLING = 2.0  # s, the interval in polling.yaml
VM_POLLING = 10.0  # s, that of power.state
RUNNING, SHUTOFF = 1.0, 5.0  # libvirt's numbers
INGESTION = 0.07  # s, from sample to readable
READ = 0.01  # s, one request to services that are not busy
EVALUATION = 2.0  # s, [evaluator] evaluation_interval
WEBHOOK = 0.1  # s, notifier and POST
SOCKET_TIMEOUT = 2.0
GRANULARITY = metrics.ARCHIVE_POLICY.granularity
BACK_WINDOW = metrics.ARCHIVE_POLICY.back_window
RULES = templates.load()
VM_RULE = vm_rule.load()


@dataclass
class Series:
    """One metric of one host as Gnocchi keeps it: bucket -> (time, value) of its last point."""

    buckets: dict[float, tuple[float, float]]
    newest: float = float("-inf")

    def add(self, stamp: float, value: float) -> None:
        """Take a point in; one that is too late is dropped without a word."""
        bucket = stamp // GRANULARITY * GRANULARITY
        if bucket < self.newest - GRANULARITY * BACK_WINDOW:
            return
        self.newest = max(self.newest, bucket)
        old = self.buckets.get(bucket)
        if old is None or stamp >= old[0]:
            self.buckets[bucket] = (stamp, value)
        if len(self.buckets) > 50:
            del self.buckets[min(self.buckets)]

    def last(self, start: float, stop: float) -> float | None:
        if start <= self.newest <= stop:
            return self.buckets[self.newest][1]
        found = [b for b in self.buckets if start <= b <= stop]
        return self.buckets[max(found)][1] if found else None


class Telemetry:
    """Everything between the agents and the engine; also the port that the engine reads."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.series: dict[tuple[str, str], Series] = {}
        self.powers: dict[str, Series] = {}  # power.state of each VM
        self.published: dict[str, float] = {}  # host -> when a witness last said something of it
        self.down: set[str] = set()  # of "gnocchi", "aodh", "evaluator", "rabbit", "keystone"
        self._evaluated = 0.0
        self.silent: set[str] = set()  # hosts of which nothing gets through
        self.lost_webhooks = False
        self.latency = READ  # s, what Gnocchi takes for one request
        self.states: dict[tuple[str, str], State] = {}
        self._rendered: dict[tuple[str, int], list[tuple[str, dict[str, Any]]]] = {}

    # -- polling ------------------------------------------------------------------------

    def poll(self, host: Host) -> None:
        """Be ceilometer-polling on `host`."""
        clockwork = self._world.clockwork
        pollster = HostPollster(cfg.ConfigOpts())
        clockwork.park(self._world.random.uniform(0.0, POLLING))
        while True:
            stamp = EPOCH + clockwork.now + host.skew
            samples = list(pollster.get_samples(None, {}, [host.name]))
            self._publish(host, stamp, samples)
            clockwork.park(POLLING)

    def poll_vms(self, host: Host) -> None:
        """Be ceilometer's compute agent on `host`: the power state of each VM that it has."""
        clockwork = self._world.clockwork
        clockwork.park(self._world.random.uniform(0.0, VM_POLLING))
        while True:
            stamp = EPOCH + clockwork.now + host.skew
            points = [
                (vm, vm_rule.METRIC, RUNNING if vm in host.guests else SHUTOFF)
                for vm, server in self._world.nova.servers_by_id.items()
                if server.host == host.name
            ]
            if not self._cut_off(host):
                clockwork.after(INGESTION, partial(self._store_vms, stamp, points))
            clockwork.park(VM_POLLING)

    def _store_vms(self, stamp: float, points: list[tuple[str, str, float]]) -> None:
        for vm, _name, value in points:
            self.powers.setdefault(vm, Series({})).add(stamp, value)

    def ask(self, path: str, operation: str, **more: str) -> dict[str, Any]:
        """Stand for the agent's socket; `path` is the host."""
        host = self._world.hosts[path]
        process = host.processes.get("agent")
        if host.agent is None or process is None or not process.alive:
            raise AgentUnavailable("vmha-agent does not answer")
        if process.stopped:
            self._world.clockwork.park(SOCKET_TIMEOUT)
            raise AgentUnavailable("vmha-agent does not answer in time")
        return report.readings(host.agent, more)

    def _publish(self, host: Host, stamp: float, samples: Iterable[Any]) -> None:
        if self._cut_off(host):
            return
        points = [(s.resource_metadata["host"], s.name, float(s.volume)) for s in samples]
        self._world.clockwork.after(INGESTION, lambda: self._store(stamp, points))

    def _cut_off(self, host: Host) -> bool:
        """Tell whether what a host publishes is lost."""
        lost = bool(self.down & {"rabbit", "gnocchi"})
        return lost or not self._world.network.open(host.name, "ctl")

    def _store(self, stamp: float, points: list[tuple[str, str, float]]) -> None:
        for host, name, value in points:
            if host in self.silent:
                continue
            self.series.setdefault((host, name), Series({})).add(stamp, value)
            if name not in metrics.OWN:
                self.published[host] = self._world.clockwork.now

    # -- what the engine reads ------------------------------------------------------------

    def hosts(self) -> list[str]:
        self._request()
        return sorted({host for host, _ in self.series})

    def readings(self, host: str) -> Readings:
        return self.readings_of([host])[host]

    def readings_of(self, hosts: Iterable[str]) -> dict[str, Readings]:
        self._request()
        return {host: Readings(host, self.values(host)) for host in hosts}

    def power_state(self, server_id: str) -> float | None:
        self._request()
        return self._power(server_id)

    def _power(self, server_id: str) -> float | None:
        now, series = EPOCH + self._world.clockwork.now, self.powers.get(server_id)
        return series.last(now - 2 * GRANULARITY, now) if series is not None else None

    def alarming(self) -> list[tuple[str, str]]:
        self._world.clockwork.park(READ)
        if self.down & {"aodh", "keystone"}:
            raise TelemetryUnavailable("Aodh cannot be reached")
        return sorted(key for key, state in self.states.items() if state is State.ALARM)

    def evaluated(self) -> dict[str, str]:
        return {"first": str(self._evaluated)}

    def state(self, rule: str, host: str) -> str | None:
        found = self.states.get((rule, host))
        return found.value if found is not None else None

    def _request(self) -> None:
        self._world.clockwork.park(self.latency)
        if self.down & {"gnocchi", "keystone"}:
            raise TelemetryUnavailable("Gnocchi cannot be reached")

    def values(self, host: str) -> dict[str, float]:
        """Return what Gnocchi would answer now."""
        now = EPOCH + self._world.clockwork.now
        start = (now - timing.window()) // GRANULARITY * GRANULARITY
        values = {}
        for name in metrics.METRICS:
            series = self.series.get((host, name))
            value = series.last(start, now) if series is not None else None
            if value is not None:
                values[name] = value
        return values

    # -- Aodh -----------------------------------------------------------------------------

    def evaluate_for_ever(self) -> None:
        """Be the evaluator and the notifier."""
        while True:
            self._world.clockwork.park(EVALUATION)
            if self.down & {"aodh", "keystone", "evaluator"}:
                continue
            self._evaluated = self._world.clockwork.now
            known = sorted({host for host, _ in self.series})
            for host in known:
                values = {} if "gnocchi" in self.down else self.values(host)
                for name, rule in self._rules(host, len(self._world.hosts)):
                    self._settle(name, host, judge.evaluate(rule, values))
            for vm in sorted(self.powers.keys() & self._world.nova.servers_by_id.keys()):
                value = None if "gnocchi" in self.down else self._power(vm)
                self._settle(vm_rule.RULE, vm, vm_rule.evaluate(VM_RULE, value))

    def _settle(self, rule: str, host: str, state: State) -> None:
        before = self.states.get((rule, host))
        self.states[rule, host] = state
        if state is not before and (state is State.ALARM or before is State.ALARM):
            self._world.log("aodh", f"alarm {rule} of {host} is {state.value}")
        if state is State.ALARM and not self.lost_webhooks and "rabbit" not in self.down:
            self._world.clockwork.after(WEBHOOK, lambda: self._world.control.ring(rule, host))

    def _rules(self, host: str, agents: int) -> list[tuple[str, dict[str, Any]]]:
        found = self._rendered.get((host, agents))
        if found is None:
            limits = Thresholds().for_cluster(agents)
            found = [(t.name, templates.render(t, host, limits)) for t in RULES]
            self._rendered[host, agents] = found
        return found
