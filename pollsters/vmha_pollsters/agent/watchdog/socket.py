# SPDX-License-Identifier: Apache-2.0
"""A watchdog behind a unix socket: for tests, the lab, and machines with a daemon of their own.

One line a request: "arm SECONDS" answered by "armed SECONDS", "feed" by "fed", "disarm" by
"disarmed". A connection that ends without "disarm" leaves it running.
"""

from __future__ import annotations

import socket
from typing import Any, ClassVar

from vmha_remediator.errors import WatchdogError

TIMEOUT = 1.0


class SocketWatchdog:
    """The client of such a daemon; connects anew whenever it has to."""

    name: ClassVar[str] = "socket"

    def __init__(self, settings: Any) -> None:
        self._path: str = settings.watchdog_device
        self._wanted = float(settings.watchdog_timeout)
        self._link: socket.socket | None = None

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
        self._close()

    def _ask(self, request: str, expected: str) -> str:
        try:
            link = self._link or self._connect()
            link.sendall(request.encode() + b"\n")
            words = link.recv(128).decode(errors="replace").split(None, 1)
        except OSError as exc:
            self._close()
            raise WatchdogError(f"watchdog {self._path} does not answer: {exc}") from exc
        if not words or words[0] != expected:
            self._close()
            raise WatchdogError(f"watchdog {self._path} answers {' '.join(words)!r} to {request}")
        return words[1].strip() if len(words) > 1 else ""

    def _connect(self) -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(TIMEOUT)
        try:
            link.connect(self._path)
        except OSError:
            link.close()
            raise
        self._link = link
        return link

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
