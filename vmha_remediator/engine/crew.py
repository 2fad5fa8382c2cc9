# SPDX-License-Identifier: Apache-2.0
"""The crew: workers that bring one incident on each, so that nobody waits for a slow BMC."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor as Pool
from dataclasses import dataclass, field

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.effects.report import Reporter
from vmha_remediator.engine.executor import Executor
from vmha_remediator.engine.journal import STOOD_STILL
from vmha_remediator.engine.observer import Observer
from vmha_remediator.errors import IncidentChanged, StaleEpoch, VmhaError
from vmha_remediator.remedy import plan as planning
from vmha_remediator.remedy.facts import Facts
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)

#: Plans that one worker makes in a row; a plan that repeats itself must not hold its thread.
ROUNDS = 12
#: Longest pause of an incident whose services do not answer, in seconds.
LONGEST_REST = 10.0


@dataclass
class Rest:
    """How often in a row an incident's work has failed, and until when it rests."""

    failures: int = 0
    until: float = 0.0


@dataclass
class Crew:
    """Workers over one pool; each incident has one of them at most."""

    store: Store
    observer: Observer
    executor: Executor
    reporter: Reporter
    clock: Clock
    policy: Policy
    pool: Pool
    first_rest: float = 0.5  # s, doubled at each failure
    wake: threading.Event | None = None
    deposed: int | None = field(default=None, init=False)  # an epoch found to be over

    def __post_init__(self) -> None:
        self._busy: set[int] = set()
        self._rests: dict[int, Rest] = {}
        self._said: dict[int, str] = {}
        self._ended: set[str] = set()
        self._told: set[int] = set()  # changes told, which the store does not know yet
        self._lock = threading.Lock()
        self._reporting = threading.Lock()

    def shutdown(self) -> None:
        """Let work under way end; what waits is dropped, the facts will bring it back."""
        self.pool.shutdown(wait=True, cancel_futures=True)

    def take_ended(self) -> set[str]:
        """Return hosts whose incident has just ended: another verdict may stand there."""
        with self._lock:
            ended, self._ended = self._ended, set()
        return ended

    def said(self, incident: Incident) -> str:
        """Return the latest sentence about an incident."""
        with self._lock:
            found = self._said.get(incident.id)
        return found or incident.said or f"{incident.host}: {incident.rule} {incident.state}"

    def depose(self, epoch: int) -> None:
        """Note that an epoch was found to be over."""
        self.deposed = epoch

    def report(self, epoch: int) -> None:
        """Tell of every change; it is claimed first, so nobody else tells it, too.

        What a dead engine had claimed is told again, and says so: better twice than never.
        """
        with self._reporting:
            for change in self.store.unreported():
                if change.id not in self._told:
                    if not self.store.mark_reported(change.id, epoch=epoch):
                        continue
                    self.reporter.report(change)
                    self._told.add(change.id)
                self.store.mark_told(change.id)
                self._told.discard(change.id)

    def forget(self, incidents: list[Incident]) -> None:
        """Keep notes of active incidents only."""
        active = {incident.id for incident in incidents}
        with self._lock:
            self._rests = {k: v for k, v in self._rests.items() if k in active}
            self._said = {k: v for k, v in self._said.items() if k in active}

    def hand_out(self, incident: Incident, epoch: int) -> None:
        """Give the incident to a worker unless one has it, or it rests."""
        with self._lock:
            rest = self._rests.get(incident.id)
            resting = rest is not None and self.clock.monotonic() < rest.until
            if incident.id in self._busy or resting:
                return
            self._busy.add(incident.id)
        try:
            self.pool.submit(self._work, incident.id, epoch)
        except RuntimeError:  # shutting down
            self._done(incident.id)

    def submit(self, work: Callable[[list[Incident]], None], incidents: list[Incident]) -> None:
        """Give something else to a worker: it may take as long as a slow service."""
        try:
            self.pool.submit(work, incidents)
        except RuntimeError:  # shutting down
            return

    def _done(self, incident_id: int) -> None:
        with self._lock:
            self._busy.discard(incident_id)

    def _work(self, incident_id: int, epoch: int) -> None:
        """Look, plan and act on one incident until nothing is left to do now."""
        try:
            self._rounds(incident_id, epoch)
            with self._lock:
                self._rests.pop(incident_id, None)
        except IncidentChanged as exc:
            LOG.debug("incident %s: %s", incident_id, exc)
        except StaleEpoch as exc:
            LOG.warning("incident %s: %s", incident_id, exc)
            self.depose(epoch)
        except VmhaError as exc:
            self._rest(incident_id, epoch, f"waiting: {exc}")
        except Exception as exc:  # the worker's rim: others must go on
            LOG.exception("incident %s: its work failed", incident_id)
            self._rest(incident_id, epoch, f"its work failed: {type(exc).__name__}; see the log")
        finally:
            self._done(incident_id)

    def _rounds(self, incident_id: int, epoch: int) -> None:
        incident = self.store.incident(incident_id)
        for _ in range(ROUNDS):
            if not incident.active:
                break
            facts, looked = self._look(incident)
            plan = planning.next_steps(incident, facts, self.clock.now(), self.policy)
            self._tell(incident, plan.sentence, epoch)
            if not plan.steps:
                break
            self.executor.run(incident, plan, epoch, looked)
            self.report(epoch)
            incident = self.store.incident(incident_id)
        if not incident.active:
            self._look_again(incident.host)

    def _look(self, incident: Incident) -> tuple[Facts, float]:
        """Return the facts, and when they were read (monotonic s).

        Where that took so long that the first of them are old by now, they are read once more: the
        engine stood still. A service that is slow every time stops nothing.
        """
        began = self.clock.monotonic()
        facts = self.observer.facts(incident)
        if self.clock.monotonic() - began > STOOD_STILL:
            facts = self.observer.facts(incident)
        return facts, self.clock.monotonic()

    def _look_again(self, host: str) -> None:
        """Another verdict may stand where one has just ended."""
        with self._lock:
            self._ended.add(host)
        if self.wake is not None:
            self.wake.set()

    def _tell(self, incident: Incident, sentence: str, epoch: int) -> None:
        with self._lock:
            self._said[incident.id] = sentence
        if sentence != incident.said:
            self.store.note(incident.id, sentence, epoch=epoch)
            LOG.info("incident %s: %s", incident.id, sentence)

    def _rest(self, incident_id: int, epoch: int, sentence: str) -> None:
        """Back off, and say why."""
        with self._lock:
            rest = self._rests.setdefault(incident_id, Rest())
            rest.failures += 1
            pause = min(self.first_rest * 2 ** (rest.failures - 1), LONGEST_REST)
            rest.until = self.clock.monotonic() + pause
            news = self._said.get(incident_id) != sentence
            self._said[incident_id] = sentence
        if not news:
            return
        LOG.warning("incident %s: %s", incident_id, sentence)
        try:
            self.store.note(incident_id, sentence, epoch=epoch)
        except VmhaError as exc:
            LOG.debug("incident %s: its sentence could not be stored: %s", incident_id, exc)
