# SPDX-License-Identifier: Apache-2.0
"""Heartbeats: one thread that sends, listens and acknowledges on the management network."""

from __future__ import annotations

import errno
import logging
import select
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vmha_pollsters.agent.hearing import Hearing
from vmha_pollsters.agent.wire import (
    BEATS,
    MAX_SIZE,
    Kind,
    Packet,
    Rejected,
    cluster_digest,
    pack,
    unpack,
)

LOG = logging.getLogger(__name__)

#: Listening that paused longer than this many beats starts anew: what waited in the socket
#: says that a host lived at some time, not that it lives.
PAUSE_BEATS = 3.0
#: Packets taken in one go, so that a flood cannot keep the thread from sending.
MOST_AT_ONCE = 2000
BUFFER = 1 << 20
#: Above so many senders every other heartbeat is acknowledged, and packets are waited for so
#: long (s) that they come in batches.
CROWD = 200
BATCH = 0.02


@dataclass(frozen=True)
class Station:
    """Who this host is on the management network."""

    host: str
    address: str
    port: int
    boot_id: uuid.UUID
    cluster: str
    keys: Sequence[bytes]
    interval: float = 1.0


@dataclass(frozen=True)
class Route:
    """Where the heartbeats go, and what storage says about who may send them."""

    slot: int
    targets: Mapping[int, str]  # slot -> address
    senders: frozenset[str]  # hosts that should be heard
    boots: Mapping[str, uuid.UUID]


@dataclass(frozen=True)
class Standing:
    """What this host's packets say about itself, as of `at` (monotonic seconds)."""

    at: float = float("-inf")
    bare: bool = False  # its own lease is not renewed any more
    vouches: bool = False  # its acknowledgements count


