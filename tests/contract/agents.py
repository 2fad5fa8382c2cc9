# SPDX-License-Identifier: Apache-2.0
"""Real agents on 127.0.0.1 and up with one real slots area, for the contract tests."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from vmha_pollsters.agent import area
from vmha_pollsters.ask import ask
from vmha_remediator.errors import AgentUnavailable

HOSTS = ("h1", "h2", "h3", "h4")
BEAT, LEASE = 0.5, 1.0  # half the defaults, so that the stories take half the time
HEARS = 4 * BEAT
AGE, LEASE_AGE = "vmha.host.heartbeat.age", "vmha.host.lease.age"
REACHABLE, WITNESSES = "vmha.host.reachable", "vmha.host.witnesses"
Values = dict[str, float]


class Cluster:
    """Agents as processes; everything they know is asked over their sockets."""

    def __init__(
        self, folder: Path, hosts: Sequence[str] = HOSTS, paths: Mapping[str, Path] | None = None
    ) -> None:
        self.folder = folder
        self.hosts = tuple(hosts)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.slots = folder / "slots"
        area.init(str(self.slots), 8, "loopback")
        (folder / "key").write_text(secrets.token_hex(32))
        self.port = _free_port()
        for number, host in enumerate(self.hosts, 1):
            (folder / f"{host}.boot").write_text(str(uuid.uuid4()))
            options = {
                "host": host,
                "address": f"127.0.0.{number}",
                "port": self.port,
                "socket": self.socket(host),
                "lease_path": (paths or {}).get(host, self.slots),
                "cluster": "loopback",
                "key_file": folder / "key",
                "boot_id_file": folder / f"{host}.boot",
                "priority": 10 - number,
                "heartbeat_interval": BEAT,
                "lease_interval": LEASE,
                # Nothing listens there: a refused connection is an answer.
                "probe_port": 1,
            }
            lines = ["[agent]", *(f"{name} = {value}" for name, value in options.items())]
            (folder / f"{host}.conf").write_text("\n".join(lines))

    def socket(self, host: str) -> str:
        return str(self.folder / f"{host}.sock")

    def gate(self, host: str) -> Path:
        return self.folder / f"{host}.gate"

    def start(self, host: str) -> None:
        with (self.folder / f"{host}.log").open("ab") as log:
            self.processes[host] = subprocess.Popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("gated_agent.py")),
                    "--config-file",
                    str(self.folder / f"{host}.conf"),
                ],
                stderr=log,
                env={**os.environ, "VMHA_TEST_GATE": str(self.gate(host))},
            )

    def signal(self, host: str, number: int) -> None:
        self.processes[host].send_signal(number)

    def readings(self, host: str) -> dict[str, Any]:
        return ask(self.socket(host), "readings")

    def status(self, host: str) -> dict[str, Any]:
        return ask(self.socket(host), "status")

    def says(self, witness: str, about: str) -> Values | None:
        """Return what `witness` would publish about a host; None: nothing."""
        hosts = self.readings(witness)["hosts"]
        return next((entry["values"] for entry in hosts if entry["host"] == about), None)

    def witnesses(self) -> dict[str, dict[str, Values]]:
        """Return everything that is being published: witness -> host -> values."""
        found = {}
        for host in self.hosts:
            try:
                answer = self.readings(host)
            except AgentUnavailable:
                continue
            if answer["hosts"]:
                found[host] = {entry["host"]: entry["values"] for entry in answer["hosts"]}
        return found

    def all_well(self) -> bool:
        """All witnesses (up to three) publish all hosts, heard and renewed, and agree on it."""
        told = self.witnesses()
        return len(told) == min(3, len(self.hosts)) and all(
            set(hosts) == set(self.hosts)
            and all(
                v.get(AGE, 99) < HEARS
                and v.get(LEASE_AGE, 99) < 4 * LEASE
                and v[WITNESSES] >= min(2, len(self.hosts) - 1)
                for v in hosts.values()
            )
            for hosts in told.values()
        )

    def stop(self) -> None:
        for host, process in self.processes.items():
            self.gate(host).unlink(missing_ok=True)
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(10)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 25.0) -> Any:
    """Return the first true value of `condition`, or fail saying what never happened."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            found = condition()
        except AgentUnavailable:
            found = None
        if found:
            return found
        time.sleep(0.1)
    pytest.fail(f"within {timeout:.0f} s it never came true that {what}")
