# SPDX-License-Identifier: Apache-2.0
"""Switching off and reading it back: one loop for every driver that can do both.

A request that fails may have worked, and one that is accepted may do nothing, so only what is
read counts. One reading is not enough: BMCs in trouble answer off, then on, then off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from vmha_remediator.errors import FencingError
from vmha_remediator.fencing.contract import Power
from vmha_remediator.fencing.deadline import Deadline

#: Seconds between two readings of the power state. A power-off shows within a second on
#: common BMCs; a reading costs the BMC one small request.
POLL = 0.3
#: Seconds after which it is asked again while the machine does not read off: some BMCs accept
#: a request during their own start-up and forget it.
RESEND = 5.0
#: Readings of off in a row that are needed. The second costs `POLL` seconds.
STEADY = 2


class Hopeless(FencingError):
    """What no repetition heals (credentials, a wrong machine, an unknown node)."""


@dataclass(frozen=True)
class Outcome:
    """How the machine came to read off."""

    asked: int
    seconds: float

    def told(self, request: str) -> str:
        """Return a clause that ends "...: power "; `request` is what was asked for."""
        if not self.asked:
            return f"was already off, read {STEADY} times"
        return f"read off {STEADY} times, {self.seconds:.1f} s after {self.asked} {request}(s)"


@dataclass
class _Watch:
    """What was read so far, and what went wrong last."""

    asked: int = 0
    in_a_row: int = 0  # readings of off
    relapses: int = 0  # readings of something else after one of off
    read: str = ""
    failed: str = ""  # why a reading failed
    read_since: bool = False  # whether another one worked since
    asking: str = ""  # why the latest request failed

    def look(self, read: Callable[[], Power], deadline: Deadline) -> None:
        """Read once; raises `Hopeless`."""
        began = deadline.left
        try:
            power = read()
        except Hopeless:
            raise
        except FencingError as exc:
            self.in_a_row = 0
            if began > POLL or not self.said:  # one begun at the end says only that it is one
                self.failed, self.read_since = str(exc), False
            return
        self.read_since = True
        if power is Power.OFF:
            self.in_a_row += 1
            self.read = "it reads off"
            return
        self.relapses += self.in_a_row > 0
        self.in_a_row = 0
        self.read = f"it still reads {power.value}"

    def request(self, ask: Callable[[], object], deadline: Deadline) -> bool:
        """Ask once and tell whether that was accepted; raises `Hopeless`."""
        began = deadline.left
        try:
            if ask() is False:
                return False
            self.asked += 1
        except Hopeless:
            raise
        except FencingError as exc:
            self.asked += 1  # it may have arrived
            if began > POLL or not self.said:
                self.asking = str(exc)
            return False
        self.asking = ""
        return True

    @property
    def said(self) -> str:
        read = self.read
        if self.relapses:
            read = f"its readings contradict each other (off, then not off, {self.relapses} times)"
        asking = f"the request fails: {self.asking}" if self.asking else ""
        latest = "" if self.read_since else self.failed
        earlier = f"; before that: {self.failed}" if self.read_since and self.failed else ""
        return ", then ".join(part for part in (read, asking, latest) if part) + earlier


def until_off(
    where: str,
    request: str,
    *,
    ask: Callable[[], object],
    read: Callable[[], Power],
    deadline: Deadline,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Ask for the power to go until it reads off steadily, and return how that went.

    `ask` returns False where a request is still under way and none was sent. `ask` and `read`
    raise `FencingError`; a `Hopeless` one ends it. `where` begins the
    sentence and `request` names what is asked for. Raises `FencingError` at the deadline.
    """
    ask_at, watch = 0.0, _Watch()
    while True:
        watch.look(read, deadline)
        if watch.in_a_row >= STEADY:
            return Outcome(watch.asked, deadline.elapsed)
        if not watch.in_a_row and deadline.elapsed >= ask_at and deadline.left > 0:
            ask_at = deadline.elapsed + RESEND
            if watch.request(ask, deadline):
                continue  # a quick machine is off by now
        if deadline.left <= POLL:
            raise FencingError(
                f"{where}: {watch.said}; given up after {watch.asked} {request}(s) and "
                f"{deadline.elapsed:.1f} s"
            )
        sleep(POLL)
