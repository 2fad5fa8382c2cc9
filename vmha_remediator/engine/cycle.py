# SPDX-License-Identifier: Apache-2.0
"""The loop: who is to be looked at, what stands there, and who works on it.

A cycle takes doorbells and Aodh's alarms as hints, reads the measures itself, opens incidents
and hands each active one to a worker. A worker looks, plans and acts until nothing is left to
do now; a slow BMC or a large evacuation therefore holds nobody else up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.crew import Crew
from vmha_remediator.engine.health import Health
from vmha_remediator.engine.judged import Judged
from vmha_remediator.engine.leader import Rival
from vmha_remediator.engine.observer import Observer
from vmha_remediator.engine.ports import Alarms, Leading, Telemetry
from vmha_remediator.engine.upkeep import Upkeep
from vmha_remediator.engine.vm_watch import VmWatch
from vmha_remediator.engine.watch import Timing, Watch, flapping
from vmha_remediator.errors import (
    ServiceUnavailable,
    StaleEpoch,
    StoreUnavailable,
    TelemetryUnavailable,
)
from vmha_remediator.remedy import services
from vmha_remediator.remedy.cluster import EVERYBODY, SILENT
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.vm_failure import is_subject
from vmha_remediator.rules.judge import Verdict
from vmha_remediator.rules.vm_rule import RULE as VM_RULE
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)

#: States in which seconds count.
HOT = frozenset({S.DETECTED, S.CONFIRMED, S.FENCING, S.FENCED, S.EVACUATING})
#: Seconds between two lists of the hosts that publish.
HOSTS_EVERY = 30.0
#: The cycle's sentence is stored when it is new, and that often anyway: it shows life.
SAY_EVERY = 5.0


@dataclass
class Engine:
    """One engine: leads or stands by."""

    store: Store
    observer: Observer
    telemetry: Telemetry
    alarms: Alarms
    leader: Leading
    clock: Clock
    crew: Crew
    name: str = "engine"
    interval: float = 2.0
    active_interval: float = 0.5
    report_after: float = 6.0
    upkeep: Upkeep | None = None
    watching: Timing = field(default_factory=Timing)
    vms: VmWatch | None = None  # None: single VMs are not looked after
    closing: Callable[[], None] = field(default=lambda: None)
    epoch: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._leadership: int | None = None
        self._suspects: set[str] = set()
        self._silent: set[str] = set()
        self._known: list[str] = []
        self._left_alone: frozenset[str] = frozenset()
        self._unread = False
        self.watch = Watch(self.observer, self.clock, self.watching)
        self.health = Health(self.clock, self.watching.unreachable_after)
        self._young: dict[str, tuple[str, float]] = {}
        self._computes: list[Verdict] = []
        self._looking = False
        self._next_list = self._next_hosts = self._next_say = 0.0
        self._ringing: set[str] = set()  # VMs
        self._hot = False
        self._sentence = ""
        self._trouble = self._rivalry = ""
        self._rival = Rival(self.name)

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
            self.leader.stop()
            self.closing()
            LOG.info("Engine %s has stopped", self.name)

    def _guarded_cycle(self) -> None:
        before = self._sentence
        try:
            self._sentence = self.cycle()
        except StaleEpoch as exc:
            self._step_down()
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
        deadline = self.clock.monotonic() + (self.active_interval if self._hot else self.interval)
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
        if not self._lead():
            trouble = self._rivalry or getattr(self.leader, "trouble", "")
            return f"standing by: {trouble or 'another engine leads'}"
        epoch = self.epoch
        assert epoch is not None
        self.crew.report(epoch)
        trouble = self._look(epoch)
        self._tell_services(epoch)
        if self.vms is not None:
            self.vms.take(self._ringing, epoch)
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

    def _lead(self) -> bool:
        if self.epoch is not None and self.crew.deposed == self.epoch:
            self._step_down()
        self._rivalry = ""
        number = self.leader.hold()
        if number is None:
            if self.epoch is not None:
                self._step_down()
            return False
        if self.epoch is None or number != self._leadership:
            self._rivalry = self._look_for_rivals()
            if self._rivalry:
                return False
            self.epoch = self.store.claim_epoch(self.name)
            self._leadership = number
            LOG.info("Engine %s leads with epoch %s", self.name, self.epoch)
        return True

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

    def _step_down(self) -> None:
        """Give the lock back, too: whoever has deposed this engine leads."""
        self.epoch = None
        self.leader.stop()

    def _look(self, epoch: int) -> str:
        """Open incidents where a verdict stands; return what could not be looked at."""
        suspects, self._suspects = self._suspects | self.crew.take_ended(), set()
        bells = self.store.take_doorbells()
        suspects |= {bell.host for bell in bells if bell.rule != VM_RULE}
        self._ringing = {bell.host for bell in bells if bell.rule == VM_RULE}
        suspects = {s for s in suspects if not s.startswith(EVERYBODY) and not is_subject(s)}
        alarming, trouble = self._alarming()
        suspects |= alarming
        self._left_alone = frozenset(self.store.maintenance())
        suspects -= self._left_alone
        if not suspects and not self.watch.is_due(False, self.interval):
            return trouble
        taken = {i.host: i.rule for i in self.store.incidents(active_only=True)}
        try:
            judged = self.observer.judge(sorted(suspects - taken.keys()))
            for host, found in judged.items():
                if found.standing is not None and found.standing.action == "recover":
                    self._open(host, found, epoch)  # before anything that takes time
            self._scan(bool(suspects - taken.keys()), taken, epoch)
        except TelemetryUnavailable as exc:
            self._suspects |= suspects
            self._say_unread(str(exc))
            return str(exc)
        for host, found in judged.items():
            if found.standing is None or found.standing.action != "recover":
                self._open(host, found, epoch)
        return trouble

    def _tell_services(self, epoch: int) -> None:
        """Open an incident of each service that has not answered or reported for long."""
        self.observer.around.update(self.health.verdicts)
        computes, self._computes = self._computes, []
        for verdict in (*self.health.standing(), *computes):
            left_alone = verdict.host in self._left_alone
            if not left_alone and self.store.active(verdict.host) is None:
                self._open_now(verdict, epoch)

    def _look_at_computes(self, _incidents: list[Incident]) -> None:
        """Look at Nova's services aside, for Nova may be slow; the next cycle tells of them."""
        try:
            self._computes = self.watch.computes(self.observer.limits(self.watching.share, ""))
        except Exception:  # the worker's rim: the next scan looks again
            LOG.exception("Looking at the nova-computes failed")
        finally:
            self._looking = False

    def _scan(self, urgent: bool, taken: Mapping[str, str], epoch: int) -> None:
        """Look at all hosts, when it is time: for silence, and for what is wrong with most.

        `taken` names the rule of each active incident, by its host.
        """
        if not self.watch.is_due(urgent, self.interval):
            return
        told = taken.get(EVERYBODY, "")
        known = [host for host in self._known if host not in self._left_alone]
        situation, silent = self.watch.take(self.observer.judge(known), told)
        if known:  # else nothing was asked for
            self._say_read()
        if not urgent and not self._looking:
            self._looking = True
            self.crew.submit(self._look_at_computes, [])
        if situation is not None and EVERYBODY not in taken:
            self._open_now(situation, epoch)
        for verdict in silent:
            if verdict.host not in taken:
                self._open_now(verdict, epoch)

    def _say_unread(self, why: str) -> None:
        """Say once that nothing can be read: that is no silence of the hosts."""
        self.watch.blind()
        self.health.fails(services.GNOCCHI, why)
        if not self._unread:
            self._unread = True
            LOG.warning("nobody is protected now, the measures cannot be read: %s", why)

    def _say_read(self) -> None:
        self.health.works(services.GNOCCHI)
        if self._unread:
            self._unread = False
            LOG.warning("the measures can be read again")

    def _alarming(self) -> tuple[set[str], str]:
        """List Aodh's alarms, not oftener than every interval: lost webhooks don't matter.

        Returns the hosts, and what could not be asked.
        """
        hosts: set[str] = set()
        trouble = ""
        now = self.clock.monotonic()
        if now >= self._next_list:
            self._next_list = now + self.interval
            try:
                alarming = self.alarms.alarming()
                hosts = {host for rule, host in alarming if rule != VM_RULE}
                self._ringing |= {server for rule, server in alarming if rule == VM_RULE}
                self.health.works(services.AODH)
            except TelemetryUnavailable as exc:
                trouble = str(exc)
                self.health.fails(services.AODH, trouble)
        try:
            self._count_agents()
        except TelemetryUnavailable as exc:
            trouble = str(exc)
            self.health.fails(services.GNOCCHI, trouble)
        return hosts, trouble

    def _count_agents(self) -> None:
        now = self.clock.monotonic()
        if now < self._next_hosts:
            return
        self._known = self.telemetry.hosts()
        self.observer.agents = len(self._known)
        self._next_hosts = now + HOSTS_EVERY

    def _open(self, host: str, found: Judged, epoch: int) -> None:
        standing = found.standing
        if standing is None or standing.rule == SILENT:
            self._young.pop(host, None)
            if standing is not None and host not in self._known:
                self._note_silence(host)
            return
        self._silent.discard(host)
        if self.watch.explains(standing.rule):
            self._suspects.add(host)  # one report for all of them, not one each
            return
        new = standing.action != "recover" and host not in self._young
        if new and self._flaps(standing, epoch):
            return
        if self._is_young(standing):
            self._suspects.add(host)  # looked at again in the next cycle
            return
        self._open_now(standing, epoch)

    def _open_now(self, standing: Verdict, epoch: int) -> None:
        self._young.pop(standing.host, None)
        incident = self.store.open_incident(
            standing.host,
            standing.rule,
            standing.action,
            standing.severity,
            standing.evidence,
            epoch=epoch,
        )
        LOG.info("incident %s opened: %s", incident.id, standing.evidence)

    def _flaps(self, standing: Verdict, epoch: int) -> bool:
        """Count that a host has got into a situation; tell whether it is told as flapping."""
        timing = self.watching
        if not timing.flap_after:
            return False
        onsets = self.store.count_onset(standing.host, timing.flap_window, epoch=epoch)
        if len(onsets) < timing.flap_after:
            return False
        self._open_now(flapping(standing, onsets), epoch)
        return True

    def _is_young(self, standing: Verdict) -> bool:
        """Tell whether a verdict that is only reported may still turn into another one.

        A host that loses power looks partitioned from the moment its heartbeat is missed until
        its lease is old, too. Only a hint is kept here: after a restart the wait begins anew.
        """
        if standing.action == "recover":
            self._young.pop(standing.host, None)
            return False
        now = self.clock.monotonic()
        rule, since = self._young.get(standing.host, ("", now))
        if rule != standing.rule:
            since = now
        self._young[standing.host] = (standing.rule, since)
        return now - since < self.report_after

    def _note_silence(self, host: str) -> None:
        """Say once that a name which nobody knows has no measures; a host's silence is told."""
        if host not in self._silent:
            self._silent.add(host)
            LOG.warning(
                "%s: telemetry is silent, so there is no verdict and nothing is done", host
            )

    def _summary(self, incidents: list[Incident], trouble: str) -> str:
        said = [self.crew.said(i) for i in incidents]
        said += self.vms.said() if self.vms is not None else []
        parts = ["; ".join(sorted(said)) or "all quiet: no verdict stands"]
        if self._left_alone:
            parts.append(f"in maintenance: {', '.join(sorted(self._left_alone))}")
        if trouble:
            parts.append(f"waiting for telemetry: {trouble}")
        if alone := getattr(self.leader, "trouble", ""):
            parts.append(f"leading on, though nobody could take over: {alone}")
        return "; ".join(parts)

    def _say(self, epoch: int, sentence: str) -> None:
        now = self.clock.monotonic()
        if sentence != self._trouble or now >= self._next_say:
            self.store.say(epoch, sentence)
            self._trouble, self._next_say = sentence, now + SAY_EVERY
