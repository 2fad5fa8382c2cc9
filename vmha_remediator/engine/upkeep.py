# SPDX-License-Identifier: Apache-2.0
"""What the engine looks after while nothing fails: reserve hosts go back to rest."""

from __future__ import annotations

from dataclasses import dataclass, field

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.observer import Observer
from vmha_remediator.engine.ports import Cloud
from vmha_remediator.errors import VmhaError
from vmha_remediator.remedy import candidates, reserves
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.policy import Policy

LOG = log.getLogger(__name__)

#: Seconds between two looks at the reserves.
EVERY = 15.0


@dataclass
class Upkeep:
    """Gives reserves back once no failure needs them and nobody runs there."""

    observer: Observer
    cloud: Cloud
    clock: Clock
    policy: Policy
    _next: float = field(default=0.0, init=False)
    _told: frozenset[str] = field(default=frozenset(), init=False)
    _busy: bool = field(default=False, init=False)

    def begin(self) -> bool:
        """Tell whether it is time to `run`; then nobody else is told so until it has ended."""
        wanted = self.policy.candidates == candidates.RESERVED
        due = wanted and self.clock.monotonic() >= self._next and not self._busy
        self._busy = self._busy or due
        return due

    def run(self, incidents: list[Incident]) -> None:
        """Look after the reserves once; what fails is done again next time."""
        try:
            self._rest_reserves(incidents)
        except VmhaError as exc:
            LOG.warning("the reserve hosts are not looked after now: %s", exc)
        finally:
            self._next = self.clock.monotonic() + EVERY
            self._busy = False

    def _rest_reserves(self, incidents: list[Incident]) -> None:
        occupied = set()
        for service in reserves.idle(self.observer.services(), incidents, self.policy):
            if self.cloud.servers(service.host):
                occupied.add(service.host)
                continue
            self.cloud.disable(service.id, reserves.REASON)
            self.observer.forget_services()
            LOG.warning("%s is empty and rests: it is kept for the next failure", service.host)
        for host in sorted(occupied - self._told):
            LOG.warning("%s is kept for failures; it rests once no VM runs there", host)
        self._told = frozenset(occupied)
