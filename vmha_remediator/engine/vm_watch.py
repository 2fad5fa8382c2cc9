# SPDX-License-Identifier: Apache-2.0
"""Watching single VMs: an alarm rings, everything is read again, a dead one runs again in place.

Each look is a job of its own, so that a nova-compute that does not answer holds nobody up. Only
hints are kept in memory; what has been done is counted in the store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as Pool
from dataclasses import dataclass, field, replace
from typing import Protocol

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.observer import Observer
from vmha_remediator.errors import (
    CloudRefused,
    ServiceUnavailable,
    StaleEpoch,
    TelemetryUnavailable,
    VmhaError,
)
from vmha_remediator.remedy import vm_failure
from vmha_remediator.remedy.cluster import CLUSTER, EVERYBODY, witnessed
from vmha_remediator.remedy.facts import Facts, Server, Stop
from vmha_remediator.remedy.incident import Incident, VmStatus
from vmha_remediator.remedy.vm_failure import Act, Decision, Limits, VmFacts
from vmha_remediator.rules import vm_rule
from vmha_remediator.rules.judge import SAID, State, Verdict, may_hold
from vmha_remediator.rules.model import Template
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)

#: Looks under way at a time; the workers are shared with the incidents of hosts.
AT_A_TIME = 4
#: Seconds before a VM that is no matter of ours is looked at again, however often it rings.
LEAVE_FOR = 30.0
#: Longest pause between two looks at a VM that waits, in seconds.
LONGEST_WAIT = 15.0
#: A VM that has not rung for so long (s) is not looked at by ourselves any more.
FORGET_AFTER = 600.0
#: Seconds for which what is known of a VM that was given up is good enough.
FACTS_FOR = 10.0


class VmCloud(Protocol):
    """What is asked of Nova about one VM; raises `CloudUnavailable` and `CloudRefused`."""

    def server(self, server_id: str) -> Server | None: ...

    def last_stop(self, server_id: str) -> Stop | None: ...

    def runs(self, server_id: str) -> bool | None: ...

    def reboot(self, server_id: str) -> None: ...


@dataclass
class _Note:
    """When a VM is looked at again, and what was said of it."""

    rung: float
    until: float = 0.0
    again: bool = False  # also when nobody rings
    waits: int = 0
    said: str = ""


@dataclass
class VmWatch:
    """Looks after single VMs on behalf of the leader."""

    store: Store
    cloud: VmCloud
    power: Callable[[str], float | None]  # measured; raises `TelemetryUnavailable`
    observer: Observer
    clock: Clock
    pool: Pool
    template: Template
    limits: Limits = field(default_factory=Limits)
    deposed: Callable[[int], None] = field(default=lambda epoch: None)

    def __post_init__(self) -> None:
        self._notes: dict[str, _Note] = {}
        self._busy: set[str] = set()
        self._off: dict[str, float] = {}
        self._facts: dict[str, tuple[float, Facts]] = {}
        self._lock = threading.Lock()

    # -- who is looked at ---------------------------------------------------------------

    def take(self, rung: Iterable[str], epoch: int) -> None:
        """Take in which VMs' alarms ring; hand out those that are due."""
        now = self.clock.monotonic()
        with self._lock:
            for server_id in sorted(rung):
                self._notes.setdefault(server_id, _Note(now, until=now, again=True)).rung = now
            self._forget(now)
            due = [s for s, n in self._notes.items() if self._is_due(s, n, now)]
            chosen = due[: max(0, AT_A_TIME - len(self._busy))]
            self._busy.update(chosen)
        for server_id in chosen:
            try:
                self.pool.submit(self._work, server_id, epoch)
            except RuntimeError:  # shutting down
                self._done(server_id)

    def said(self) -> list[str]:
        """Return one sentence for each VM that something is waited for."""
        with self._lock:
            return sorted(n.said for n in self._notes.values() if n.again and n.said)

    def _is_due(self, server_id: str, note: _Note, now: float) -> bool:
        if server_id in self._busy or now < note.until:
            return False
        return note.again or note.rung >= note.until

    def _forget(self, now: float) -> None:
        old = [s for s, n in self._notes.items() if now - n.rung > FORGET_AFTER]
        for server_id in old:
            del self._notes[server_id]
            self._off.pop(server_id, None)
        self._facts = {k: v for k, v in self._facts.items() if now - v[0] < FORGET_AFTER}

    def _done(self, server_id: str) -> None:
        with self._lock:
            self._busy.discard(server_id)

    # -- one look -----------------------------------------------------------------------

    def _work(self, server_id: str, epoch: int) -> None:
        try:
            facts, decision = self._look(server_id)
            self._act(server_id, facts, decision, epoch)
        except StaleEpoch as exc:
            LOG.warning("VM %s: %s", server_id, exc)
            self.deposed(epoch)
        except ServiceUnavailable as exc:
            self._note(server_id, Decision(Act.WAIT, f"VM {server_id}: waiting, {exc}"))
        except VmhaError as exc:
            self._note(server_id, Decision(Act.WAIT, f"VM {server_id}: {exc}"))
        except Exception:  # the worker's rim: others must go on
            LOG.exception("VM %s: its look failed", server_id)
            self._note(server_id, Decision(Act.LEAVE, f"VM {server_id}: failed; see the log"))
        finally:
            self._done(server_id)

    def _look(self, server_id: str) -> tuple[VmFacts, Decision]:
        """Read facts stage by stage until something decides; raises what reading raises."""
        facts, found = VmFacts(), None
        for stage, facts in self._stages(server_id):
            found = vm_failure.conclude(stage, facts, self.limits, self.clock.now())
            if found is not None:
                if stage != "hypervisor":
                    self._off.pop(server_id, None)
                return facts, found
        return facts, vm_failure.restart(facts, self.limits)

    def _stages(self, server_id: str) -> Iterator[tuple[str, VmFacts]]:
        now = self.clock.now()
        subject = vm_failure.subject(server_id)
        server = self.cloud.server(server_id)
        facts = VmFacts(
            server=server,
            told=self.store.active(subject) is not None,
            restarts=self.store.restarts(server_id, now - self.limits.window, subject),
        )
        yield "server", facts
        assert server is not None and server.host is not None
        if server.vm_state == "stopped":
            facts = replace(facts, last_stop=self.cloud.last_stop(server_id))
        yield "stopped", facts
        services = self.observer.services()
        facts = replace(
            facts,
            host_trouble=self._host_trouble(server.host, server_id),
            service=next((s for s in services if s.host == server.host), None),
        )
        yield "host", facts
        facts = replace(facts, off=vm_rule.evaluate(self.template, self.power(server_id)))
        yield "measure", facts
        runs = self.cloud.runs(server_id)
        if runs:
            self._off.pop(server_id, None)
            yield "hypervisor", replace(facts, runs=True)
            return
        since = self._off.setdefault(server_id, self.clock.now())
        yield "hypervisor", replace(facts, runs=runs, off_since=since)

    def _host_trouble(self, host: str, server_id: str) -> str:
        """Return why the host is not to be trusted with a restart; empty: it is well."""
        for incident in self.store.incidents(active_only=True):
            whose = CLUSTER if incident.host == EVERYBODY else incident.host
            if incident.host in (host, EVERYBODY):
                return f"{incident.rule} of {whose} is open (incident {incident.id})"
            record = incident.vm(server_id)
            if record is not None and record.status not in (VmStatus.DONE, VmStatus.SKIPPED):
                return f"incident {incident.id} of {whose} takes care of it"
        judged = self.observer.judge([host])[host]
        if judged.standing is not None:
            return f"{judged.standing.rule} of {host} stands"
        if doubt := may_hold(judged.verdicts):
            return f"{doubt.rule} of {host} is not ruled out"
        if not witnessed(judged.readings.values):
            return f"nobody says anything of {host} now"
        return ""

    # -- what comes of it ---------------------------------------------------------------

    def _act(self, server_id: str, facts: VmFacts, decision: Decision, epoch: int) -> None:
        if decision.act is Act.RESTART and facts.server is not None:
            decision = self._restart(facts.server, decision, epoch)
        elif decision.act is Act.GIVE_UP:
            incident = self.store.open_incident(
                vm_failure.subject(server_id),
                vm_failure.RULE,
                "report",
                self.template.severity,
                decision.sentence,
                epoch=epoch,
            )
            LOG.info("incident %s opened: %s", incident.id, incident.evidence)
        self._note(server_id, decision)

    def _restart(self, server: Server, decision: Decision, epoch: int) -> Decision:
        """Count it, then do it: a crash in between has counted one too many, never too few."""
        said = decision.sentence
        number = self.store.begin_restart(
            server.id, server.name, str(server.host), said, epoch=epoch
        )
        self._off.pop(server.id, None)
        try:
            self.cloud.reboot(server.id)
        except CloudRefused as exc:
            said = f"{said}; Nova refused: {exc}"
            self.store.finish_restart(number, False, said)
            return replace(decision, sentence=said)
        self.store.finish_restart(number, True, said)
        return decision

    def _note(self, server_id: str, decision: Decision) -> None:
        now = self.clock.monotonic()
        with self._lock:
            note = self._notes.setdefault(server_id, _Note(now))
            news = decision.sentence != note.said
            note.said = decision.sentence
            note.again = decision.act in (Act.WAIT, Act.RESTART)
            note.waits = note.waits + 1 if decision.act is Act.WAIT and not news else 0
            wait = min(max(self.limits.settle, 1.0) * 2**note.waits, LONGEST_WAIT)
            note.until = now + (wait if note.again else LEAVE_FOR)
        if news:
            level = LOG.warning if decision.act is Act.RESTART else LOG.info
            level("%s", decision.sentence)

    # -- a VM that was given up -----------------------------------------------------------

    def facts(self, incident: Incident) -> Facts:
        """Return what the planner of reports needs to know about a VM that was given up.

        Good for a few seconds. Raises `CloudUnavailable`.
        """
        now = self.clock.monotonic()
        at, known = self._facts.get(incident.host, (now - FACTS_FOR, None))
        if known is None or now - at >= FACTS_FOR:
            known = self._read_facts(incident)
            with self._lock:
                self._facts[incident.host] = (now, known)
        return known

    def _read_facts(self, incident: Incident) -> Facts:
        server_id = vm_failure.server_id(incident.host)
        server = self.cloud.server(server_id)
        stopped = server is not None and server.vm_state == "stopped"
        last_stop = self.cloud.last_stop(server_id) if stopped else None
        why = vm_failure.moot(server, self.limits, last_stop)
        if server is None or why:
            return Facts(incident.host, moot=why)
        try:
            state = vm_rule.evaluate(self.template, self.power(server_id))
        except TelemetryUnavailable as exc:
            LOG.debug("VM %s: no measures now: %s", server_id, exc)
            state = State.UNKNOWN
        if state is State.OK and server.vm_state != "active":
            state = State.UNKNOWN
        verdict = Verdict(
            incident.rule,
            incident.host,
            state,
            incident.action,
            incident.severity,
            f"{incident.rule} {SAID[state]} for VM {server.name}",
        )
        return Facts(incident.host, verdicts=(verdict,))
