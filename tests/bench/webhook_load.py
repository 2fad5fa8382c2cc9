# SPDX-License-Identifier: Apache-2.0
"""An open-loop load of webhooks over raw sockets: a request is due when the clock says so.

Latency counts from the moment at which a request was due, so that a server that stalls pays for
every request that it kept waiting, also for those that were not sent yet. One thread and one
epoll, and every request is made beforehand: the load shares its cores with what it measures.
"""

from __future__ import annotations

import errno
import gc
import json
import random
import select
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vmha_remediator.rules import signing

#: Share of each kind among all requests, and the answer that it must get.
KINDS = {
    "valid": (0.50, 202),
    "forged": (0.40, 403),
    "unsigned": (0.05, 401),
    "no JSON": (0.05, 400),
}
TIMEOUT = 30.0  # s; a request without an answer until then is lost
REASON = "Composite rule alarm transition to alarm due to " + "x" * 700
BODY = json.dumps(
    {
        "alarm_id": "7b4f3d2e-0c55-4c8e-9c1a-3f1d0a6f2b11",
        "alarm_name": "vmha",
        "current": "alarm",
        "previous": "ok",
        "reason": REASON,
        "reason_data": {"type": "composite"},
        "severity": "critical",
    }
).encode()


@dataclass(frozen=True)
class Plan:
    """What to send; given to the process as JSON."""

    port: int
    key: str
    rate: float  # requests/s
    seconds: float
    hosts: int
    rules: Sequence[str]
    connections: int  # kept open
    fresh: float  # share of requests over a connection of their own
    seed: int = 1


@dataclass(frozen=True)
class Request:
    """One request, ready to be sent."""

    kind: str
    fresh: bool
    raw: bytes


@dataclass
class Connection:
    """A connection, and the request that it carries now."""

    socket: socket.socket
    request: Request
    due: float
    answer: bytes = b""
    sent: bool = False


def schedule(plan: Plan) -> list[Request]:
    """Return every request in its order; equal ones are one object."""
    chance = random.Random(plan.seed)
    made: dict[tuple[str, str, int, bool], Request] = {}
    total = int(plan.rate * plan.seconds)
    kinds = chance.choices(list(KINDS), [share for share, _ in KINDS.values()], k=total)
    found = []
    for kind in kinds:
        rule, host = chance.choice(plan.rules), chance.randrange(plan.hosts)
        key = (kind, rule, host, chance.random() < plan.fresh)
        if key not in made:
            made[key] = _request(plan.key.encode(), *key)
        found.append(made[key])
    return found


def _request(key: bytes, kind: str, rule: str, number: int, fresh: bool) -> Request:
    host = f"compute-{number}"
    signed = signing.sign(key, rule, host)
    query = {"forged": f"?sig={signed[::-1]}", "unsigned": ""}.get(kind, f"?sig={signed}")
    content = b"<xml/>" if kind == "no JSON" else BODY
    head = (
        f"POST /v1/alarms/{rule}/{host}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        f"Connection: {'close' if fresh else 'keep-alive'}\r\n\r\n"
    )
    return Request(kind, fresh, head.encode() + content)


