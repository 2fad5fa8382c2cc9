# SPDX-License-Identifier: Apache-2.0
"""An open-loop load of webhooks over raw sockets: a request is due when the clock says so.

Latency counts from the moment at which a request was due, so that a server that stalls pays for
every request that it kept waiting, also for those that were not sent yet.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
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


@dataclass
class Load:
    """Sends all requests of a plan and keeps what came back."""

    plan: Plan
    latencies: dict[str, list[float]] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)
    _idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def run(self) -> dict[str, Any]:
        """Return latencies (s) by kind, and wrong or missing answers."""
        plan, chance = self.plan, random.Random(self.plan.seed)
        total = int(plan.rate * plan.seconds)
        kinds = chance.choices(list(KINDS), [share for share, _ in KINDS.values()], k=total)
        gate = asyncio.Semaphore(plan.connections)
        tasks = set()
        begun = time.perf_counter() + 0.2
        for number, kind in enumerate(kinds):
            due = begun + number / plan.rate
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            fresh = chance.random() < plan.fresh
            raw = self._request(kind, chance, fresh)
            task = asyncio.create_task(self._send(kind, raw, due, fresh, gate))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=TIMEOUT + 5)
        for _, writer in self._idle:
            writer.close()
        took = time.perf_counter() - begun
        return {"latencies": self.latencies, "wrong": dict(self.wrong), "took": took}

    def _request(self, kind: str, chance: random.Random, fresh: bool) -> bytes:
        plan = self.plan
        rule = chance.choice(plan.rules)
        host = f"compute-{chance.randrange(plan.hosts)}"
        signed = signing.sign(plan.key.encode(), rule, host)
        query = {"forged": f"?sig={signed[::-1]}", "unsigned": ""}.get(kind, f"?sig={signed}")
        body = json.dumps(
            {
                "alarm_id": "7b4f3d2e-0c55-4c8e-9c1a-3f1d0a6f2b11",
                "alarm_name": f"vmha-{rule}-{host}",
                "current": "alarm",
                "previous": "ok",
                "reason": "Composite rule alarm transition to alarm due to " + "x" * 700,
                "reason_data": {"type": "composite"},
                "severity": "critical",
            }
        )
        content = b"<xml/>" if kind == "no JSON" else body.encode()
        head = (
            f"POST /v1/alarms/{rule}/{host}{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
            f"Connection: {'close' if fresh else 'keep-alive'}\r\n\r\n"
        )
        return head.encode() + content

    async def _send(
        self, kind: str, raw: bytes, due: float, fresh: bool, gate: asyncio.Semaphore
    ) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                if fresh:
                    status = await self._over(await self._open(), raw, keep=False)
                else:
                    async with gate:
                        reused = self._idle.pop() if self._idle else await self._open()
                        status = await self._over(reused, raw, keep=True)
        except (OSError, ValueError, EOFError, TimeoutError) as exc:
            self.wrong[f"{kind}: {type(exc).__name__}"] += 1
            return
        if status != KINDS[kind][1]:
            self.wrong[f"{kind}: HTTP {status}"] += 1
        self.latencies.setdefault(kind, []).append(time.perf_counter() - due)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.plan.port)

    async def _over(
        self,
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        raw: bytes,
        *,
        keep: bool,
    ) -> int:
        """Send over one connection and return the status; the connection is kept or closed."""
        reader, writer = connection
        done = False
        try:
            writer.write(raw)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status = int(head.split(" ", 2)[1])
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
            await reader.readexactly(int(fields.get("content-length", "0")))
            done = keep and fields.get("connection", "keep-alive") != "close"
        finally:
            if done:
                self._idle.append(connection)
            else:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
        return status


if __name__ == "__main__":
    plan = Plan(**json.loads(sys.stdin.read()))
    print(json.dumps(asyncio.run(Load(plan).run())))
