# SPDX-License-Identifier: Apache-2.0
"""What is measured: the one table of metrics, their units and how Gnocchi keeps them.

Pollsters, resource definitions, rule templates and entry points are checked against it.
Standard library only, so that every service can import it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import lru_cache

RESOURCE_TYPE = "vmha_host"
#: Fixed for ever: resource ids in every cloud's Gnocchi are derived from it.
NAMESPACE = uuid.UUID("6f1f4f1c-6d0e-5c3a-9b52-0a9d6c1f7e21")


@dataclass(frozen=True)
class Metric:
    """One metric of a host."""

    name: str
    unit: str
    said_by: str
    meaning: str


HEARTBEAT = Metric(
    "vmha.host.heartbeat", "heartbeat", "host", "1: its agent and its telemetry path work"
)
HEARTBEAT_AGE = Metric(
    "vmha.host.heartbeat.age",
    "s",
    "witnesses",
    "since any qualified witness last heard it on the management network",
)
LEASE_AGE = Metric(
    "vmha.host.lease.age", "s", "witnesses", "since its storage lease was last seen renewed"
)
REACHABLE = Metric("vmha.host.reachable", "bool", "witnesses", "1: heard, or answers a probe")
ISOLATED = Metric(
    "vmha.host.isolated", "bool", "witnesses", "1: it says in its slot that it hears nobody"
)
WITNESSES = Metric(
    "vmha.host.witnesses", "count", "witnesses", "qualified witnesses behind these readings"
)

WATCHDOG = Metric(
    "vmha.host.watchdog",
    "s",
    "witnesses",
    "by its slot: it is reset so long after its last grounds to live; 0: no watchdog is armed",
)
#: What a host says of its own paths. No rule rests on them: with everybody's storage or network
#: gone nobody is qualified to speak of others, and these two tell which of the two it is.
STORAGE = Metric("vmha.host.storage", "bool", "host", "1: it reads the lease area and renews")
HEARS = Metric(
    "vmha.host.hears", "bool", "host", "1: it hears more than half of the hosts that live"
)
#: Said by the few that have one, so that it costs the same in a cluster of any size.
ROLE = Metric(
    "vmha.host.role", "role", "host", "2: it is the master, 1: a witness; others say nothing"
)
#: What each role of an agent is in that metric.
ROLES: dict[str, float] = {"master": 2.0, "witness": 1.0, "member": 0.0}

METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        HEARTBEAT,
        HEARTBEAT_AGE,
        LEASE_AGE,
        REACHABLE,
        ISOLATED,
        WITNESSES,
        STORAGE,
        HEARS,
        WATCHDOG,
        ROLE,
    )
}
#: What a host's own agent publishes of itself; everything else is said by witnesses.
OWN = frozenset(m.name for m in METRICS.values() if m.said_by == "host")


@dataclass(frozen=True)
class ArchivePolicy:
    """How Gnocchi keeps every vmha metric.

    One definition: a late point older than `granularity * back_window` before the last one
    is dropped by Gnocchi without a word, hence a generous window. Aodh reads a window of
    two granularities, which therefore holds three healthy publications (one per 6 s).
    """

    name: str = "vmha-10s"
    granularity: int = 10
    timespan: int = 2 * 3600
    back_window: int = 6
    aggregation_methods: tuple[str, ...] = ("last", "max", "min")


ARCHIVE_POLICY = ArchivePolicy()


@lru_cache(maxsize=4096)
def resource_id(service_host: str) -> str:
    """Return the Gnocchi resource id (UUID text) of a Nova service host.

    Gnocchi hashes a non-UUID id together with its creator, so nobody else could find it by
    name: publish this id and use it everywhere.
    """
    return str(uuid.uuid5(NAMESPACE, service_host))
