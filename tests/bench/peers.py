# SPDX-License-Identifier: Apache-2.0
"""Simulated hosts for the agent's benchmark: real UDP heartbeats, real slots on storage.

Run as `python -m tests.bench.peers` with one JSON line on standard input (see `Plan`); ends
with its input.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import select
import socket
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass

from vmha_pollsters.agent.heartbeat import crowd
from vmha_pollsters.agent.heartbeat.wire import (
    MAX_SIZE,
    Kind,
    Packet,
    cluster_digest,
    pack,
    unpack,
)
from vmha_pollsters.agent.witness.roster import callers
from vmha_pollsters.lease.layout import (
    BLOCK,
    FIRST_HOST,
    Flag,
    Opinion,
    Probe,
    Roster,
    Slot,
    pack_roster,
    pack_slot,
)

BEAT, RENEWAL = 1.0, 2.0
#: Slots written together: their renewals are spread over the interval in so many parts.
PARTS = 20
WITNESSES = 3
#: A witness of a crowd calls the roll, in which each host has its turn once in so many beats.
CALLED_ONCE_IN = crowd.PARTS // crowd.WAKES


@dataclass
class Plan:
    """What one process simulates."""

    path: str  # the slots area
    area: str
    cluster: str
    key: str
    port: int
    hosts: int  # of the whole cluster
    first: int  # slots first .. last - 1 are simulated by this process ...
    last: int
    agent: int  # ... but for this one, which is the real agent's
    watches: bool  # whether the real agent is a witness, so that everybody sends to it


def address(slot: int) -> str:
    """Return the loopback address of a slot's host."""
    return f"127.77.{slot // 250}.{slot % 250 + 1}"


class Peers:
    """The hosts of one process. Whoever sends to a simulated host is not heard, but for the
    witnesses, which acknowledge the real agent's heartbeats when it is not one itself."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._area = uuid.UUID(plan.area)
        self._digest = cluster_digest(plan.cluster)
        self._key = plan.key.encode()
        self._numbers = [n for n in range(plan.first, plan.last) if n != plan.agent]
        self._boot = {n: uuid.uuid4() for n in self._numbers}
        self._sockets = {n: self._open(n) for n in self._numbers}
        self._sequence = int(time.monotonic() * 1000)
        self._fd = os.open(plan.path, os.O_RDWR | os.O_DIRECT)
        self._buffer = mmap.mmap(-1, BLOCK * (plan.hosts // PARTS + 1))
        self._renewals = 0
        self._beats: Counter[int] = Counter()

    def _open(self, number: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind((address(number), self.plan.port))
        sock.setblocking(False)
        return sock

    def run(self) -> None:
        """Beat and renew until standard input ends."""
        plan = self.plan
        beats = [n for n in self._numbers if plan.watches or abs(n - plan.agent) == 1]
        beats = random.sample(beats, len(beats))
        begun, part = time.monotonic(), 0
        sent_until = 0
        answering = [self._sockets[n] for n in self._numbers if n < WITNESSES and not plan.watches]
        while True:
            ready, _, _ = select.select([sys.stdin, *answering], [], [], 0.005)
            if sys.stdin in ready:
                return
            for sock in ready:
                if isinstance(sock, socket.socket):
                    self._acknowledge(sock)
            passed = time.monotonic() - begun
            due = int(passed / BEAT * len(beats))
            for place in range(sent_until, due):
                self._beat(beats[place % len(beats)])
            sent_until = due
            while part < passed / RENEWAL * PARTS:
                self._renew(part % PARTS)
                part += 1

    def _beat(self, number: int) -> None:
        self._sequence += 1
        packet = Packet(
            Kind.HEARTBEAT,
            f"host-{number}",
            number,
            self.plan.agent,
            self._boot[number],
            self._sequence,
            time.time(),
        )
        to = (address(self.plan.agent), self.plan.port)
        self._sockets[number].sendto(pack(packet, self._digest, self._key), to)

    def _acknowledge(self, sock: socket.socket) -> None:
        number = next(n for n, mine in self._sockets.items() if mine is sock)
        data, sender = sock.recvfrom(MAX_SIZE)
        self._beats[number] += 1
        if self.plan.hosts > crowd.CROWD and self._beats[number] % CALLED_ONCE_IN:
            return
        if number not in callers(self.plan.agent, self._roster()):
            return
        heard = unpack(data, self._digest, (self._key,))
        self._sequence += 1
        answer = heard._replace(
            kind=Kind.ACK,
            host=f"host-{number}",
            slot=number,
            to=heard.slot,
            boot_id=self._boot[number],
            sequence=self._sequence,
            wall=time.time(),
            echo=heard.sequence,
        )
        sock.sendto(pack(answer, self._digest, self._key), sender)

    def _renew(self, part: int) -> None:
        if part == 0:
            self._renewals += 1
            if not self.plan.watches and self.plan.first == 0:
                self._write(1, [pack_roster(self._roster(), self._area)])
        per = -(-self.plan.hosts // PARTS)
        run: list[int] = []
        for number in range(part * per, min((part + 1) * per, self.plan.hosts)):
            if number in self._boot:
                run.append(number)
            elif run:
                self._write_slots(run)
                run = []
        if run:
            self._write_slots(run)

    def _write_slots(self, numbers: list[int]) -> None:
        self._write(
            FIRST_HOST + numbers[0], [pack_slot(self._slot(n), self._area) for n in numbers]
        )

    def _write(self, block: int, data: list[bytes]) -> None:
        size = BLOCK * len(data)
        self._buffer[:size] = b"".join(data)
        with memoryview(self._buffer) as whole, whole[:size] as part:
            os.pwritev(self._fd, [part], block * BLOCK)

    def _slot(self, number: int) -> Slot:
        watches = number < WITNESSES
        view = (Opinion(0.5, 1.0, Probe.ANSWERS),) * self.plan.hosts if watches else ()
        return Slot(
            index=number,
            host=f"host-{number}",
            address=address(number),
            boot_id=self._boot[number],
            nonce=b"n" * 16,
            generation=1,
            sequence=self._renewals,
            flags=Flag.QUALIFIED,
            wall=time.time(),
            views=view,
        )

    def _roster(self) -> Roster:
        members = frozenset(range(self.plan.hosts))
        first = tuple(range(min(WITNESSES, self.plan.hosts)))
        return Roster(0, first, members, 1, self._renewals, 0, time.time())


if __name__ == "__main__":
    Peers(Plan(**json.loads(sys.stdin.readline()))).run()
