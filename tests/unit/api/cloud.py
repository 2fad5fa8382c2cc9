# SPDX-License-Identifier: Apache-2.0
"""A small cloud to look at: what a `View` would have read, and a store with some history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vmha_remediator.errors import CloudUnavailable, StillReading, TelemetryUnavailable
from vmha_remediator.remedy.capacity import Space
from vmha_remediator.remedy.facts import Server, Service
from vmha_remediator.remedy.look import Look, Sight
from vmha_remediator.remedy.room import Room
from vmha_remediator.rules import judge, metrics, templates
from vmha_remediator.rules.judge import Readings
from vmha_remediator.rules.model import Thresholds

TEMPLATES = templates.load()
WELL: Mapping[str, float] = {
    metrics.HEARTBEAT.name: 1,
    metrics.HEARTBEAT_AGE.name: 0.4,
    metrics.LEASE_AGE.name: 1.2,
    metrics.REACHABLE.name: 1,
    metrics.ISOLATED.name: 0,
    metrics.WITNESSES.name: 3,
    metrics.ROLE.name: 2,
}
DEAD = dict(WELL) | {
    metrics.HEARTBEAT_AGE.name: 20.0,
    metrics.LEASE_AGE.name: 20.0,
    metrics.REACHABLE.name: 0,
}


def sight(host: str, values: Mapping[str, float]) -> Sight:
    """Return what the rules make of these measures."""
    readings = Readings(host, values)
    verdicts = judge.judge(TEMPLATES, readings, Thresholds()) if values else []
    return Sight(readings, tuple(verdicts), judge.standing(verdicts))


def service(host: str, up: bool = True) -> Service:
    return Service(id=f"id-{host}", host=host, up=up, enabled=True, forced_down=False)


def server(name: str, host: str, *tags: str, ram: int = 1024) -> Server:
    return Server(
        id=f"id-{name}", name=name, host=host, status="ACTIVE", vm_state="active",
        tags=frozenset(tags), ram=ram, vcpus=1,
    )  # fmt: skip


def room(memory: int) -> Room:
    free = {"MEMORY_MB": memory, "VCPU": 64, "DISK_GB": 1000}
    return Room(free, free)


@dataclass
class Cloud:
    """Stands for the services; parts of it can be away."""

    measures: dict[str, Mapping[str, float]] = field(
        default_factory=lambda: {"h1": WELL, "h2": DEAD, "h3": {}}
    )
    vms: tuple[Server, ...] = (
        server("db", "h1", "vmha"),
        server("web", "h2", "vmha"),
        server("toy", "h2"),
    )
    rooms: dict[str, Room] = field(
        default_factory=lambda: {h: room(8192) for h in ("h1", "h2", "h3")}
    )
    reading: int = 0  # so often the room is still being read
    away: set[str] = field(default_factory=set)

    def look(self) -> Look:
        hosts = sorted(self.measures)
        trouble = []
        if "gnocchi" in self.away:
            trouble.append("the measures cannot be read now: no answer in time")
        if "nova" in self.away:
            trouble.append("Nova's services cannot be listed now: no answer in time")
        return Look(
            None if "gnocchi" in self.away else {h: sight(h, self.measures[h]) for h in hosts},
            None if "nova" in self.away else {h: service(h, h != "h2") for h in hosts},
            tuple(trouble),
            1000.0,
        )

    def space(self, wait: float) -> Space:
        if self.reading:
            self.reading -= 1
            raise StillReading("room on the hosts is still being read; ask again in a few seconds")
        if "placement" in self.away:
            raise CloudUnavailable("GET /resource_providers: no answer in time")
        return Space(dict(self.rooms), {}, self.servers())

    def examined(self, servers: list[Server]) -> list[Server]:
        return [replace(s, shares=s.name == "web") for s in servers]

    def servers(self) -> tuple[Server, ...]:
        if "nova" in self.away:
            raise CloudUnavailable("GET /servers/detail: no answer in time")
        return self.vms

    def alarms(self) -> list[dict[str, Any]]:
        if "aodh" in self.away:
            raise TelemetryUnavailable("Aodh: listing the alarms: no answer in time")
        return [
            {
                "alarm_id": "a1",
                "name": "vmha:failure:h2",
                "state": "alarm",
                "enabled": True,
                "severity": "critical",
                "alarm_actions": ["http://receiver/v1/alarms/failure/h2?sig=secret"],
            }
        ]
