# SPDX-License-Identifier: Apache-2.0
"""Whether aodh-evaluator evaluates, of which a live Aodh API says nothing; only hints are kept.

Two signs tell. Aodh writes down when it last evaluated an alarm (not where evaluators share their
work through a coordination service): that moves, or it has stopped. And what the measures have
said of a host for long, its alarm says, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.ports import Alarms
from vmha_remediator.remedy import services
from vmha_remediator.remedy.cluster import SILENT
from vmha_remediator.rules.judge import State, Verdict

#: (rule, host).
Alarm = tuple[str, str]
#: Seconds between two looks at when Aodh evaluated.
EVERY = 10.0


@dataclass
class Evaluator:
    """What has been seen of Aodh's work by its results."""

    alarms: Alarms
    clock: Clock
    after: float = 90.0  # s without a sign of life until it is told; 0: never
    verdict: Verdict | None = field(default=None, init=False)  # None: not known

    def __post_init__(self) -> None:
        self._next = 0.0
        self._stamps: dict[str, str] = {}
        self._moved: float | None = None  # when an evaluation was last seen; None: never
        self._alarming: frozenset[Alarm] | None = None
        self._against: dict[Alarm, float] = {}  # standing, without its alarm: since when

    def look(self, alarming: Iterable[Alarm]) -> None:
        """Look whether alarms are evaluated; raises `TelemetryUnavailable`.

        `alarming` are the alarms that stand.
        """
        now, before = self.clock.monotonic(), self._alarming
        self._alarming = frozenset(alarming)
        changed = before is not None and before != self._alarming
        if not self.after or (now < self._next and not changed):
            return
        self._next = now + EVERY
        stamps = self.alarms.evaluated()
        if any(self._stamps.get(alarm, stamp) != stamp for alarm, stamp in stamps.items()):
            self._moved = now
        elif not stamps:
            self._moved = None  # there is nothing to evaluate
        self._stamps = stamps
        self.verdict = self._judge(now, changed) or self.verdict

    def compare(self, standing: Iterable[Verdict | None]) -> None:
        """Take in what the measures say of each host now."""
        if self._alarming is None:
            return
        now = self.clock.monotonic()
        found = {(v.rule, v.host) for v in standing if v is not None and v.rule != SILENT}
        missing = found - self._alarming
        self._against = {alarm: self._against.get(alarm, now) for alarm in missing}

    def blind(self) -> None:
        """Wait anew: while Aodh or the measures cannot be read, nothing is seen of it."""
        self._alarming = None
        self._against.clear()
        if self._moved is not None:
            self._moved = self.clock.monotonic()

    def standing(self) -> list[Verdict]:
        """Return what is to be told."""
        found = self.verdict
        return [found] if found is not None and found.state is State.ALARM else []

    def _judge(self, now: float, changed: bool) -> Verdict | None:
        """Return what is known of it now; None: nothing new."""
        if self._moved is not None and now - self._moved >= self.after:
            return services.evaluates_nothing(now - self._moved)
        for (rule, host), since in sorted(self._against.items()):
            if now - since < self.after:
                continue
            state = self.alarms.state(rule, host)
            if state is not None and state != State.ALARM.value:
                return services.evaluates_wrongly(rule, host, state, now - since)
        if self._moved is not None or changed:
            return services.evaluates()
        return None
