# SPDX-License-Identifier: Apache-2.0
"""Looking out: who is to be looked at, and what stands there.

Doorbells and Aodh's alarms are hints; the measures are read and judged here. All hosts are looked
at now and then, for silence rings no bell, and so are the services around.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.crew import Crew
from vmha_remediator.engine.evaluator import Evaluator
from vmha_remediator.engine.health import Health
from vmha_remediator.engine.judged import Judged
from vmha_remediator.engine.observer import Observer
from vmha_remediator.engine.opening import Opening
from vmha_remediator.engine.ports import Alarms, Telemetry
from vmha_remediator.engine.watch import Timing, Watch
from vmha_remediator.errors import TelemetryUnavailable
from vmha_remediator.remedy import services
from vmha_remediator.remedy.cluster import EVERYBODY
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.vm_failure import is_subject
from vmha_remediator.rules.judge import Verdict
from vmha_remediator.rules.vm_rule import RULE as VM_RULE
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)

#: Seconds between two lists of the hosts that publish.
HOSTS_EVERY = 30.0


@dataclass
class Lookout:
    """Opens incidents where a verdict stands."""

    store: Store
    observer: Observer
    telemetry: Telemetry
    alarms: Alarms
    clock: Clock
    crew: Crew
    policy: Policy
    interval: float = 2.0  # s between two looks while nothing happens
    timing: Timing = field(default_factory=Timing)
    #: VMs of which an alarm stands or has rung.
    ringing: set[str] = field(default_factory=set, init=False)
    #: Hosts in maintenance.
    left_alone: frozenset[str] = field(default=frozenset(), init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.observer, self.clock, self.timing)
        self.health = Health(self.clock, self.timing.unreachable_after)
        self.opening = Opening(self.store, self.clock, self.watch, self.policy)
        self.evaluator = Evaluator(self.alarms, self.clock, self.timing.evaluator_after)
        self._suspects: set[str] = set()
        self._known: list[str] = []
        self._unread = False
        self._computes: list[Verdict] = []
        self._looking = False
        self._next_list = self._next_hosts = 0.0

    def look(self, epoch: int) -> str:
        """Open incidents where a verdict stands; return what could not be looked at."""
        suspects, self._suspects = self._suspects | self.crew.take_ended(), set()
        bells = self.store.take_doorbells()
        suspects |= {bell.host for bell in bells if bell.rule != VM_RULE}
        self.ringing = {bell.host for bell in bells if bell.rule == VM_RULE}
        suspects = {s for s in suspects if not s.startswith(EVERYBODY) and not is_subject(s)}
        alarming, trouble = self._alarming()
        suspects |= alarming
        self.left_alone = frozenset(self.store.maintenance())
        suspects |= self.opening.watched(epoch, self.left_alone)
        suspects -= self.left_alone
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

    def tell_services(self, epoch: int) -> None:
        """Open an incident of each service that has not answered or reported for long."""
        self.observer.around.update(self.health.verdicts)
        if self.evaluator.verdict is not None:
            self.observer.around[services.EVALUATOR] = self.evaluator.verdict
        computes, self._computes = self._computes, []
        for verdict in (*self.health.standing(), *self.evaluator.standing(), *computes):
            left_alone = verdict.host in self.left_alone
            if not left_alone and self.store.active(verdict.host) is None:
                self.opening.open(verdict, epoch)

    def _look_at_computes(self, _incidents: list[Incident]) -> None:
        """Look at Nova's services aside, for Nova may be slow; the next cycle tells of them."""
        try:
            self._computes = self.watch.computes(self.observer.limits(self.timing.share, ""))
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
        known = [host for host in self._known if host not in self.left_alone]
        judged = self.observer.judge(known)
        self.evaluator.compare(j.standing for j in judged.values())
        situation, silent = self.watch.take(judged, told)
        if known:  # else nothing was asked for
            self._say_read()
        if not urgent and not self._looking:
            self._looking = True
            self.crew.submit(self._look_at_computes, [])
        if situation is not None and EVERYBODY not in taken:
            self.opening.open(situation, epoch)
        for verdict in silent:
            if verdict.host not in taken:
                self.opening.open(verdict, epoch)

    def _say_unread(self, why: str) -> None:
        """Say once that nothing can be read: that is no silence of the hosts."""
        self.watch.blind()
        self.evaluator.blind()
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
                self.ringing |= {server for rule, server in alarming if rule == VM_RULE}
                self.health.works(services.AODH)
                self.evaluator.look(alarming)
            except TelemetryUnavailable as exc:
                trouble = str(exc)
                self.health.fails(services.AODH, trouble)
                self.evaluator.blind()
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
        if self.opening.consider(host, found, host in self._known, epoch):
            self._suspects.add(host)
