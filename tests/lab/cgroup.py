# SPDX-License-Identifier: Apache-2.0
"""Control groups: how the lab kills, freezes and counts all processes of a "host" at once.

Only the core files of cgroup v2 are used (cgroup.procs, cgroup.kill, cgroup.freeze), so no
controller has to be enabled and a hybrid v1/v2 machine will do.
"""

from __future__ import annotations

import contextlib
import time
from functools import cache
from pathlib import Path

from tests.lab import layout
from tests.lab.errors import LabError

_KILL_TIMEOUT = 20.0  # s; a process in uninterruptible sleep (stalled storage) may take a while


@cache
def mount_point() -> Path:
    """Return where cgroup v2 is mounted; raises `LabError` when it is not."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise LabError(
        "no cgroup2 file system is mounted; run: mount -t cgroup2 none /sys/fs/cgroup/unified"
    )


def path(name: str = "") -> Path:
    """Return the folder of the group `name` ("" is the lab's root group)."""
    return mount_point() / layout.CGROUP / name


def ensure(name: str) -> Path:
    """Create the group `name` and its parents; return its folder."""
    where = path(name)
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise LabError(f"cannot create control group {where}: {exc.strerror}") from exc
    return where


def pids(name: str = "") -> list[int]:
    """Return the processes in the group and in all groups below it (none if it is absent)."""
    found: list[int] = []
    for procs in path(name).glob("**/cgroup.procs"):
        with contextlib.suppress(OSError):  # a group may vanish while we look
            found += [int(line) for line in procs.read_text().split()]
    return sorted(found)


def populated(name: str = "") -> bool:
    """Return whether any live process is in the group or below it."""
    try:
        return "populated 1" in (path(name) / "cgroup.events").read_text()
    except FileNotFoundError:
        return False


def kill(name: str = "", *, timeout: float = _KILL_TIMEOUT) -> None:
    """SIGKILL everything in the group and below, as one act; return when all of it is dead.

    Frozen processes die too. Raises `LabError` when some live on after `timeout` seconds.
    """
    if not path(name).exists():
        return
    _write(name, "cgroup.kill", "1")
    deadline = time.monotonic() + timeout
    while populated(name):
        if time.monotonic() > deadline:
            raise LabError(f"control group {path(name)}: processes {pids(name)} do not die")
        time.sleep(0.01)


def freeze(name: str, *, timeout: float = _KILL_TIMEOUT) -> None:
    """Stop every process of the group where it stands; return when all of them stand still."""
    _set_frozen(name, True, timeout)


def thaw(name: str, *, timeout: float = _KILL_TIMEOUT) -> None:
    """Let a frozen group run on."""
    _set_frozen(name, False, timeout)


def frozen(name: str) -> bool:
    """Return whether every process of the group stands still."""
    try:
        return "frozen 1" in (path(name) / "cgroup.events").read_text()
    except FileNotFoundError:
        return False


def remove(name: str = "") -> None:
    """Remove the empty group `name` and everything below it."""
    where = path(name)
    if not where.exists():
        return
    for group in sorted(where.glob("**/"), reverse=True):  # children before parents
        try:
            group.rmdir()
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise LabError(f"cannot remove control group {group}: {exc.strerror}") from exc


def _set_frozen(name: str, want: bool, timeout: float) -> None:
    _write(name, "cgroup.freeze", "1" if want else "0")
    deadline = time.monotonic() + timeout
    while frozen(name) != want:
        if time.monotonic() > deadline:
            verb = "freeze" if want else "thaw"
            raise LabError(f"control group {path(name)} does not {verb} within {timeout:g} s")
        time.sleep(0.005)


def _write(name: str, knob: str, value: str) -> None:
    target = path(name) / knob
    try:
        target.write_text(value)
    except OSError as exc:
        raise LabError(f"cannot write {target}: {exc.strerror} (root? Linux 5.14?)") from exc
