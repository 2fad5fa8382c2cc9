# SPDX-License-Identifier: Apache-2.0
"""Take the lab away: processes, mounts, namespaces, bridge, control groups, files."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from tests.lab import cgroup, layout, net
from tests.lab.credentials import passwords
from tests.lab.errors import LabError
from tests.lab.services import cloudapi

#: Kept by every `down`: copies of empty databases that make the next `up` faster.
CACHE = "cache"


def down(say: Callable[[str], None], *, keep_logs: bool = False, purge: bool = False) -> None:
    """Leave nothing of the lab behind; works on any half of one too.

    `purge` removes the kept database copies as well. Raises `LabError` when something stays.
    """
    if find_spec("tests.lab.hosts") is not None:
        from tests.lab import hosts

        hosts.down_all()
    cgroup.kill()
    say("processes ended")
    _unmount()
    net.bridge_down()
    cgroup.remove()
    say("network, mounts and control groups removed")
    kept = {CACHE: not purge, "log": keep_logs}
    _remove_files({name for name, stays in kept.items() if stays})
    for cached in (passwords, cloudapi.connect):
        cached.cache_clear()
    check()


def leftovers() -> list[str]:
    """Return what is still there of the lab, in words (empty after a good `down`)."""
    found = [f"process {pid}" for pid in cgroup.pids()]
    found += [f"mount {mount}" for mount in _mounts()]
    found += [
        f"network namespace {layout.netns(host)}"
        for host in layout.HOSTS
        if Path("/run/netns", layout.netns(host)).exists()
    ]
    if net.exists(layout.BRIDGE):
        found.append(f"bridge {layout.BRIDGE}")
    if cgroup.path().exists():
        found.append(f"control group {cgroup.path()}")
    return found


def check() -> None:
    """Raise `LabError` naming what `down` could not remove."""
    if found := leftovers():
        raise LabError(f"'down' left behind: {', '.join(found)}")


def _mounts() -> list[str]:
    """Return mount points inside the lab's folder, innermost first."""
    inside = f"{layout.LAB}/"
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((p for p in points if p.startswith(inside)), reverse=True)


def _unmount() -> None:
    for point in _mounts():
        subprocess.run(["umount", "-l", point], capture_output=True, timeout=20, check=False)


def _remove_files(keep: set[str]) -> None:
    if still := _mounts():  # deleting through a mount would delete what is behind it
        raise LabError(f"cannot unmount {still[0]}; nothing was deleted")
    if not layout.LAB.exists():
        return
    for entry in layout.LAB.iterdir():
        if entry.name in keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if not any(layout.LAB.iterdir()):
        layout.LAB.rmdir()