class Heart:
    """Sends a beat to every target, acknowledges what it hears, and knows how long ago.

    Ages are as of the last moment in which everything received had been taken in: a thread
    that was not run accuses nobody.
    """

    def __init__(self, station: Station, hearing: Hearing) -> None:
        self._me = station
        self._hearing = hearing
        self._cluster = cluster_digest(station.cluster)
        self._lock = threading.Lock()
        self._route: Route | None = None
        self._sock: socket.socket | None = None
        self._sequence = 0
        self._drained = time.monotonic()
        self._paused_until_drained = True
        self._acknowledged: dict[str, float] = {}
        self.taken = 0
        self.standing = Standing()
        self.rejected: Counter[str] = Counter()
        self.problem: str | None = "not started"

    def steer(self, route: Route | None) -> None:
        """Send to and expect other hosts from now on; None: no slot, so say nothing."""
        with self._lock:
            self._route = route
            if route is not None:
                self._hearing.expect(route.senders, self._drained)

    def run(self, stop: threading.Event) -> None:
        """Beat until `stop`; opens the socket again whenever it has to."""
        due = time.monotonic()
        while not stop.is_set():
            if self._sock is None:
                self._open()
            # Waking up more often than it beats keeps the ages, which grow only when
            # everything received was taken in, close to the present.
            left = max(0.0, due - time.monotonic())
            self._listen(min(left, self._me.interval / 4))
            now = time.monotonic()
            if now >= due:
                self._beat()
                due = max(due + self._me.interval, now)
        if self._sock is not None:
            self._sock.close()

    def heard(self, host: str) -> float | None:
        """Return the seconds since `host` was heard; None: unknown."""
        with self._lock:
            return self._hearing.age(host, self._drained)

    def last_heard(self) -> float | None:
        """Return the seconds since anybody was heard; None: nobody."""
        with self._lock:
            return self._hearing.last_heard(self._drained)

    def acked(self, host: str) -> float | None:
        """Return the seconds since `host` said that it hears us; None: unknown."""
        with self._lock:
            return self._hearing.acked(host, self._drained)

    def vouched(self) -> float | None:
        """Return when (monotonic) the newest heartbeat left that somebody vouched for."""
        with self._lock:
            return self._hearing.vouched

    def bare(self) -> int:
        """Return how many hosts are heard that say that their lease is not renewed."""
        with self._lock:
            return self._hearing.bare(self._drained)

    def listening_for(self) -> float:
        """Return the seconds since listening began or began anew."""
        with self._lock:
            if self._sock is None or self._paused_until_drained:
                return 0.0
            late = time.monotonic() - self._drained > PAUSE_BEATS * self._me.interval
            return 0.0 if late else self._hearing.listening_for(self._drained)

    def clock_offset(self, host: str) -> float | None:
        """Return how far ahead the clock of `host` is, in seconds; None unless just heard."""
        with self._lock:
            return self._hearing.clock_offset(host, time.monotonic(), time.time())

    def _open(self) -> None:
        family = socket.AF_INET6 if ":" in self._me.address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            sock.setblocking(False)
            sock.bind((self._me.address, self._me.port))
        except OSError as exc:
            sock.close()
            problem = f"cannot listen on {self._me.address} port {self._me.port}: {exc.strerror}"
            if problem != self.problem:
                LOG.error("%s; trying again", problem)
            self.problem = problem
            return
        LOG.info("listening on %s port %s", self._me.address, self._me.port)
        with self._lock:
            self._sock, self.problem = sock, None
            self._paused_until_drained = True

    def _listen(self, seconds: float) -> None:
        """Wait for packets at most that long and take in all that are there."""
        sock = self._sock
        if sock is None:
            time.sleep(min(seconds, self._me.interval))
            return
        if self._crowded():
            pause = min(seconds, BATCH)
            time.sleep(pause)
            seconds -= pause
        select.select([sock], [], [], seconds)
        began = time.monotonic()
        with self._lock:
            paused = began - self._drained > PAUSE_BEATS * self._me.interval
            paused = paused or self._paused_until_drained
        for _ in range(MOST_AT_ONCE):
            try:
                data, sender = sock.recvfrom(MAX_SIZE + 1)
            except BlockingIOError:
                break
            except OSError as exc:
                LOG.warning("heartbeat socket: %s; opening it again", exc)
                self._sock = None
                sock.close()
                return
            if not paused:
                self._take(data, sender[:2])
        with self._lock:
            if paused:
                self._hearing.begin(began)
                self._paused_until_drained = False
            self._drained = began

    def _take(self, data: bytes, sender: tuple[str, int]) -> None:
        try:
            packet = unpack(data, self._cluster, self._me.keys)
            with self._lock:
                route = self._route
                if route is None or packet.to != route.slot:
                    raise Rejected("meant for another host")
                if packet.host == self._me.host:
                    raise Rejected("our own name")
                self._hearing.take(packet, time.monotonic(), route.boots)
                self.taken += 1
        except Rejected as exc:
            self.rejected[str(exc)] += 1
            LOG.debug("packet from %s refused: %s", sender[0], exc)
            return
        if packet.kind in BEATS and self._ack_is_due(packet):
            kind = Kind.VOUCH if self._stands().vouches else Kind.ACK
            self._send(kind, {packet.slot: sender}, route.slot, echo=packet.sequence)

    def _stands(self) -> Standing:
        """Return this host's standing; one that is old, since nobody updates it, is none."""
        standing = self.standing
        late = time.monotonic() - standing.at > PAUSE_BEATS * self._me.interval
        return Standing() if late else standing

    def _crowded(self) -> bool:
        route = self._route
        return route is not None and len(route.senders) > CROWD

    def _ack_is_due(self, packet: Packet) -> bool:
        """Tell whether to acknowledge a heartbeat now, and remember it if so.

        A host without a lease lives by its acknowledgements and gets every one.
        """
        if packet.kind is Kind.BARE_HEARTBEAT or not self._crowded():
            return True
        now = time.monotonic()
        before = self._acknowledged.get(packet.host, float("-inf"))
        if now - before < 1.5 * self._me.interval:
            return False
        self._acknowledged[packet.host] = now
        return True

    def _beat(self) -> None:
        with self._lock:
            route = self._route
        if route is not None:
            addresses = {slot: (at, self._me.port) for slot, at in route.targets.items()}
            kind = Kind.BARE_HEARTBEAT if self._stands().bare else Kind.HEARTBEAT
            self._send(kind, addresses, route.slot)

    def _send(
        self, kind: Kind, to: Mapping[int, tuple[str, int]], slot: int, echo: int = 0
    ) -> None:
        sock = self._sock
        if sock is None:
            return
        for packet, target in self._packets(kind, to, slot, echo):
            try:
                sock.sendto(pack(packet, self._cluster, self._me.keys[0]), target)
            except BlockingIOError:
                continue
            except OSError as exc:
                if exc.errno == errno.EBADF:
                    raise
                LOG.debug("cannot send to %s: %s", target[0], exc)

    def _packets(
        self, kind: Kind, to: Mapping[int, tuple[str, int]], slot: int, echo: int
    ) -> Iterable[tuple[Packet, tuple[str, int]]]:
        me = self._me
        wall = time.time()
        for number, target in to.items():
            # Milliseconds since boot: grows over restarts of the agent within one boot.
            sequence = self._sequence = max(self._sequence + 1, int(time.monotonic() * 1000))
            yield Packet(kind, me.host, slot, number, me.boot_id, sequence, wall, echo), target
