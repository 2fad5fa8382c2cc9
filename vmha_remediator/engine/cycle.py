# SPDX-License-Identifier: Apache-2.0
"""The loop: lead, look out, and hand out work.

A cycle opens incidents where a verdict stands (`lookout`) and hands each active one to a worker. A
worker looks, plans and acts until nothing is left to do now; a slow BMC or a large evacuation
therefore holds nobody else up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.crew import Crew
from vmha_remediator.engine.helm import Helm
from vmha_remediator.engine.lookout import Lookout
from vmha_remediator.engine.ports import Leading
from vmha_remediator.engine.upkeep import Upkeep
from vmha_remediator.engine.vm_watch import VmWatch
from vmha_remediator.errors import ServiceUnavailable, StaleEpoch, StoreUnavailable
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)

#: States in which seconds count.
HOT = frozenset({S.DETECTED, S.CONFIRMED, S.FENCING, S.FENCED, S.EVACUATING})
#: The cycle's sentence is stored when it is new, and that often anyway: it shows life.
SAY_EVERY = 5.0


@dataclass
class Engine:
    """One engine: leads or stands by."""

    store: Store
    leader: Leading
    clock: Clock
    crew: Crew
    lookout: Lookout
    name: str = "engine"
    active_interval: float = 0.5  # s between two cycles while seconds count
    upkeep: Upkeep | None = None
    vms: VmWatch | None = None  # None: single VMs are not looked after
    closing: Callable[[], None] = field(default=lambda: None)

    def __post_init__(self) -> None:
        self.helm = Helm(self.store, self.leader, self.clock, self.name)
        self._next_say = 0.0
        self._hot = False
        self._sentence = self._stored = ""

    @property
    def pause(self) -> float:
        """The seconds until the next cycle, unless a doorbell rings."""
        return self.active_interval if self._hot else self.lookout.interval

    @property
    def epoch(self) -> int | None:
        """The epoch in which this engine leads; None: it stands by."""
        return self.helm.epoch

    # -- running ------------------------------------------------------------------------

    def run(self, stop: threading.Event, doorbell: threading.Event) -> None:
        """Cycle until `stop`; `doorbell` wakes it at once."""
        self.crew.wake = doorbell
        LOG.info("Engine %s starts", self.name)
        try:
            while not stop.is_set():
                self._guarded_cycle()
                self._sleep(stop, doorbell)
        finally:
            self.crew.shutdown()
            self.helm.leader.stop()
            self.closing()
            LOG.info("Engine %s has stopped", self.name)

    def _guarded_cycle(self) -> None:
        before = self._sentence
        try:
            self._sentence = self.cycle()
        except StaleEpoch as exc:
            self.helm.step_down()
            self._sentence = f"stepped down: {exc}"
        except ServiceUnavailable as exc:
            self._sentence = f"waiting: {exc}"
        except Exception as exc:  # the loop's rim: it must go on, and says so
            LOG.exception("A cycle failed")
            self._sentence = f"a cycle failed: {type(exc).__name__}; see the log"
        if self._sentence != before:
            LOG.info("%s", self._sentence)
        else:
            LOG.debug("%s", self._sentence)

    def _sleep(self, stop: threading.Event, doorbell: threading.Event) -> None:
        """Wait for the next cycle, for a doorbell here or for one in the database."""
        deadline = self.clock.monotonic() + self.pause
        while not stop.is_set():
            left = deadline - self.clock.monotonic()
            if left <= 0:
                return
            if doorbell.wait(min(left, self.active_interval)):
                doorbell.clear()
                return
            if self.epoch is not None and self._rung():
                return

    def _rung(self) -> bool:
        try:
            return self.store.has_doorbells()
        except StoreUnavailable:
            return False  # the cycle says it

    # -- one cycle ----------------------------------------------------------------------

    def cycle(self) -> str:
        """Look once and hand out work; return one sentence that says what is going on."""
        if self.epoch is not None and self.crew.deposed == self.epoch:
            self.helm.step_down()
        epoch = self.helm.take()
        if epoch is None:
            return f"standing by: {self.helm.standing_by}"
        self.crew.report(epoch)
        trouble = self.lookout.look(epoch)
        self.lookout.tell_services(epoch)
        if self.vms is not None:
            self.vms.take(self.lookout.ringing, epoch)
        incidents = self.store.incidents(active_only=True)
        self._hot = any(i.state in HOT for i in incidents)
        self.crew.forget(incidents)
        for incident in incidents:
            self.crew.hand_out(incident, epoch)
        if self.upkeep is not None and self.upkeep.begin():
            self.crew.submit(self.upkeep.run, incidents)
        sentence = self._summary(incidents, trouble)
        self._say(epoch, sentence)
        return sentence

    def _summary(self, incidents: list[Incident], trouble: str) -> str:
        said = [self.crew.said(i) for i in incidents]
        said += self.vms.said() if self.vms is not None else []
        parts = ["; ".join(sorted(said)) or "all quiet: no verdict stands"]
        if left_alone := self.lookout.left_alone:
            parts.append(f"in maintenance: {', '.join(sorted(left_alone))}")
        if trouble:
            parts.append(f"waiting for telemetry: {trouble}")
        if alone := self.helm.trouble:
            parts.append(f"leading on, though nobody could take over: {alone}")
        return "; ".join(parts)

    def _say(self, epoch: int, sentence: str) -> None:
        now = self.clock.monotonic()
        if sentence != self._stored or now >= self._next_say:
            self.store.say(epoch, sentence)
            self._stored, self._next_say = sentence, now + SAY_EVERY
