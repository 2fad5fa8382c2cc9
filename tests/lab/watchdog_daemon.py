# SPDX-License-Identifier: Apache-2.0
"""The daemon behind an emulated watchdog: `python -m tests.lab.watchdog_daemon HOST`.

It speaks what driver "socket" of the agent speaks, and acts when it is not fed in time.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path


class Dog:
    """One watchdog; `act` is called once, when it was armed and is not fed for its time-out."""

    def __init__(self, act: Callable[[], None], clock: Callable[[], float] = time.monotonic):
        self._act = act
        self._clock = clock
        self.timeout = 0.0  # s; 0: not armed
        self._fed = 0.0

    def obey(self, request: str) -> str:
        """Do what a line asks and return the line that answers it."""
        words = request.split()
        self.check()
        match words:
            case ["arm", seconds]:
                self.timeout, self._fed = float(seconds), self._clock()
                return f"armed {self.timeout:g}"
            case ["feed"] if self.timeout:
                self._fed = self._clock()
                return "fed"
            case ["disarm"]:
                self.timeout = 0.0
                return "disarmed"
        return f"refused {request}"

    def left(self) -> float | None:
        """Return the seconds until it acts; None: it is not armed."""
        return self._fed + self.timeout - self._clock() if self.timeout else None

    def check(self) -> None:
        """Act if the time is over."""
        left = self.left()
        if left is not None and left <= 0:
            self.timeout = 0.0
            self._act()


def serve(dog: Dog, path: Path) -> None:
    """Serve `dog` on the unix socket `path` for ever."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as waiting:
        server.bind(str(path))
        server.listen()
        waiting.register(server, selectors.EVENT_READ)
        while True:
            left = dog.left()
            for key, _ in waiting.select(None if left is None else max(0.0, left)):
                if key.fileobj is server:
                    waiting.register(server.accept()[0], selectors.EVENT_READ)
                else:
                    _answer(dog, waiting, key.fileobj)  # type: ignore[arg-type]
            dog.check()


def _answer(dog: Dog, waiting: selectors.BaseSelector, link: socket.socket) -> None:
    try:
        request = link.recv(128)
        if request:
            link.sendall(dog.obey(request.decode().strip()).encode() + b"\n")
            return
    except OSError:
        pass  # the other end has died
    waiting.unregister(link)  # a line that ends feeds nothing and stops nothing
    link.close()


def main(host: str) -> None:
    """Be the watchdog of a host of the lab."""
    from tests.lab import hosts, watchdog

    def reset() -> None:
        if hosts.power_state(host) == "on":
            hosts.kill(host, why="watchdog")

    serve(Dog(reset), watchdog.device(host))


if __name__ == "__main__":
    main(sys.argv[1])
