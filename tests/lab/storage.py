# SPDX-License-Identifier: Apache-2.0
"""The lab's shared storage: one folder, which each host sees through a mount of its own.

The daemon behind a mount belongs to the lab, not to the host: it is the array and the cable.
Turn the cable's faults on and off with `set_mode`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.lab import layout, process
from tests.lab.errors import LabError

_TIMEOUT = 10.0  # s; the daemon answers at once, whatever the requests do


def control(host: str) -> Path:
    """Return the control socket of a host's mount."""
    return layout.host_dir(host) / "storage.sock"


def daemon(host: str) -> str:
    """Return the process name of a host's mount."""
    return f"{host}-storage"


def mounted(host: str) -> bool:
    """Return whether the host's mount is there, dead or alive."""
    where = str(layout.shared(host))
    return any(line.split()[1] == where for line in Path("/proc/mounts").read_text().splitlines())


def mount(host: str) -> None:
    """Mount the shared storage for a host and wait until it answers; idempotent."""
    if mounted(host) and process.alive(daemon(host)):
        return
    unmount(host)
    layout.STORAGE.mkdir(parents=True, exist_ok=True)
    layout.shared(host).mkdir(parents=True, exist_ok=True)
    if not Path("/dev/fuse").exists():
        raise LabError("/dev/fuse is missing: load the fuse module (modprobe fuse)")
    python: list[str | Path] = [layout.VENV_BIN / "python", "-m", "tests.lab.storage_daemon"]
    folders = (layout.STORAGE, layout.shared(host), control(host))
    process.spawn(daemon(host), [*python, *folders], cgroup=f"storage/{host}")
    process.wait_for(
        lambda: mounted(host) or not process.alive(daemon(host)), f"{host}'s storage", 20
    )
    if not mounted(host):
        log = layout.LOGS / f"{daemon(host)}.log"
        raise LabError(f"the shared storage of {host} could not be mounted: see {log}")


def unmount(host: str) -> None:
    """Fail what waits, unmount and end the daemon; idempotent, and never hangs."""
    if process.alive(daemon(host)):
        with contextlib.suppress(LabError):
            set_mode(host, "off")
    while mounted(host):
        where = str(layout.shared(host))
        done = subprocess.run(
            ["umount", "--lazy", where], capture_output=True, text=True, timeout=_TIMEOUT
        )
        if done.returncode:
            raise LabError(f"cannot unmount {where}: {done.stderr.strip()}")
    process.stop(daemon(host), timeout=2.0)
    control(host).unlink(missing_ok=True)


def set_mode(host: str, mode: str, *, ms: float = 0.0, under: str = "/") -> dict[str, Any]:
    """Set how the host's requests fare; see `storage_daemon.Gate` for the modes.

    `under` limits it to paths below a folder of the mount ("/vmha"). Returns the gate's state.
    """
    return _ask(host, {"mode": mode, "ms": ms, "under": under})


def state(host: str) -> dict[str, Any]:
    """Return the mode of a host's mount, and how many requests wait."""
    return _ask(host, {})


def _ask(host: str, order: dict[str, Any]) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(_TIMEOUT)
            link.connect(str(control(host)))
            link.sendall(json.dumps(order).encode() + b"\n")
            with link.makefile() as answers:
                answer: dict[str, Any] = json.loads(answers.readline())
    except (OSError, ValueError) as exc:
        raise LabError(f"the storage mount of {host} does not answer ({exc}): is it on?") from exc
    if "error" in answer:
        raise LabError(f"the storage mount of {host} refused: {answer['error']}")
    return answer