@dataclass
class Load:
    """Sends all requests of a plan and keeps what came back."""

    plan: Plan
    latencies: dict[str, list[float]] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)  # s from due to begun, this process's share
    wrong: Counter[str] = field(default_factory=Counter)
    _poll: select.epoll = field(default_factory=select.epoll)
    _idle: list[socket.socket] = field(default_factory=list)
    _busy: dict[int, Connection] = field(default_factory=dict)
    _waiting: deque[tuple[Request, float]] = field(default_factory=deque)
    _kept: int = 0  # connections that are to stay open

    def run(self) -> dict[str, Any]:
        """Return latencies (s) by kind, and wrong or missing answers."""
        requests, rate = schedule(self.plan), self.plan.rate
        gc.collect()
        gc.disable()
        clock, number = time.perf_counter, 0
        begun = clock() + 0.2
        end = begun + len(requests) / rate + TIMEOUT
        while (number < len(requests) or self._busy or self._waiting) and clock() < end:
            now = clock()
            while number < len(requests) and (due := begun + number / rate) <= now:
                self.late.append(now - due)
                self._begin(requests[number], due)
                number += 1
            until = begun + number / rate - clock() if number < len(requests) else 1.0
            for fd, event in self._poll.poll(max(0.0, until)):
                self._serve(fd, event)
        for connection in self._busy.values():
            self.wrong[f"{connection.request.kind}: no answer"] += 1
        for request, _ in self._waiting:
            self.wrong[f"{request.kind}: never sent"] += 1
        return {
            "latencies": self.latencies,
            "late": self.late,
            "wrong": dict(self.wrong),
            "took": clock() - begun,
            "cpu": time.process_time(),
        }

    def _begin(self, request: Request, due: float) -> None:
        """Send it now, or as soon as one of the connections kept open is free."""
        if request.fresh:
            self._open(request, due)
        elif self._idle:
            self._send(Connection(self._idle.pop(), request, due))
        elif self._kept < self.plan.connections:
            self._open(request, due)
        else:
            self._waiting.append((request, due))

    def _open(self, request: Request, due: float) -> None:
        new = socket.socket()
        new.setblocking(False)
        new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        problem = new.connect_ex(("127.0.0.1", self.plan.port))
        if problem not in (0, errno.EINPROGRESS):
            self.wrong[f"{request.kind}: {errno.errorcode[problem]}"] += 1
            new.close()
            return
        self._kept += not request.fresh
        self._busy[new.fileno()] = Connection(new, request, due)
        self._poll.register(new, select.EPOLLOUT)

    def _send(self, connection: Connection) -> None:
        """Send on a connection that is open; a request is smaller than any socket buffer."""
        self._busy[connection.socket.fileno()] = connection
        connection.sent = True
        if connection.socket.send(connection.request.raw) != len(connection.request.raw):
            raise RuntimeError("the socket's buffer is smaller than one request")

    def _serve(self, fd: int, event: int) -> None:
        connection = self._busy.get(fd)
        try:
            if connection is None:  # the server closed one that was idle
                self._poll.unregister(fd)
                self._idle = [each for each in self._idle if each.fileno() != fd]
                self._kept -= 1
            elif not connection.sent:
                self._poll.modify(fd, select.EPOLLIN)
                self._send(connection)
            else:
                self._receive(connection)
        except OSError as exc:
            assert connection is not None
            self._end(connection, type(exc).__name__)

    def _receive(self, connection: Connection) -> None:
        got = connection.socket.recv(65536)
        if not got:
            self._end(connection, "closed")
            return
        connection.answer += got
        head, found, body = connection.answer.partition(b"\r\n\r\n")
        if not found:
            return
        fields = head.lower()
        length = int(fields.partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
        if len(body) < length:
            return
        status = int(head[9:12])
        kind = connection.request.kind
        problem = "" if status == KINDS[kind][1] else f"HTTP {status}"
        self.latencies.setdefault(kind, []).append(time.perf_counter() - connection.due)
        self._end(connection, problem, keep=b"connection: close" not in fields)

    def _end(self, connection: Connection, problem: str, keep: bool = False) -> None:
        """Be done with a request; its connection carries the next one, or is closed."""
        if problem:
            self.wrong[f"{connection.request.kind}: {problem}"] += 1
        del self._busy[connection.socket.fileno()]
        if not keep:
            self._poll.unregister(connection.socket)
            connection.socket.close()
            self._kept -= not connection.request.fresh
            if self._waiting and not connection.request.fresh:
                self._open(*self._waiting.popleft())
        elif self._waiting:
            self._send(Connection(connection.socket, *self._waiting.popleft()))
        else:
            self._idle.append(connection.socket)


if __name__ == "__main__":
    plan = Plan(**json.loads(sys.stdin.read()))
    print(json.dumps(Load(plan).run()))
