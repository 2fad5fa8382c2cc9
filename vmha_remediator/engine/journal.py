# SPDX-License-Identifier: Apache-2.0
"""An incident's journal: what is about to be done is written down, and then how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.errors import CloudUnavailable, OtherCell, VmhaError
from vmha_remediator.remedy.incident import Incident, VmRecord
from vmha_remediator.remedy.steps import Step
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)

#: An engine that needs longer (s) from the look to a step, or from a step's line in the journal
#: to the deed, has stood still: the host may live again, another engine may lead. A step waits for
#: its turn, and each request takes 10 s.
STOOD_STILL = 30.0


@dataclass
class Ending:
    """How a step ended, for its line; one that raises nothing has done what it was about to do."""

    sentence: str
    ok: bool = True
    record: VmRecord | None = None  # the VM that it was about, where that has changed with it


@dataclass
class Journal:
    """Writes a line before each deed, and how that ended after it."""

    store: Store
    clock: Clock

    @contextmanager
    def around(self, incident: Incident, step: Step, doing: str, epoch: int) -> Iterator[Ending]:
        """Write a step down before it is done, and how it ended after.

        The first line is written with the leader's epoch: a deposed leader is stopped before it
        acts.
        """
        began = self.clock.monotonic()
        number = self.store.begin_step(incident, step.name, doing, epoch=epoch)
        with self.after(incident, number, doing, began, epoch) as ending:
            yield ending

    @contextmanager
    def after(
        self, incident: Incident, number: int, doing: str, began: float, epoch: int
    ) -> Iterator[Ending]:
        """Write down how a step ended that has its line already; `began` is from before that."""
        ending = Ending(doing)
        try:
            self.check_pause(began)
            yield ending
        except VmhaError as exc:
            other_cell = exc.host if isinstance(exc, OtherCell) else None
            self.store.finish_step(number, False, f"{doing}: {exc}", other_cell=other_cell)
            raise
        self.store.finish_step(number, ending.ok, ending.sentence, ending.record, epoch=epoch)
        LOG.info("incident %s: %s", incident.id, ending.sentence)

    def check_pause(self, began: float) -> None:
        """Refuse to act on what was read and written down before a pause; the next plan looks."""
        pause = self.clock.monotonic() - began
        if pause > STOOD_STILL:
            raise CloudUnavailable(f"not done, this engine stood still for {pause:.0f} s")
