# SPDX-License-Identifier: Apache-2.0
"""The heartbeat thread: it sends, listens and acknowledges."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping

from vmha_pollsters.agent.heartbeat import crowd
from vmha_pollsters.agent.heartbeat.endpoint import Address, Endpoint
from vmha_pollsters.agent.heartbeat.hearing import REPLAYED, Hearing
from vmha_pollsters.agent.heartbeat.sender import Sender
from vmha_pollsters.agent.heartbeat.station import Route, Standing, Station
from vmha_pollsters.agent.heartbeat.wire import (
    BEATS,
    EVERYBODY,
    MOST_SLOTS,
    Kind,
    Packet,
    Rejected,
    cluster_digest,
    is_called,
    unpack,
)

LOG = logging.getLogger(__name__)

#: Listening that paused longer than this many beats starts anew: what waited in the socket
#: says that a host lived at some time, not that it lives.
PAUSE_BEATS = 3.0


class Heart:
    """Sends a beat to every target, acknowledges what it hears, and knows how long ago.

    Ages are as of the last moment in which everything received had been taken in: a thread
    that was not run accuses nobody.
    """

    def __init__(self, station: Station, hearing: Hearing) -> None:
        self._me = station
        self.keys = station.keys  # the one to sign with first; may be replaced at any time
        self._hearing = hearing
        self.endpoint = Endpoint(station.address, station.port)
        self._sender = Sender(station, self.endpoint)
        self._cluster = cluster_digest(station.cluster)
        self._lock = threading.Lock()
        self._route: Route | None = None
        self._drained = time.monotonic()
        self._paused_until_drained = True
        self._part = 0
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
            if not self.endpoint.is_open:
                self._open()
            # Waking up more often than it beats keeps the ages, which grow only when
            # everything received was taken in, close to the present.
            left = max(0.0, due - time.monotonic())
            self._listen(left)
            now = time.monotonic()
            if now >= due:
                route = self._route
                if route is not None:
                    self._sender.beat(route, self._stands(), self.keys[0])
                due = max(due + self._me.interval, now)
        self.endpoint.close()

    def heard(self, host: str) -> float | None:
        """Return the seconds since `host` was heard; None: unknown."""
        with self._lock:
            return self._hearing.age(host, self._drained)

    def census(self) -> tuple[Mapping[str, float | None], Mapping[str, float]]:
        """Return what `heard` says of all hosts, and how far ahead (s) the clocks of those are
        that were just heard."""
        with self._lock:
            # What waited in the socket was dated when it was sent.
            wall = time.time() - self.catching_up()
            return self._hearing.census(self._drained, time.monotonic(), wall)

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
            if not self.endpoint.is_open or self._paused_until_drained:
                return 0.0
            late = time.monotonic() - self._drained > PAUSE_BEATS * self._me.interval
            return 0.0 if late else self._hearing.listening_for(self._drained)

    def catch_up(self) -> None:
        """Wait, in a big crowd, until everything received has just been taken in."""
        if self._senders() > crowd.BIG_CROWD:
            self._taken_in.clear()
            self._taken_in.wait(2.0 * self.rest())

    def catching_up(self) -> float:
        """Return how long (s) `catch_up` takes on average."""
        return self.rest() / 2 if self._senders() > crowd.BIG_CROWD else 0.0

    def dropped(self) -> int:
        """Return how many packets the kernel dropped since the socket was opened: it was full."""
        return self.endpoint.dropped()

    def rest(self) -> float:
        """Return for how long (s) the packets of a crowd may wait."""
        return crowd.rest(self._senders(), self.endpoint.room, self._me.interval)

    def _senders(self) -> int:
        route = self._route
        return 0 if route is None else len(route.senders)

    def _open(self) -> None:
        me = self._me
        with self._lock:
            self._paused_until_drained = True
        try:
            self.endpoint.open()
        except OSError as exc:
            problem = f"cannot listen on {me.address} port {me.port}: {exc.strerror}"
            if problem != self.problem:
                LOG.error("%s; trying again", problem)
            self.problem = problem
            return
        LOG.info("listening on %s port %s", me.address, me.port)
        self.problem = None

    def _listen(self, left: float) -> None:
        """Wait for packets, at most until the next beat, and take in all that are there."""
        crowded = self._senders() > crowd.CROWD
        if not self.endpoint.is_open:
            time.sleep(min(left, self._me.interval / 4))
            return
        if crowded:
            time.sleep(min(left, self.rest()))
        else:
            self.endpoint.wait(min(left, self._me.interval / 4))
        began = time.monotonic()
        with self._lock:
            paused = began - self._drained > PAUSE_BEATS * self._me.interval
            paused = paused or self._paused_until_drained
        take = self._take_crowd if crowded else self._take_few
        try:
            take(paused)
        except OSError as exc:
            LOG.warning("heartbeat socket: %s; opening it again", exc)
            self.endpoint.close()
            return
        with self._lock:
            if paused:
                self._hearing.begin(began)
                self._paused_until_drained = False
            self._drained = began
        self._taken_in.set()
        if crowded:
            self._call_roll()

    def _take_few(self, paused: bool) -> None:
        """Take in what waits in the socket, unless it is history; raises OSError."""
        packets = self.endpoint.receive_from()
        if paused:
            return
        answers: list[tuple[Packet, Address]] = []
        with self._lock:
            route, now = self._route, time.monotonic()
            for data, sender in packets:
                packet = self._believed(data, route, now)
                if packet is not None and packet.kind in BEATS:
                    answers.append((packet, sender))
        self._sender.answer(answers, self._stands(), self.keys[0])

    def _take_crowd(self, paused: bool) -> None:
        """Do the same where a thousand packets a second come: most are as they were a beat ago.

        The heartbeats are acknowledged with the next roll call. Who may soon live by its
        acknowledgements gets one for each, for only that says to which heartbeat it belongs.
        """
        packets = self.endpoint.receive()
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
        self._sender.answer(answers, self._stands(), self.keys[0])

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

    def _call_roll(self) -> None:
        """Tell the next part of all senders which of them were heard since their last turn."""
        heard: list[int] = []
        with self._lock:
            route = self._route
            for _ in range(crowd.WAKES // crowd.wakes(self._senders())):
                self._part = (self._part + 1) % crowd.PARTS
                heard += self._hearing.call(range(self._part, MOST_SLOTS, crowd.PARTS))
        if route is not None and (heard := [slot for slot in heard if slot in route.roll]):
            self._sender.call_roll(heard, route, self.keys[0])

    def _stands(self) -> Standing:
        """Return this host's standing; one that is old, since nobody updates it, is none."""
        standing = self.standing
        late = time.monotonic() - standing.at > PAUSE_BEATS * self._me.interval
        return Standing() if late else standing
