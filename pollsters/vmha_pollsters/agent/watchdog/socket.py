# SPDX-License-Identifier: Apache-2.0
"""A watchdog behind a unix socket: for tests, the lab, and machines with a daemon of their own.

One line a request: "arm SECONDS" answered by "armed SECONDS", "feed" by "fed", "disarm" by
"disarmed". A connection that ends without "disarm" leaves it running.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vmha_pollsters.line import Line
from vmha_remediator.errors import WatchdogError

TIMEOUT = 1.0


class SocketWatchdog:
    """The client of such a daemon; connects anew whenever it has to."""

    name: ClassVar[str] = "socket"

    def __init__(self, settings: Any) -> None:
        self._path: str = settings.watchdog_device
        self._wanted = float(settings.watchdog_timeout)
        self._line = Line(self._path, TIMEOUT)

    def arm(self) -> float:
        """Start it and return its time-out in seconds."""
        answer = self._ask(f"arm {self._wanted:g}", "armed")
        try:
            return float(answer)
        except ValueError as exc:
            raise WatchdogError(f"watchdog {self._path} answers nonsense: {answer!r}") from exc

    def feed(self) -> None:
        """Feed it."""
        self._ask("feed", "fed")

    def disarm(self) -> None:
        """Stop it."""
        self._ask("disarm", "disarmed")
        self._line.close()

    def _ask(self, request: str, expected: str) -> str:
        try:
            words = self._line.ask(request.encode()).decode(errors="replace").split(None, 1)
        except OSError as exc:
            raise WatchdogError(f"watchdog {self._path} does not answer: {exc}") from exc
        if not words or words[0] != expected:
            self._line.close()
            raise WatchdogError(f"watchdog {self._path} answers {' '.join(words)!r} to {request}")
        return words[1].strip() if len(words) > 1 else ""
