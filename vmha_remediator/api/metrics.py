# SPDX-License-Identifier: Apache-2.0
"""Prometheus: incidents, verdicts, the age of evidence and how long each stage took."""

from __future__ import annotations

import contextlib
import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Blueprint, Response, request
from oslo_config import cfg
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.core import GaugeMetricFamily, Metric

from vmha_remediator.api import foresight, views
from vmha_remediator.api.backend import Backend
from vmha_remediator.api.counts import Counts
from vmha_remediator.api.problem import Problem, Refused
from vmha_remediator.errors import ConfigError, ServiceUnavailable, StoreUnavailable
from vmha_remediator.remedy.capacity import Outlook
from vmha_remediator.remedy.cluster import EVERYBODY
from vmha_remediator.remedy.states import IncidentState
from vmha_remediator.rules import metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Seconds; the goal is 10 s to the first evacuation, and a slow BMC takes a minute.
BUCKETS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800)
#: Name of a stage -> the states between which it is counted.
STAGES = {
    "fence": (IncidentState.DETECTED, IncidentState.FENCED),
    "evacuate": (IncidentState.FENCED, IncidentState.RECOVERED),
    "whole": (IncidentState.DETECTED, IncidentState.RECOVERED),
}
_STATES = (views.WELL, views.UNWELL, views.UNKNOWN)
_AGES = {"network": metrics.HEARTBEAT_AGE.name, "storage": metrics.LEASE_AGE.name}
FORBIDDEN = Problem(
    403, "forbidden", "metrics are not for this address", "add its network to [api] metrics_allow"
)


class Status:
    """What is so at the moment of the scrape."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def describe(self) -> Iterable[Metric]:
        """Return nothing: a registry must not scrape in order to register."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; a part that cannot be read is left out, and `vmha_up` says so."""
        up = GaugeMetricFamily("vmha_up", "1: this part could be read", labels=["part"])
        try:
            yield from self._stored()
            up.add_metric(["store"], 1)
        except StoreUnavailable:
            up.add_metric(["store"], 0)
        look = self._backend.view.look()
        up.add_metric(["telemetry"], float(look.sights is not None))
        up.add_metric(["nova"], float(look.services is not None))
        yield up
        outlooks = self._outlooks()
        if outlooks is not None:
            room = GaugeMetricFamily(
                "vmha_host_vms_without_room",
                "Protected VMs that have no room, or may have none, if the host fails",
                labels=["host", "fit"],
            )
            for one in outlooks:
                room.add_metric([one.host, str(one.fit)], len(one.stranded))
            yield room
        if look.sights is None:
            return
        state = GaugeMetricFamily(
            "vmha_host_state", "1: the host is in this state", labels=["host", "state"]
        )
        age = GaugeMetricFamily(
            "vmha_evidence_age_seconds",
            "Since the host was last heard, and its lease last seen renewed",
            labels=["host", "path"],
        )
        verdict = GaugeMetricFamily(
            "vmha_verdict", "1: this verdict stands", labels=["host", "rule", "severity"]
        )
        for host, sight in look.sights.items():
            now = views.state_of(sight)
            for name in _STATES:
                state.add_metric([host, name], float(name == now))
            for path, metric in _AGES.items():
                if metric in sight.readings.values:
                    age.add_metric([host, path], sight.readings.values[metric])
            if sight.standing is not None:
                standing = sight.standing
                verdict.add_metric([host, standing.rule, standing.severity], 1)
        yield from (state, age, verdict)

    def _outlooks(self) -> tuple[Outlook, ...] | None:
        """Return what is known without waiting; the next scrape knows what is read meanwhile."""
        try:
            return foresight.foresee(self._backend, wait=0.0)
        except ServiceUnavailable:
            return None

    def _stored(self) -> Iterator[Metric]:
        store, now = self._backend.store, self._backend.clock()
        active = store.incidents(active_only=True)
        count = Counter(str(incident.state) for incident in active)
        incidents = GaugeMetricFamily("vmha_incidents", "Active incidents", labels=["state"])
        for state in IncidentState:
            incidents.add_metric([str(state)], count[str(state)])
        yield incidents
        held = GaugeMetricFamily(
            "vmha_held_since_seconds",
            "For how long an incident has waited for a person",
            labels=["host", "held_by"],
        )
        for incident in active:
            if incident.state is IncidentState.HELD:
                host = "cluster" if incident.host == EVERYBODY else incident.host
                held.add_metric([host, incident.held_by], max(0.0, now - incident.updated))
        yield held
        leader = store.leader()
        if leader is not None and leader.said_at is not None:
            yield GaugeMetricFamily(
                "vmha_engine_silent_seconds",
                "Since the leading engine last said what it does; it does so every 5 s",
                value=max(0.0, now - leader.said_at),
            )


class Stages:
    """How long each stage took, for incidents that reach a state while this server runs."""

    def __init__(self, backend: Backend, counts: Counts) -> None:
        self._store = backend.store
        self._mark = counts.mark
        self._seconds = Histogram(
            "vmha_stage_seconds",
            "How long a stage of a recovery took",
            ["stage"],
            buckets=BUCKETS,
            registry=counts.kept,
        )
        for stage in STAGES:
            self._seconds.labels(stage)

    def take(self) -> None:
        """Count what has been reached since the last call; raises `StoreUnavailable`."""
        self._mark.move(self._count)

    def _count(self, seen: int | None) -> int:
        if seen is None:
            return self._store.last_change()
        for change in self._store.changes_after(seen):
            seen = change.id
            for stage, (begin, end) in STAGES.items():
                if change.after is end:
                    self._observe(stage, change.incident_id, begin, change.time)
        return seen

    def _observe(self, stage: str, incident: int, begin: IncidentState, end: float) -> None:
        times = [c.time for c in self._store.changes(incident) if c.after is begin]
        began = max((time for time in times if time <= end), default=None)
        if began is not None:
            self._seconds.labels(stage).observe(end - began)


def blueprint(conf: cfg.ConfigOpts, backend: Backend, counts: Counts) -> Blueprint:
    """Return GET /metrics, for [api] metrics_allow."""
    status = CollectorRegistry()
    status.register(Status(backend))
    stages = Stages(backend, counts)
    allowed = _networks(conf)

    def scrape() -> Response:
        try:
            address: Any = ipaddress.ip_address(request.remote_addr or "")
        except ValueError:
            raise Refused(FORBIDDEN) from None
        mapped = getattr(address, "ipv4_mapped", None) or address
        if not any(mapped in network for network in allowed):
            raise Refused(FORBIDDEN)
        text = generate_latest(status)
        if counts.whole(request.environ):
            with contextlib.suppress(StoreUnavailable):  # vmha_up says so
                stages.take()
            text += counts.show()
        return Response(text, content_type=CONTENT_TYPE)

    routes = Blueprint("metrics", __name__)
    routes.add_url_rule("/metrics", "metrics", scrape, methods=["GET"])
    return routes


def _networks(conf: cfg.ConfigOpts) -> list[Any]:
    try:
        return [ipaddress.ip_network(network) for network in conf.api.metrics_allow]
    except ValueError as exc:
        raise ConfigError(f"[api] metrics_allow: {exc}") from exc


def webhook_counter(counts: Counts) -> Callable[[int], None]:
    """Return what counts a webhook by its HTTP status: 401 and 403 are forged or stale."""
    webhooks = PrometheusCounter(
        "vmha_webhooks", "Webhooks received", ["status"], registry=counts.kept
    )
    for status in ("202", "401", "403", "503"):
        webhooks.labels(status)
    return lambda status: webhooks.labels(str(status)).inc()
