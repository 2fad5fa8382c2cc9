# SPDX-License-Identifier: Apache-2.0
"""What the virt driver asks of a hypervisor, and the one that runs guests as processes.

`Hypervisor` is all that the driver knows; one that runs QEMU would fit behind it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Protocol

from tests.lab import cgroup, layout, process
from tests.lab.virt import guest

_TERM_TIMEOUT = 3.0  # s a guest has to end by itself
_KILL_TIMEOUT = 10.0  # s a killed guest may hang in stalled storage before we give up
_START_TIMEOUT = 10.0  # s
#: A file beside a VM's disk: the next attempt to spawn it takes the file away, and fails.
SPOILED = "spoiled"
#: Joins the group, then leaves the guest to init: a dead nova-compute takes no guest with it.
_LAUNCH = 'set -e; echo $$ > "$0"; exec >>"$1" 2>&1; shift; setsid "$@" </dev/null &'


class Power(Enum):
    """State of a defined guest."""

    RUNNING = "running"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    OFF = "off"


class GuestStuckError(Exception):
    """A guest did not start or does not end, and may still be running."""


class Hypervisor(Protocol):
    """Guests of one host, by VM uuid; definitions outlive a reboot, processes do not."""

    def define(self, vm: str, name: str) -> None:
        """Remember a guest; idempotent."""

    def undefine(self, vm: str) -> None:
        """Forget a guest, which must not run; idempotent."""

    def defined(self) -> dict[str, str]:
        """Return every defined guest: uuid -> name."""

    def state(self, vm: str) -> Power:
        """Return the state of a guest; raises KeyError when it is not defined."""

    def start(self, vm: str) -> None:
        """Run a guest; idempotent. Raises `GuestStuckError`."""

    def stop(self, vm: str) -> None:
        """End a guest and return when it is gone; idempotent. Raises `GuestStuckError`."""

    def pause(self, vm: str) -> None:
        """Hold a running guest where it stands."""

    def resume(self, vm: str) -> None:
        """Let a paused guest run on."""

    def suspend(self, vm: str) -> None:
        """End a guest and remember that it is to be resumed."""


class ProcessHypervisor:
    """Guests as processes in the host's control group; see `Hypervisor` for the methods."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._group = guests_group(host)
        self._definitions = layout.host_dir(host) / "guests"
        self._definitions.mkdir(parents=True, exist_ok=True)

    def define(self, vm: str, name: str) -> None:
        self._write(vm, {"name": name, "suspended": False})

    def undefine(self, vm: str) -> None:
        self._file(vm).unlink(missing_ok=True)

    def defined(self) -> dict[str, str]:
        found = {}
        for path in self._definitions.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):  # undefined while we look
                found[path.stem] = str(json.loads(path.read_text())["name"])
        return found

    def state(self, vm: str) -> Power:
        definition = self._read(vm)
        pid = self._pid(vm)
        if pid is None:
            return Power.SUSPENDED if definition["suspended"] else Power.OFF
        return Power.PAUSED if _is_stopped(pid) else Power.RUNNING

    def start(self, vm: str) -> None:
        definition = self._read(vm)
        self._write(vm, {**definition, "suspended": False})
        if self._pid(vm) is not None:
            return
        boot = (layout.host_dir(self._host) / "boot_id").read_text().strip()
        procs = cgroup.ensure(self._group) / "cgroup.procs"
        log = layout.LOGS / f"{self._host}-guests.log"
        program = [sys.executable, "-S", "-E", guest.__file__, vm, self._host, boot]
        subprocess.run(
            ["/bin/sh", "-c", _LAUNCH, procs, log, *program, disk(self._host, vm)],
            check=True,
            timeout=_START_TIMEOUT,
        )
        self._wait(lambda: self._pid(vm) is not None, _START_TIMEOUT, f"{vm} did not start")

    def stop(self, vm: str) -> None:
        pid = self._pid(vm)
        if pid is None:
            return
        started = process.start_time(pid)

        def gone() -> bool:
            return started is None or process.start_time(pid) != started

        _signal(pid, signal.SIGTERM)
        _signal(pid, signal.SIGCONT)  # a paused one would not hear it
        with contextlib.suppress(GuestStuckError):
            self._wait(gone, _TERM_TIMEOUT, "")
        if not gone():
            _signal(pid, signal.SIGKILL)
        self._wait(gone, _KILL_TIMEOUT, f"{vm} (pid {pid}) does not die")

    def pause(self, vm: str) -> None:
        self._send(vm, signal.SIGSTOP)

    def resume(self, vm: str) -> None:
        self._send(vm, signal.SIGCONT)

    def suspend(self, vm: str) -> None:
        self.stop(vm)
        self._write(vm, {**self._read(vm), "suspended": True})

    def _pid(self, vm: str) -> int | None:
        return next((pid for pid, running in processes(self._host) if running == vm), None)

    def _send(self, vm: str, number: signal.Signals) -> None:
        pid = self._pid(vm)
        if pid is None:
            raise GuestStuckError(f"{vm} does not run")
        _signal(pid, number)

    def _file(self, vm: str) -> Path:
        return self._definitions / f"{vm}.json"

    def _read(self, vm: str) -> dict[str, object]:
        try:
            definition: dict[str, object] = json.loads(self._file(vm).read_text())
        except FileNotFoundError:
            raise KeyError(vm) from None
        return definition

    def _write(self, vm: str, definition: dict[str, object]) -> None:
        temporary = self._file(vm).with_suffix(".tmp")
        temporary.write_text(json.dumps(definition))
        temporary.replace(self._file(vm))

    @staticmethod
    def _wait(condition: Callable[[], bool], timeout: float, complaint: str) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise GuestStuckError(complaint)
            time.sleep(0.01)


def guests_group(host: str) -> str:
    """Return the control group of a host's guests."""
    return f"{host}/guests"


def instances_dir(host: str) -> Path:
    """Return the folder of the VMs' disks as a host sees it."""
    return layout.shared(host) / "instances"


def disk(host: str, vm: str) -> Path:
    """Return the disk of a VM as a host sees it."""
    return instances_dir(host) / vm / "disk"


def spoiled(host: str, vm: str) -> Path:
    """Return the file SPOILED of a VM as a host sees it."""
    return disk(host, vm).with_name(SPOILED)


def processes(host: str) -> Iterator[tuple[int, str]]:
    """Yield (pid, VM uuid) of every guest process of a host, from the kernel's own lists."""
    for pid in cgroup.pids(guests_group(host)):
        with contextlib.suppress(OSError):  # it may end while we look
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if guest.__file__.encode() in argv and process.start_time(pid) is not None:
                yield pid, argv[argv.index(guest.__file__.encode()) + 1].decode()


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
