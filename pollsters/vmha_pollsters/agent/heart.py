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
from contextlib import suppress
from dataclasses import dataclass

from vmha_pollsters.agent.hearing import Hearing
from vmha_pollsters.agent.wire import (
    BEATS,
    EVERYBODY,
    MAX_SIZE,
    Kind,
    Packet,
    Rejected,
    cluster_digest,
    is_called,
    pack,
    roll,
    unpack,
)

LOG = logging.getLogger(__name__)

#: Listening that paused longer than this many beats starts anew: what waited in the socket
#: says that a host lived at some time, not that it lives.
PAUSE_BEATS = 3.0
#: Packets taken in one go, so that a flood cannot keep the thread from sending.
MOST_AT_ONCE = 2000
BUFFER = 1 << 20
#: Above so many senders packets are taken in ten times a beat instead of one by one (a heartbeat
#: looks younger by that much at most), and acknowledged by roll calls: every sender is named in
#: one of so many parts, each of which has its turn once in two beats.
CROWD = 32
WAKES = 10
PARTS = 2 * WAKES

Address = tuple[str, int]


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
    asks: bool = False  # its renewal is late, so that it may soon live by acknowledgements
    vouches: bool = False  # its acknowledgements count


class Heart:
    """Sends a beat to every target, acknowledges what it hears, and knows how long ago.

    Ages are as of the last moment in which everything received had been taken in: a thread
    that was not run accuses nobody.
    """

    def __init__(self, station: Station, hearing: Hearing) -> None:
        self._me = station
        self.keys = station.keys  # the one to sign with first; may be replaced at any time
        self._hearing = hearing
        self._cluster = cluster_digest(station.cluster)
        self._lock = threading.Lock()
        self._route: Route | None = None
        self._sock: socket.socket | None = None
        self._sequence = 0
        self._drained = time.monotonic()
        self._paused_until_drained = True
        self._called: list[dict[int, Address]] = [{} for _ in range(PARTS)]
        self._part = 0
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
            self._listen(left)
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

    def census(self) -> tuple[Mapping[str, float | None], Mapping[str, float]]:
        """Return what `heard` says of all hosts, and how far ahead (s) the clocks of those are
        that were just heard."""
        with self._lock:
            return self._hearing.census(self._drained, time.monotonic(), time.time())

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

    def _listen(self, left: float) -> None:
        """Wait for packets, at most until the next beat, and take in all that are there."""
        sock = self._sock
        if sock is None:
            time.sleep(min(left, self._me.interval / 4))
            return
        crowded = self._crowded()
        if crowded:
            time.sleep(min(left, self._me.interval / WAKES))
        else:
            select.select([sock], [], [], min(left, self._me.interval / 4))
        began = time.monotonic()
        with self._lock:
            paused = began - self._drained > PAUSE_BEATS * self._me.interval
            paused = paused or self._paused_until_drained
        try:
            packets = self._received(sock)
        except OSError as exc:
            LOG.warning("heartbeat socket: %s; opening it again", exc)
            self._sock = None
            sock.close()
            return
        if not paused:
            self._take(packets)
        with self._lock:
            if paused:
                self._hearing.begin(began)
                self._paused_until_drained = False
            self._drained = began
        if crowded:
            self._call_roll()

    def _received(self, sock: socket.socket) -> list[tuple[bytes, Address]]:
        """Return what waits in the socket; raises OSError."""
        packets = []
        with suppress(BlockingIOError):
            for _ in range(MOST_AT_ONCE):
                packets.append(sock.recvfrom(MAX_SIZE + 1))
        return packets

    def _take(self, packets: Iterable[tuple[bytes, Address]]) -> None:
        """Count what can be believed, and acknowledge it."""
        answers = []
        with self._lock:
            route, now = self._route, time.monotonic()
            for data, sender in packets:
                try:
                    packet = self._believe(data, route, now)
                except Rejected as exc:
                    self.rejected[str(exc)] += 1
                    LOG.debug("packet from %s refused: %s", sender[0], exc)
                else:
                    if packet.kind in BEATS:
                        answers.append((packet, sender))
        if route is not None and answers:
            self._answer(answers, route.slot)

    def _believe(self, data: bytes, route: Route | None, now: float) -> Packet:
        packet = unpack(data, self._cluster, self.keys)
        called = packet.kind is Kind.ROLL and packet.to == EVERYBODY
        if route is None or (packet.to != route.slot and not called):
            raise Rejected("meant for another host")
        if packet.host == self._me.host:
            raise Rejected("our own name")
        if called and is_called(packet, route.slot):
            packet = packet._replace(kind=Kind.ACK)
        self._hearing.take(packet, now, route.boots)
        self.taken += 1
        return packet

    def _answer(self, beats: Iterable[tuple[Packet, Address]], slot: int) -> None:
        """Acknowledge these heartbeats now, or in a crowd with the next roll call.

        Who may soon live by its acknowledgements gets every one, for only that says to which
        heartbeat it belongs.
        """
        crowded = self._crowded()
        kind = Kind.VOUCH if self._stands().vouches else Kind.ACK
        for packet, sender in beats:
            sender = sender[:2]
            if crowded and packet.kind is Kind.HEARTBEAT:
                self._called[packet.slot % PARTS][packet.slot] = sender
            else:
                self._send(kind, {packet.slot: sender}, slot, echo=packet.sequence)

    def _call_roll(self) -> None:
        """Tell the next part of all senders which of them were heard since their last turn."""
        self._part = (self._part + 1) % PARTS
        heard, self._called[self._part] = self._called[self._part], {}
        with self._lock:
            route = self._route
        if not heard or route is None:
            return
        packet = self._packet(Kind.ROLL, route.slot, EVERYBODY)._replace(roll=roll(heard))
        data = pack(packet, self._cluster, self.keys[0])
        for address in heard.values():
            self._put(data, address)

    def _stands(self) -> Standing:
        """Return this host's standing; one that is old, since nobody updates it, is none."""
        standing = self.standing
        late = time.monotonic() - standing.at > PAUSE_BEATS * self._me.interval
        return Standing() if late else standing

    def _crowded(self) -> bool:
        route = self._route
        return route is not None and len(route.senders) > CROWD

    def _beat(self) -> None:
        with self._lock:
            route = self._route
        if route is not None:
            addresses = {slot: (at, self._me.port) for slot, at in route.targets.items()}
            stands = self._stands()
            kind = Kind.ASKING_HEARTBEAT if stands.asks else Kind.HEARTBEAT
            kind = Kind.BARE_HEARTBEAT if stands.bare else kind
            self._send(kind, addresses, route.slot)

    def _send(self, kind: Kind, to: Mapping[int, Address], slot: int, echo: int = 0) -> None:
        for number, address in to.items():
            packet = self._packet(kind, slot, number, echo)
            self._put(pack(packet, self._cluster, self.keys[0]), address)

    def _packet(self, kind: Kind, slot: int, to: int, echo: int = 0) -> Packet:
        # Milliseconds since boot: grows over restarts of the agent within one boot.
        self._sequence = max(self._sequence + 1, int(time.monotonic() * 1000))
        me = self._me
        return Packet(kind, me.host, slot, to, me.boot_id, self._sequence, time.time(), echo)

    def _put(self, data: bytes, address: Address) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            sock.sendto(data, address)
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno == errno.EBADF:
                raise
            LOG.debug("cannot send to %s: %s", address[0], exc)
