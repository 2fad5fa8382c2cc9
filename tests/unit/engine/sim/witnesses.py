# SPDX-License-Identifier: Apache-2.0
"""What is said of the hosts: by measures and alarms, and by what switches them off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from vmha_remediator.errors import TelemetryUnavailable
from vmha_remediator.fencing.contract import FenceResult, Heard, Power, Proof
from vmha_remediator.rules import judge, metrics, templates
from vmha_remediator.rules.judge import Readings, State
from vmha_remediator.rules.templates import Thresholds

if TYPE_CHECKING:
    from tests.unit.engine.sim.world import World

RULES = templates.load()


class SimTelemetry:
    """Measures and alarms, both from what is true; witnesses are any two other hosts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.silent: set[str] = set()
        self.down = False
        self.aodh_down = False
        self.evaluation: float | None = None  # the latest one; None: now
        self.otherwise: str | None = "ok"  # the state of an alarm that does not stand
        self.mute = False  # no alarm stands, whatever the measures say

    def hosts(self) -> list[str]:
        self._check()
        return sorted(self._world.hosts)

    def readings(self, host: str) -> Readings:
        return self.readings_of([host])[host]

    def readings_of(self, hosts: Iterable[str]) -> dict[str, Readings]:
        self._check()
        return {host: Readings(host, self._values(host)) for host in hosts}

    def alarming(self) -> list[tuple[str, str]]:
        if self.aodh_down:
            raise TelemetryUnavailable("Aodh cannot be reached")
        found: list[tuple[str, str]] = []
        for host in self._world.hosts if not self.mute else ():
            readings = Readings(host, self._values(host))
            for verdict in judge.judge(RULES, readings, Thresholds()):
                if verdict.state is State.ALARM:
                    found.append((verdict.rule, host))
        return found

    def evaluated(self) -> dict[str, str]:
        return {"first": str(self.evaluation or self._world.clock.time)}

    def state(self, rule: str, host: str) -> str | None:
        return "alarm" if (rule, host) in self.alarming() else self.otherwise

    def _check(self) -> None:
        if self.down:
            raise TelemetryUnavailable("Gnocchi cannot be reached")

    def _values(self, name: str) -> dict[str, float]:
        if name in self.silent or name not in self._world.hosts:
            return {}
        host, now = self._world.hosts[name], self._world.clock.time
        return {
            metrics.STORAGE.name: float(host.storage),
            metrics.HEARTBEAT_AGE.name: now - host.beat,
            metrics.LEASE_AGE.name: now - host.lease,
            metrics.REACHABLE.name: float(host.powered and host.network),
            metrics.ISOLATED.name: float(host.isolated),
            metrics.WITNESSES.name: 2.0,
        }


class SimFencing:
    """A BMC a host. `outcome`: "works", "dead" (no answer) or "lies" (says off, does nothing)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.outcome = "works"
        self.confirmed: Callable[[str], str | None] = nobody

    def fence(self, host: str, heard: Heard) -> FenceResult:
        self._world.point("before fence")
        word = self.confirmed(host)
        if self.outcome == "works":
            self._world.power_off(host)
            self._world.note("fence", host)
        self._world.point("after fence")
        if self.outcome == "dead" and word is None:
            return FenceResult("sim", None, "the BMC does not answer")
        return FenceResult("sim", Proof.POWER_OFF, word or "power reads off")

    def power(self, host: str) -> Power:
        if self.outcome == "dead":
            return Power.UNKNOWN
        if self.outcome == "lies":
            return Power.OFF
        return Power.ON if self._world.hosts[host].powered else Power.OFF


def nobody(_host: str) -> str | None:
    """Nobody has confirmed anything."""
    return None
