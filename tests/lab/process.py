# SPDX-License-Identifier: Apache-2.0
"""Start, find and stop the lab's processes, which live on when the command that did it ends.

A process is remembered in RUN/NAME.json with its pid *and* its start time: after a pid has
been handed to somebody else the record no longer matches, and nothing of theirs is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from tests.lab import cgroup as groups
from tests.lab import layout
from tests.lab.errors import LabError

T = TypeVar("T")

#: Joins the control group first and then becomes the program: no child can be born outside.
_ENTER = 'echo $$ > "$0" && exec "$@"'
#: Not for the lab's services: another cloud's credentials, proxies, a ban on bytecode caches.
_DROP = ("OS_", "PYTHON", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

_children: dict[int, subprocess.Popen[bytes]] = {}  # ours to reap while this command runs


@dataclass(frozen=True)
class Process:
    """A started process: `start` is its start time in clock ticks since the machine booted."""

    name: str
    pid: int
    start: int
    cgroup: str
    netns: str | None
    argv: tuple[str, ...]
    log: str

    def alive(self) -> bool:
        """Return whether this very process (not a later one of the same pid) still runs."""
        child = _children.get(self.pid)
        if child is not None:
            child.poll()  # reaps it, if it is dead
        return start_time(self.pid) == self.start


def spawn(
    name: str,
    argv: Sequence[str | Path],
    *,
    cgroup: str,
    netns: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
) -> Process:
    """Start `argv` detached, inside `cgroup` (and network namespace), and record it.

    `env` is added to a cleaned copy of this process's environment. Output is appended to
    `log` (default LOGS/NAME.log). Raises `LabError` when NAME runs already.
    """
    if alive(name):
        raise LabError(f"{name} runs already (pid {_read(name)})")
    target = log or layout.LOGS / f"{name}.log"
    target.parent.mkdir(parents=True, exist_ok=True)
    procs = groups.ensure(cgroup) / "cgroup.procs"
    enter_ns = ["nsenter", f"--net=/run/netns/{netns}"] if netns else []
    program = [str(word) for word in argv]
    with target.open("ab") as output:
        child = subprocess.Popen(
            ["/bin/sh", "-c", _ENTER, str(procs), *enter_ns, *program],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd or layout.LAB,
            env=environment(env),
            start_new_session=True,
        )
    _children[child.pid] = child
    start = start_time(child.pid)
    if start is None:
        raise LabError(f"{name} ended at once (exit status {child.wait()}): see {target}")
    process = Process(name, child.pid, start, cgroup, netns, tuple(program), str(target))
    _record(name).parent.mkdir(parents=True, exist_ok=True)
    temporary = _record(name).with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(process), indent=1))
    temporary.replace(_record(name))
    return process


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a lab process: ours, cleaned, with the checkout importable."""
    base = {k: v for k, v in os.environ.items() if not k.upper().startswith(_DROP)}
    base |= {
        "PATH": f"{layout.VENV_BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(layout.REPO),
        "PYTHONUNBUFFERED": "1",
        "LC_ALL": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": "1",  # numpy else starts a thread a core in every service
    }
    return base | dict(extra or {})


def find(name: str) -> Process | None:
    """Return the recorded process NAME if it is still the one that was started."""
    process = _read(name)
    return process if process is not None and process.alive() else None


def alive(name: str) -> bool:
    """Return whether NAME runs."""
    return find(name) is not None


def recorded() -> list[Process]:
    """Return every process on record, dead or alive, by name."""
    names = sorted(p.stem for p in layout.RUN.glob("*.json"))
    return [process for name in names if (process := _read(name)) is not None]


def stop(name: str, timeout: float = 10.0) -> None:
    """End NAME and all that it started: SIGTERM, and SIGKILL after `timeout` seconds."""
    process = _read(name)
    if process is None:
        return
    if process.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        with contextlib.suppress(LabError):
            wait_for(lambda: not process.alive(), f"{name} to end", timeout)
    _kill_session(process)
    forget(name)


def kill(name: str) -> None:
    """SIGKILL NAME and all that it started."""
    process = _read(name)
    if process is None:
        return
    _kill_session(process)
    forget(name)


def forget(name: str) -> None:
    """Drop the record of NAME."""
    _record(name).unlink(missing_ok=True)


def wait_for(
    predicate: Callable[[], T], what: str, timeout: float, *, interval: float = 0.05
) -> T:
    """Call `predicate` until it is true and return what it said.

    Raises `LabError` naming `what` when `timeout` seconds have passed.
    """
    deadline = time.monotonic() + timeout
    while True:
        if result := predicate():
            return result
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(interval)


def start_time(pid: int) -> int | None:
    """Return when `pid` started, in clock ticks since boot; None if it is dead or a zombie.

    A killed process whose main thread is a zombie already holds its files and ports until its
    other threads are gone too, so until then it counts as alive.
    """
    fields = _stat(pid)
    if fields is None or (fields[0] in "ZX" and _threads(pid) <= 1):
        return None
    return int(fields[19])


def _threads(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the name, which may hold blanks itself."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _kill_session(process: Process) -> None:
    """SIGKILL the session that `process` leads and wait until none of it is left."""
    # Its leader by itself as well: just started, it may not have joined its control group yet.
    leader = {process.pid} if process.alive() else set()
    for pid in leader | set(_session(process)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not process.alive() and not _session(process), f"{process.name} to die", 20)


def _session(process: Process) -> list[int]:
    """Return the live members of the session, looking nowhere but in the control group."""
    if start_time(process.pid) not in (None, process.start):
        return []  # the pid is somebody else's now, and so is the session of that number
    stats = {pid: _stat(pid) for pid in groups.pids(process.cgroup)}
    return [pid for pid, f in stats.items() if f is not None and int(f[3]) == process.pid]


def _record(name: str) -> Path:
    return layout.RUN / f"{name}.json"


def _read(name: str) -> Process | None:
    try:
        data = json.loads(_record(name).read_text())
    except FileNotFoundError:
        return None
    return Process(**{**data, "argv": tuple(data["argv"])})
