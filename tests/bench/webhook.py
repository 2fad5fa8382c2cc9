# SPDX-License-Identifier: Apache-2.0
"""What the webhook receiver bears: `python -m tests.bench.webhook`.

A real vmha-api process, a load process that sends valid and forged webhooks on a fixed schedule,
and a stand-in for the engine, which takes the doorbells and opens incidents as the engine does.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.bench.webhook_database import DATABASES
from tests.bench.webhook_load import KINDS, Plan
from tests.contract.bmc import free_port
from vmha_remediator import conf as config
from vmha_remediator.conf.rules import load_rules
from vmha_remediator.store import Store, open_store

LIMIT = 0.050  # s; p99 of every request
GROWTH = 1.05  # memory at the end, over that at the middle
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Engine(threading.Thread):
    """Takes doorbells and opens incidents, as the engine does; counts what it finds."""

    store: Store
    taken: Counter[str] = field(default_factory=Counter)
    made: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._stop_now = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        epoch = self.store.claim_epoch("bench")
        while not self._stop_now.wait(0.2):
            self._look(epoch)
        self._look(epoch)

    def _look(self, epoch: int) -> None:
        bells = self.store.take_doorbells()
        self.taken.update(bell.host for bell in bells)
        for host, rule in {bell.host: bell.rule for bell in bells}.items():
            found = self.store.open_incident(host, rule, "report", "low", "bench", epoch=epoch)
            self.made.add(found.id)

    def stop(self) -> None:
        """Look once more and end."""
        self._stop_now.set()
        self.join(60)


@dataclass
class Memory(threading.Thread):
    """Samples a process: (s since the start, resident KiB, CPU seconds)."""

    pid: int
    samples: list[tuple[float, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._stop_now = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        begun, proc = time.monotonic(), Path(f"/proc/{self.pid}")
        while not self._stop_now.wait(0.5):
            status = (proc / "status").read_text().splitlines()
            rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
            fields = (proc / "stat").read_text().rpartition(")")[2].split()
            cpu = (int(fields[11]) + int(fields[12])) / TICKS
            self.samples.append((time.monotonic() - begun, rss, cpu))

    def stop(self) -> None:
        """End."""
        self._stop_now.set()
        self.join(5)


@contextmanager
def receiver(folder: Path, connection: str) -> Iterator[tuple[int, int, Path]]:
    """Run vmha-api until the block ends; yield its port, its process and its configuration."""
    port = free_port()
    (folder / "webhook.key").write_text(secrets.token_hex(32))
    file = folder / "vmha.conf"
    file.write_text(
        f"[api]\nport = {port}\n[webhook]\nkey_file = {folder}/webhook.key\n"
        f"[database]\nconnection = {connection}\n"
        # The whole API is served, as everywhere; no webhook waits for this Keystone.
        f"[cloud]\nauth_type = password\nauth_url = http://127.0.0.1:{free_port()}/v3\n"
        "username = vmha\npassword = none\nproject_name = service\n"
        "user_domain_id = default\nproject_domain_id = default\n"
    )
    python = sys.executable
    options = ["--config-file", str(file)]
    subprocess.run(
        [python, "-m", "vmha_remediator.cmd.manage", *options, "db", "upgrade"], check=True
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "vmha_remediator.cmd.api", *options], stdout=log, stderr=log
        )
        try:
            _await(f"http://127.0.0.1:{port}/healthcheck", process)
            yield port, process.pid, file
        finally:
            process.terminate()
            process.wait(30)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            if requests.get(url, timeout=1).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise RuntimeError("vmha-api does not answer")


def measure(args: argparse.Namespace, connection: str, folder: Path) -> dict[str, Any]:
    """Run the load once and return everything that was measured."""
    with receiver(folder, connection) as (port, pid, file):
        conf = config.load(config_files=[str(file)])
        store = open_store(conf)
        engine, memory = Engine(store), Memory(pid)
        plan = Plan(
            port=port,
            key=(folder / "webhook.key").read_text(),
            rate=args.rate,
            seconds=args.seconds,
            hosts=args.hosts,
            rules=[template.name for template in load_rules(conf)],
            connections=args.connections,
            fresh=args.fresh,
        )
        engine.start()
        memory.start()
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.webhook_load"],
            input=json.dumps(asdict(plan)),
            capture_output=True,
            text=True,
            check=True,
        )
        memory.stop()
        time.sleep(1.0)  # what was put off is written within a second
        engine.stop()
        answer = conclude(json.loads(done.stdout), memory, engine, store)
        answer["log_lines"] = (folder / "log").read_bytes().count(b"\n")
        store.close()
        return answer


def conclude(load: dict[str, Any], memory: Memory, engine: Engine, store: Store) -> dict[str, Any]:
    """Return the figures; times in ms, memory in MiB."""
    every = sorted(value for values in load["latencies"].values() for value in values)
    half = memory.samples[len(memory.samples) // 2 :]
    active = Counter(incident.host for incident in store.incidents(active_only=True))
    return {
        "requests": len(every),
        "rate": len(every) / load["took"],
        "ms": {name: [_ms(values, at) for at in (50, 90, 99, 100)] for name, values in
               {**load["latencies"], "all": every}.items()},
        "wrong": load["wrong"],
        "load": {
            "cpu_share": load["cpu"] / load["took"],
            "late_ms": [_ms(load["late"], at) for at in (50, 99, 100)],
        },
        "cpu_share": (memory.samples[-1][2] - memory.samples[0][2])
        / (memory.samples[-1][0] - memory.samples[0][0]),
        "memory_mib": [memory.samples[0][1] / 1024, half[0][1] / 1024, half[-1][1] / 1024],
        "doorbells": sum(engine.taken.values()),
        "hosts_rung": len(engine.taken),
        "incidents": len(engine.made),
        "twice": [host for host, count in active.items() if count > 1],
        "load_average": os.getloadavg()[0],
    }  # fmt: skip


def _ms(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return round(1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 2)


def verdict(found: dict[str, Any]) -> list[str]:
    """Return what the receiver does not bear."""
    bad = []
    p99 = found["ms"]["all"][2]
    if p99 >= 1000 * LIMIT:
        bad.append(f"p99 is {p99} ms, not under {1000 * LIMIT:g} ms")
    if found["wrong"]:
        bad.append(f"wrong answers: {found['wrong']}")
    _, middle, end = found["memory_mib"]
    if end > middle * GROWTH:
        bad.append(f"memory grows: {middle:.1f} MiB at half time, {end:.1f} MiB at the end")
    if found["twice"] or found["incidents"] != found["hosts_rung"]:
        bad.append("an incident was made twice")
    return bad


def shown(name: str, found: dict[str, Any]) -> str:
    """Return the figures for people."""
    lines = [
        f"{name}: {found['requests']} requests, {found['rate']:.0f}/s; vmha-api used "
        f"{found['cpu_share']:.2f} of a core, the load {found['load']['cpu_share']:.2f} and was "
        "{} / {} / {} ms late itself (p50, p99, max); ".format(*found["load"]["late_ms"])
        + f"load average {found['load_average']:.1f}",
        f"  {'ms':10}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}",
    ]
    lines += [
        f"  {kind:10}" + "".join(f"{value:9.2f}" for value in values)
        for kind, values in found["ms"].items()
    ]
    start, middle, end = found["memory_mib"]
    lines += [
        f"  memory {start:.1f} MiB at first, {middle:.1f} at half time, {end:.1f} at the end",
        f"  {found['doorbells']} doorbells taken, {found['hosts_rung']} hosts, "
        f"{found['incidents']} incidents, {len(found['twice'])} twice; "
        f"{found['log_lines']} lines logged; wrong answers: {found['wrong'] or 'none'}",
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and fail when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--hosts", type=int, default=50, help="hosts whose alarms fire")
    parser.add_argument("--connections", type=int, default=64, help="connections kept open")
    parser.add_argument("--fresh", type=float, default=0.1, help="share over new connections")
    parser.add_argument("--database", action="append", choices=sorted(DATABASES))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    assert abs(sum(share for share, _ in KINDS.values()) - 1.0) < 1e-9
    bad: list[str] = []
    for name in args.database or sorted(DATABASES, reverse=True):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            connection = stack.enter_context(DATABASES[name](folder))
            if connection is None:
                print(f"{name}: its server is not installed; left out")
                continue
            found = measure(args, connection, folder)
        print(json.dumps({name: found}) if args.json else shown(name, found), flush=True)
        bad += [f"{name}: {reason}" for reason in verdict(found)]
    for reason in bad:
        print(f"MISSED  {reason}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
