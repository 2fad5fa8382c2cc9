# SPDX-License-Identifier: Apache-2.0
"""Heartbeats: one thread that sends, listens and acknowledges on the management network."""

from __future__ import annotations

import errno
import logging
import select
import socket
import struct
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from vmha_pollsters.agent.hearing import REPLAYED, Hearing
from vmha_pollsters.agent.wire import (
    BEATS,
    EVERYBODY,
    MAX_SIZE,
    MOST_SLOTS,
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

T = TypeVar("T")

#: Listening that paused longer than this many beats starts anew: what waited in the socket
#: says that a host lived at some time, not that it lives.
PAUSE_BEATS = 3.0
#: Packets taken in one go, so that a flood cannot keep the thread from sending.
MOST_AT_ONCE = 4000
#: What waits in the socket (bytes, as the kernel counts: 1 to 4 KiB a packet), at most. A host
#: without the right to have so much gets net.core.rmem_max.
BUFFER = 4 << 20
PACKET = 4096
#: Not in the module `socket` (asm-generic/socket.h).
SO_RCVBUFFORCE, SO_MEMINFO = 33, 55
_MEMINFO = struct.Struct("=9I")  # of which the last one counts the packets that were dropped
#: Above so many senders packets are taken in several times a beat instead of one by one (a
#: heartbeat looks younger by that much at most), and acknowledged by roll calls: every sender is
#: named in one of so many parts, each of which has its turn once in two beats.
CROWD = 32
WAKES = 10
PARTS = 2 * WAKES
#: Above so many it is done less often, and whoever asks how old they are waits for it.
BIG_CROWD = 200
FEW_WAKES = 5

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
    homes: Mapping[int, str] = field(default_factory=dict)  # everybody's: there roll calls go


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
        self._part = 0
        self._room = BUFFER
        self._taken_in = threading.Event()
        self.taken = 0
        self.standing = Standing()
        self.rejected: Counter[str] = Counter()
        self.problem: str | None = "not started"

    def steer(self, route: Route | None) -> None:
        """Send to and expect other hosts from now on; None: no slot, so say nothing."""
        with self._lock:
            before, self._route = self._route, route
            if before is None or route is None or before.slot != route.slot:
                self._hearing.forget_voices()
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

    def catch_up(self) -> None:
        """Wait, in a big crowd, until everything received has just been taken in."""
        if self._senders() > BIG_CROWD:
            self._taken_in.clear()
            self._taken_in.wait(2.0 * self._rest())

    def catching_up(self) -> float:
        """Return how long (s) `catch_up` takes on average."""
        return self._rest() / 2 if self._senders() > BIG_CROWD else 0.0

    def dropped(self) -> int:
        """Return how many packets the kernel dropped since the socket was opened: it was full."""
        sock = self._sock
        if sock is None:
            return 0
        try:
            told = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
        except OSError:  # before Linux 4.12
            return 0
        return int(_MEMINFO.unpack(told)[-1])

    def _open(self) -> None:
        family = socket.AF_INET6 if ":" in self._me.address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            make_room(sock, BUFFER)
            sock.setblocking(False)
            sock.bind((self._me.address, self._me.port))
            self._room = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
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
            time.sleep(min(left, self._rest()))
        else:
            select.select([sock], [], [], min(left, self._me.interval / 4))
        began = time.monotonic()
        with self._lock:
            paused = began - self._drained > PAUSE_BEATS * self._me.interval
            paused = paused or self._paused_until_drained
        take = self._take_crowd if crowded else self._take_few
        try:
            take(sock, paused)
        except OSError as exc:
            LOG.warning("heartbeat socket: %s; opening it again", exc)
            self._sock = None
            sock.close()
            return
        with self._lock:
            if paused:
                self._hearing.begin(began)
                self._paused_until_drained = False
            self._drained = began
        self._taken_in.set()
        if crowded:
            self._call_roll()

    def _wakes(self) -> int:
        return FEW_WAKES if self._senders() > BIG_CROWD else WAKES

    def _rest(self) -> float:
        """Return for how long packets of a crowd may wait: less if few fit into the socket."""
        share = self._room / PACKET / max(self._senders(), 1)
        return self._me.interval * min(1 / self._wakes(), share)

    def _take_few(self, sock: socket.socket, paused: bool) -> None:
        """Take in what waits in the socket, unless it is history; raises OSError."""
        packets = _all_of(partial(sock.recvfrom, MAX_SIZE + 1))
        if paused:
            return
        answers: list[tuple[Packet, Address]] = []
        with self._lock:
            route, now = self._route, time.monotonic()
            for data, sender in packets:
                packet = self._believed(data, route, now)
                if packet is not None and packet.kind in BEATS:
                    answers.append((packet, sender[:2]))
        self._answer(answers)

    def _take_crowd(self, sock: socket.socket, paused: bool) -> None:
        """Do the same where a thousand packets a second come: most are as they were a beat ago.

        The heartbeats are acknowledged with the next roll call. Who may soon live by its
        acknowledgements gets one for each, for only that says to which heartbeat it belongs.
        """
        packets = _all_of(partial(sock.recv, MAX_SIZE + 1))
        if paused:
            return
        answers: list[tuple[Packet, Address]] = []
        with self._lock:
            route, now = self._route, time.monotonic()

            def read(data: bytes) -> None:
                packet = self._believed(data, route, now)
                if packet is None or route is None or packet.kind not in BEATS:
                    return
                if packet.kind is Kind.HEARTBEAT:
                    self._hearing.note(packet, data)
                elif packet.slot in route.homes:
                    answers.append((packet, (route.homes[packet.slot], self._me.port)))

            taken, replayed = self._hearing.take_known(packets, self.keys[0], now, read)
            self.taken += taken
            if replayed:
                self.rejected[REPLAYED] += replayed
        self._answer(answers)

    def _believed(self, data: bytes, route: Route | None, now: float) -> Packet | None:
        """Count a packet as heard and return it; None: as refused."""
        try:
            packet = unpack(data, self._cluster, self.keys)
            called = packet.kind is Kind.ROLL and packet.to == EVERYBODY
            if route is None or (packet.to != route.slot and not called):
                raise Rejected("meant for another host")
            if packet.host == self._me.host:
                raise Rejected("our own name")
            if called and is_called(packet, route.slot):
                packet = packet._replace(kind=Kind.ACK)
            self._hearing.take(packet, now, route.boots)
        except Rejected as exc:
            self.rejected[str(exc)] += 1
            LOG.debug("packet refused: %s", exc)
            return None
        self.taken += 1
        return packet

    def _answer(self, beats: Iterable[tuple[Packet, Address]]) -> None:
        """Acknowledge each of these heartbeats."""
        kind = Kind.VOUCH if self._stands().vouches else Kind.ACK
        for packet, sender in beats:
            self._send(kind, {packet.slot: sender}, packet.to, echo=packet.sequence)

    def _call_roll(self) -> None:
        """Tell the next part of all senders which of them were heard since their last turn."""
        heard: list[int] = []
        with self._lock:
            route = self._route
            for _ in range(WAKES // self._wakes()):
                self._part = (self._part + 1) % PARTS
                heard += self._hearing.call(range(self._part, MOST_SLOTS, PARTS))
        if not heard or route is None:
            return
        packet = self._packet(Kind.ROLL, route.slot, EVERYBODY)._replace(roll=roll(heard))
        data, homes, port = pack(packet, self._cluster, self.keys[0]), route.homes, self._me.port
        self._put(data, [(homes[slot], port) for slot in heard if slot in homes])

    def _stands(self) -> Standing:
        """Return this host's standing; one that is old, since nobody updates it, is none."""
        standing = self.standing
        late = time.monotonic() - standing.at > PAUSE_BEATS * self._me.interval
        return Standing() if late else standing

    def _crowded(self) -> bool:
        return self._senders() > CROWD

    def _senders(self) -> int:
        route = self._route
        return 0 if route is None else len(route.senders)

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
            self._put(pack(packet, self._cluster, self.keys[0]), [address])

    def _packet(self, kind: Kind, slot: int, to: int, echo: int = 0) -> Packet:
        # Milliseconds since boot: grows over restarts of the agent within one boot.
        self._sequence = max(self._sequence + 1, int(time.monotonic() * 1000))
        me = self._me
        return Packet(kind, me.host, slot, to, me.boot_id, self._sequence, time.time(), echo)

    def _put(self, data: bytes, addresses: Iterable[Address]) -> None:
        sock = self._sock
        if sock is None:
            return
        for address in addresses:
            try:
                sock.sendto(data, address)
            except BlockingIOError:
                continue
            except OSError as exc:
                if exc.errno == errno.EBADF:
                    raise
                LOG.debug("cannot send to %s: %s", address[0], exc)


def make_room(sock: socket.socket, size: int) -> None:
    """Let `size` bytes wait in a socket, or as many as this process may have."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size // 2)  # the kernel doubles it
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size // 2)


def _all_of(receive: Callable[[], T]) -> list[T]:
    """Return what waits in a socket; raises OSError."""
    packets = []
    with suppress(BlockingIOError):
        for _ in range(MOST_AT_ONCE):
            packets.append(receive())
    return packets
