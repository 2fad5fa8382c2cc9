# SPDX-License-Identifier: Apache-2.0
"""What a service of the lab is, and how one is started, awaited and stopped."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from tests.lab import cgroup, layout, process
from tests.lab.errors import LabError

CGROUP = "ctl"


def _nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Service:
    """One process of the controller.

    `ready` asks the service itself and returns whether it can be used; `needs` are services
    that must be ready first; `ports` are names in layout.PORTS that it listens on.
    """

    name: str
    argv: Callable[[], Sequence[str | Path]]
    ready: Callable[[], bool]
    needs: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    env: Callable[[], Mapping[str, str]] = field(default=dict)
    prepare: Callable[[], None] = _nothing
    timeout: float = 90.0  # s until ready; generous: two cores, a dozen services at once
    stop_timeout: float = 15.0


def start(service: Service) -> str:
    """Start `service` unless it runs, and wait until it is ready; return what was done.

    Raises `LabError` when a port is taken, the process ends, or it is not ready in time.
    """
    running = process.alive(service.name)
    if running and healthy(service):
        return "runs already"
    if not running:
        for port in service.ports:
            check_port(port)
        service.prepare()
        process.spawn(service.name, service.argv(), cgroup=CGROUP, env=service.env())
    process.wait_for(
        lambda: _ready_or_dead(service), f"{service.name} to answer", service.timeout, interval=0.2
    )
    return "answers"


def stop(service: Service) -> None:
    """End `service`; it is no error if it does not run."""
    process.stop(service.name, service.stop_timeout)


def healthy(service: Service) -> bool:
    """Return whether `service` answers now (any failure to ask means no)."""
    try:
        return service.ready()
    except (OSError, LabError, psutil.NoSuchProcess):
        return False


def http_ready(name: str, path: str = "/") -> Callable[[], bool]:
    """Return a check: a real GET is answered, with anything but a server error."""

    def ready() -> bool:
        with contextlib.suppress(requests.RequestException):
            answer = requests.get(layout.url(name) + path, timeout=5)
            return answer.status_code < 500
        return False

    return ready


def check_port(name: str) -> None:
    """Raise `LabError`, naming the process, when somebody else listens on a port of ours."""
    port = layout.PORTS[name]
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((layout.CONTROLLER, port))
            return
        except OSError as exc:
            reason = exc.strerror
    holder = _listener(port)
    who = f"process {holder.pid} ({holder.name()}) has it; stop that" if holder else f"{reason}"
    raise LabError(f"{name} needs port {port} on {layout.CONTROLLER}: {who}")


def last_words(name: str, lines: int = 3) -> str:
    """Return the end of a service's log, for an error message."""
    text = tail(layout.LOGS / f"{name}.log").strip()
    return " | ".join(text.splitlines()[-lines:])[-600:] or "(empty)"


def tail(log: Path, size: int = 65536) -> str:
    """Return the last `size` bytes of a log ("" if there is none)."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - size))
            return stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def tcp_ready(name: str) -> Callable[[], bool]:
    """Return a check: somebody accepts connections on the port."""

    def ready() -> bool:
        with socket.create_connection((layout.CONTROLLER, layout.PORTS[name]), timeout=3):
            return True

    return ready


def _ready_or_dead(service: Service) -> bool:
    if not process.alive(service.name):
        raise LabError(
            f"{service.name} ended while starting; {layout.LOGS / service.name}.log ends: "
            f"{last_words(service.name)}"
        )
    return healthy(service)


def _listener(port: int) -> psutil.Process | None:
    ours = set(cgroup.pids())
    for conn in psutil.net_connections("tcp"):
        here = conn.laddr and conn.laddr.port == port and conn.status == psutil.CONN_LISTEN
        if here and conn.pid and conn.pid not in ours:
            with contextlib.suppress(psutil.NoSuchProcess):
                return psutil.Process(conn.pid)
    return None
