# SPDX-License-Identifier: Apache-2.0
"""Who is at the helm: the lock that an engine holds, and the epoch that the database gave it."""

from __future__ import annotations

from dataclasses import dataclass, field

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.leader import Rival
from vmha_remediator.engine.ports import Leading
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)


@dataclass
class Helm:
    """This engine's leadership."""

    store: Store
    leader: Leading
    clock: Clock
    name: str
    epoch: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._number: int | None = None
        self._rivalry = ""
        self._rival = Rival(self.name)

    def take(self) -> int | None:
        """Return the epoch in which this engine leads; None: another one does."""
        self._rivalry = ""
        number = self.leader.hold()
        if number is None:
            if self.epoch is not None:
                self.step_down()
            return None
        if self.epoch is None or number != self._number:
            self._rivalry = self._look_for_rivals()
            if self._rivalry:
                return None
            self.epoch = self.store.claim_epoch(self.name)
            self._number = number
            LOG.info("Engine %s leads with epoch %s", self.name, self.epoch)
        return self.epoch

    def step_down(self) -> None:
        """Give the lock back, too: whoever has deposed this engine leads."""
        self.epoch = None
        self.leader.stop()

    @property
    def trouble(self) -> str:
        """Return what is wrong with the lock; empty: nothing."""
        return str(getattr(self.leader, "trouble", ""))

    @property
    def standing_by(self) -> str:
        """Return why this engine does not lead."""
        return self._rivalry or self.trouble or "another engine leads"

    def _look_for_rivals(self) -> str:
        """Return who leads though this engine holds its lock, and the way out; empty: nobody."""
        if getattr(self.leader, "shared", True):
            return ""
        found = self.store.leader()
        if found is None or not self._rival.alive(found, self.clock.monotonic()):
            return ""
        return (
            f"{found.owner} leads on another machine, where this engine's lock file does not "
            f"reach; set [engine] coordination_url to a service that all engines share"
        )
