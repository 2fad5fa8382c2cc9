# SPDX-License-Identifier: Apache-2.0
"""The thread that claims this host's slot and renews it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from vmha_pollsters.agent.storage.events import Events
from vmha_pollsters.agent.storage.keeper import ClaimLost, Content, Keeper, Stopped
from vmha_pollsters.lease.contract import Table
from vmha_pollsters.lease.layout import NO_FLAGS, Flag, Roster
from vmha_remediator.errors import LeaseError

LOG = logging.getLogger(__name__)

#: Two renewals are at least this far apart, however often something changes.
KICK_GAP = 0.4


@dataclass(frozen=True)
class Written:
    """What the writing thread last achieved."""

    slot: int | None = None
    at: float | None = None  # monotonic time at which the last good renewal began
    problem: str | None = "no slot claimed yet"
    flags: Flag = NO_FLAGS  # what the last good renewal said


class Writer:
    """Claims the slot and renews it; `content` is asked for what to say at every renewal.

    `looked` returns what the reading thread saw last, which spares this one a look of its own.
    """

    def __init__(
        self,
        keeper: Keeper,
        content: Callable[[], tuple[Content, Roster | None]],
        interval: float,
        kick: threading.Event,
        looked: Callable[[], Table | None] = lambda: None,
    ) -> None:
        self._keeper = keeper
        self._looked = looked
        self._content = content
        self._interval = interval
        self._kick = kick
        self.written = Written()
        self.events = Events()

    def run(self, stop: threading.Event) -> None:
        """Renew until `stop`, then once more, so that the last word is written."""
        while not stop.is_set():
            try:
                if self._keeper.slot is None:
                    slot = self._keeper.claim()
                    LOG.info("claimed slot %s, generation %s", slot.index, slot.generation)
                    self.events.add(f"claimed slot {slot.index}, generation {slot.generation}")
                self._renew()
            except Stopped:
                return
            except (OSError, LeaseError) as exc:
                self._note(exc)
                stop.wait(self._interval)
                continue
            self._rest(stop)
        self._last_word()

    def _renew(self) -> None:
        began = time.monotonic()
        content, roster = self._content()
        slot = self._keeper.renew(content, self._looked())
        if roster is not None:
            self._keeper.write_roster(roster)
        self.written = Written(slot.index, began, None, slot.flags)

    def _note(self, exc: Exception) -> None:
        problem = f"cannot renew the lease: {exc}"
        self.events.add(problem)
        if problem != self.written.problem:
            LOG.error("%s; trying again", problem)
        slot = None if isinstance(exc, ClaimLost) else self.written.slot
        self.written = Written(slot, self.written.at, problem, self.written.flags)

    def _rest(self, stop: threading.Event) -> None:
        stop.wait(KICK_GAP)
        self._kick.wait(max(0.0, self._interval - KICK_GAP))
        self._kick.clear()

    def _last_word(self) -> None:
        if self._keeper.slot is None:
            return
        try:
            self._keeper.renew(self._content()[0])
        except (OSError, LeaseError) as exc:
            LOG.warning("could not write that this host leaves: %s", exc)
