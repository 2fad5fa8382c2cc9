# SPDX-License-Identifier: Apache-2.0
"""The management network: packets, pings, and every way in which they get lost."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Protocol

from tests.scenarios.sim.clockwork import Clockwork

DELAY = 0.001  # s from one machine to another
QUEUE = 2000  # packets that wait in a socket


class Station(Protocol):
    """A machine on the network."""

    name: str
    address: str

    def answers(self) -> bool:
        """Tell whether its kernel works."""


@dataclass
class Network:
    """Who can send to whom. A direction is a pair of names."""

    clockwork: Clockwork
    random: random.Random
    stations: dict[str, Station] = field(default_factory=dict)  # address -> machine
    named: dict[str, Station] = field(default_factory=dict)
    blocked: set[tuple[str, str]] = field(default_factory=set)
    loss: dict[tuple[str, str], float] = field(default_factory=dict)
    sockets: dict[tuple[str, int], Socket] = field(default_factory=dict)

    def join(self, station: Station) -> None:
        self.stations[station.address] = self.named[station.name] = station

    def names(self) -> list[str]:
        return [station.name for station in self.stations.values()]

    def block(self, froms: Iterable[str], tos: Iterable[str]) -> None:
        tos = list(tos)
        self.blocked |= {(a, b) for a in froms for b in tos if a != b}

    def heal(self, name: str | None = None) -> None:
        """Take back what was done to one machine's links, or to all."""
        self.blocked = {pair for pair in self.blocked if name is not None and name not in pair}
        self.loss = {p: s for p, s in self.loss.items() if name is not None and name not in p}

    def passes(self, sender: Station, target: Station) -> bool:
        """Tell whether one packet sent now arrives."""
        pair = (sender.name, target.name)
        if not sender.answers() or not target.answers() or pair in self.blocked:
            return False
        share = self.loss.get(pair, 0.0)
        return not share or self.random.random() >= share

    def open(self, a: str, b: str) -> bool:
        """Tell whether two machines, by name, can talk in both directions."""
        one, two = self.named[a], self.named[b]
        up = one.answers() and two.answers()
        return up and (a, b) not in self.blocked and (b, a) not in self.blocked

    def ping(self, sender: Station, address: str) -> bool:
        """Tell whether an echo comes back."""
        target = self.stations.get(address)
        return target is not None and self.passes(sender, target) and self.passes(target, sender)

    def send(self, sender: Station, data: bytes, to: tuple[str, int], port: int) -> None:
        target = self.stations.get(to[0])
        if target is None or not self.passes(sender, target):
            return
        source = (sender.address, port)
        self.clockwork.after(DELAY, lambda: self._deliver(data, source, to))

    def _deliver(self, data: bytes, source: tuple[str, int], to: tuple[str, int]) -> None:
        sock = self.sockets.get(to)
        if sock is not None and self.stations[to[0]].answers():
            sock.put(data, source)


class Socket:
    """Stands for a UDP socket of the machine that opens it."""

    def __init__(self, network: Network, machine: Station) -> None:
        self._network, self._machine = network, machine
        self._queue: deque[tuple[bytes, tuple[str, int]]] = deque()
        self._bound: tuple[str, int] | None = None
        self._waiter: Callable[[], None] | None = None

    def setsockopt(self, *_: object) -> None: ...

    def setblocking(self, _: bool) -> None: ...

    def bind(self, address: tuple[str, int]) -> None:
        self._bound = address
        self._network.sockets[address] = self

    def close(self) -> None:
        if self._bound is not None and self._network.sockets.get(self._bound) is self:
            del self._network.sockets[self._bound]

    def put(self, data: bytes, source: tuple[str, int]) -> None:
        if len(self._queue) < QUEUE:
            self._queue.append((data, source))
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter()

    def recvfrom(self, _: int) -> tuple[bytes, tuple[str, int]]:
        if not self._queue:
            raise BlockingIOError
        return self._queue.popleft()

    def sendto(self, data: bytes, to: tuple[str, int]) -> None:
        assert self._bound is not None
        self._network.send(self._machine, data, to, self._bound[1])

    def wait(self, seconds: float) -> None:
        """Stand for select on this socket."""
        if self._queue:
            return
        self._waiter = self._network.clockwork.waker()
        self._network.clockwork.park(seconds)
        self._waiter = None


def modules(network: Network, here: Callable[[], Any]) -> tuple[SimpleNamespace, SimpleNamespace]:
    """Return what stands for the modules socket and select; `here` tells the caller's machine."""

    def make(*_: object) -> Socket:
        task = network.clockwork.running()
        sock = Socket(network, here())
        task.process.on_exit.append(sock.close)
        return sock

    def wait(sockets: list[Socket], _w: object, _x: object, seconds: float) -> None:
        sockets[0].wait(seconds)

    names = ("AF_INET", "AF_INET6", "SOCK_DGRAM", "SOL_SOCKET", "SO_RCVBUF")
    constants = dict.fromkeys(names, 0)
    return SimpleNamespace(socket=make, **constants), SimpleNamespace(select=wait)
