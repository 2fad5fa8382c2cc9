# SPDX-License-Identifier: Apache-2.0
"""Real sanlock daemons, one a host, in run directories of their own; nothing is left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

LOCKSPACE = "vmha"
IO_TIMEOUT = 1  # s; a renewal every 2 s


class Daemon:
    """One host's sanlock daemon, without watchdog, high priority or locked memory."""

    def __init__(self, folder: Path, host: str, number: int, leases: Path) -> None:
        if not shutil.which("sanlock"):
            pytest.skip("the Debian package sanlock is not installed")
        self.run_dir = folder / f"{host}.sanlock"
        self.run_dir.mkdir()
        self._environment = {
            **os.environ,
            "SANLOCK_RUN_DIR": str(self.run_dir),
            "SANLOCK_PRIVILEGED": "0",
        }
        self._lockspace = f"{LOCKSPACE}:{number}:{leases}:0"
        with (folder / f"{host}.sanlock.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["sanlock", "daemon", "-D", "-w", "0", "-l", "0", "-h", "0", "-e", host],
                env=self._environment,
                stderr=log,
            )
        self._children: list[int] = []

    def client(self, *words: str) -> None:
        """Run `sanlock client WORDS`; raises CalledProcessError with its output."""
        subprocess.run(
            ["sanlock", "client", *words],
            env=self._environment,
            check=True,
            timeout=60,
            capture_output=True,
        )

    def join(self, create: bool = False) -> None:
        """Join the lockspace, which takes some seconds; make it first if `create`."""
        deadline = time.monotonic() + 10
        while not (self.run_dir / "sanlock.sock").exists():
            assert time.monotonic() < deadline, "the sanlock daemon did not start"
            time.sleep(0.05)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self._children = [int(pid) for pid in children.read_text().split()]
        if create:
            self.client("init", "-s", self._lockspace.replace(":1:", ":0:"), "-o", str(IO_TIMEOUT))
        self.client("add_lockspace", "-s", self._lockspace, "-o", str(IO_TIMEOUT))

    def stop(self) -> None:
        """End the daemon and wait until its helper has gone, too."""
        self.process.kill()
        self.process.wait(10)
        deadline = time.monotonic() + 10
        while any(_runs(pid) for pid in self._children):
            assert time.monotonic() < deadline, "sanlock's helper process stays"
            time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return "sanlock" in stat and stat.rpartition(")")[2].split()[0] != "Z"
