# SPDX-License-Identifier: Apache-2.0
"""Starve a host of CPU: all its processes together get a share of one core.

The kernel's own quota: `cpu.max` where control group v2 has the cpu controller, else the v1
hierarchy of that controller, into which the host's processes are moved (children follow).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.lab import cgroup, layout
from tests.lab.errors import LabError

_PERIOD = 100_000  # us, the kernel's default


def starve(host: str, percent: float) -> None:
    """Let the host have so much of one core only; raises `LabError` where that cannot be had."""
    quota = int(_PERIOD * percent / 100)
    if "cpu" in _v2_controllers():
        _write(cgroup.mount_point() / "cgroup.subtree_control", "+cpu")
        _write(cgroup.path() / "cgroup.subtree_control", "+cpu")
        _write(cgroup.path(host) / "cpu.max", f"{quota} {_PERIOD}")
        return
    group = _v1_group(host)
    group.mkdir(parents=True, exist_ok=True)
    _write(group / "cpu.cfs_quota_us", str(quota))
    _move(cgroup.pids(host), group)


def feed(host: str) -> None:
    """Give the host all the CPU it wants again; idempotent."""
    if "cpu" in _v2_controllers():
        if (limit := cgroup.path(host) / "cpu.max").exists():
            _write(limit, f"max {_PERIOD}")
        return
    if _v1() is None or not (group := _v1_group(host)).exists():
        return
    _write(group / "cpu.cfs_quota_us", "-1")
    root = group.parent.parent
    while pids := [int(line) for line in (group / "cgroup.procs").read_text().split()]:
        _move(pids, root)
    group.rmdir()
    with contextlib.suppress(OSError):  # another host starves
        group.parent.rmdir()


def starved(host: str) -> bool:
    """Return whether the host's CPU is limited."""
    if "cpu" in _v2_controllers():
        limit = cgroup.path(host) / "cpu.max"
        return limit.exists() and not limit.read_text().startswith("max")
    return _v1() is not None and _v1_group(host).exists()


def _v2_controllers() -> list[str]:
    return (cgroup.mount_point() / "cgroup.controllers").read_text().split()


def _v1() -> Path | None:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            return Path(where)
    return None


def _v1_group(host: str) -> Path:
    where = _v1()
    if where is None:
        raise LabError("no control group here has the cpu controller: a host cannot be starved")
    return where / layout.CGROUP / host


def _move(pids: list[int], group: Path) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(f"{pid}\n")


def _write(knob: Path, value: str) -> None:
    try:
        knob.write_text(value)
    except OSError as exc:
        raise LabError(f"cannot write {knob}: {exc.strerror}") from exc
