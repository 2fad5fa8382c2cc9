# SPDX-License-Identifier: Apache-2.0
"""Fencing by waiting: a host with an armed watchdog that is silent for long enough was reset."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from vmha_remediator.errors import FencingError, RuleError, TelemetryUnavailable, VmhaError
from vmha_remediator.fencing import settings as kinds
from vmha_remediator.fencing.contract import FenceResult, Power, Proof
from vmha_remediator.fencing.contract import Finding as Checked
from vmha_remediator.fencing.settings import Setting, SettingError
from vmha_remediator.rules import starved, timing
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.rules.starved import Conclusion, Finding, Step

#: (host, seconds) -> what was published of it in the last so many seconds.
Evidence = Callable[[str, float], Sequence[Step]]

#: Seconds between two looks at the readings; they change every two seconds.
LOOK = 2.0
#: Seconds of readings wanted besides the wait itself: what shows how the silence began.
BEFORE = 60.0


class WatchdogDriver:
    """Waits until the readings prove that the host's own watchdog has reset it.

    It switches nothing. The readings are looked at afresh each time and nothing is remembered,
    so an engine that starts anew goes on with the same wait.
    """

    name: ClassVar[str] = "watchdog"
    proves: ClassVar[str] = "reset by its own watchdog, by silence"
    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("wait", kinds.seconds, help="seconds to wait; shorter than the sum is refused"),
        Setting(
            "margin",
            kinds.seconds,
            default=timing.MARGIN,
            help="seconds for whole-second watchdogs, the reset itself and late writes",
        ),
        Setting("patience", kinds.seconds, default=240.0, help="seconds to wait at most"),
    )

    def __init__(self, host: str, settings: dict[str, Any]) -> None:
        self._host = host
        self._wait: float | None = settings["wait"]
        self._margin: float = settings["margin"]
        self.patience: float = settings["patience"]
        self._evidence: Evidence | None = settings.get("evidence")
        self._clock: Callable[[], float] = settings.get("clock", time.time)
        self._sleep: Callable[[float], None] = settings.get("sleep", time.sleep)
        try:
            timing.reset_terms(0.0, self._margin)
        except RuleError as exc:
            raise SettingError("margin", str(exc)) from exc

    @property
    def target(self) -> str | None:
        """Return None: it switches nothing off."""
        return None

    def fence(self) -> FenceResult:
        """Wait for the proof, at most `patience` seconds, or until there can be none."""
        until = self._clock() + self.patience
        while True:
            found = self._conclude()
            if found.finding is Finding.RESET:
                return FenceResult(self.name, Proof.POWER_OFF, found.sentence)
            left = until - self._clock()
            if found.finding is Finding.NEVER or left <= 0:
                return FenceResult(self.name, None, found.sentence)
            self._sleep(max(0.1, min(LOOK, left)))

    def power(self) -> Power:
        """Return UNKNOWN: nobody has looked at the machine."""
        return Power.UNKNOWN

    def check(self) -> list[Checked]:
        """Tell whether a watchdog is armed, and how long the proof would take."""
        try:
            steps = self._look()
            promised = steps[-1].armed if steps else 0.0
            if not promised:
                return [Checked(False, f"no watchdog of {self._host} is published as armed")]
            terms = timing.reset_terms(promised, self._margin)
            needed = timing.waiting(terms, self._wait)
        except VmhaError as exc:
            raise FencingError(str(exc)) from exc
        return [
            Checked(True, f"its watchdog is armed; promise {promised:.1f} s"),
            Checked(
                needed + BEFORE < self.patience,
                f"proven after {needed:.1f} s of silence ({timing.shown(terms)}) and up to two "
                f"steps of Gnocchi's archive; patience {self.patience:g} s",
            ),
        ]

    def _conclude(self) -> Conclusion:
        try:
            steps = self._look()
        except TelemetryUnavailable as exc:
            return Conclusion(Finding.NOT_YET, f"no readings of {self._host} now: {exc}", LOOK)
        try:
            return starved.conclude(
                self._host,
                steps,
                self._clock(),
                Thresholds(),
                margin=self._margin,
                wait=self._wait,
            )
        except RuleError as exc:
            raise FencingError(f"the watchdog of {self._host}: {exc}") from exc

    def _look(self) -> Sequence[Step]:
        if self._evidence is None:
            raise FencingError("this command reads no measures")
        return self._evidence(self._host, self.patience + BEFORE)
