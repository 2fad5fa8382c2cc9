# SPDX-License-Identifier: Apache-2.0
"""Servers of a test's own, each a process with its data in a folder that goes with it.

They listen on the loopback address only, at a port that was free a moment ago.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

HOST = "127.0.0.1"
READY = 60.0  # s; two cores may be busy with other tests
DEBIAN_POSTGRES = Path("/usr/lib/postgresql")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """One server, started and stopped at will; its data stay."""

    name: str
    argv: Callable[[Path, int], Sequence[str | Path]]
    url: Callable[[int], str]
    prepare: Callable[[Path], None] = lambda _folder: None
    asks: Callable[[int], Sequence[str | Path]] | None = None  # a command that says: ready
    user: str | None = None  # under which it runs; PostgreSQL refuses to run as root
    quick_stop: signal.Signals = signal.SIGTERM
    port: int = field(default_factory=_free_port)
    folder: Path = field(default_factory=Path)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Return the URL by which the product reaches it."""
        return self.url(self.port)

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in self.argv(self.folder, self.port)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self.user,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY
        while not self._answers():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                log_text = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} does not start: {log_text}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        if self.asks is not None:
            words = [str(word) for word in self.asks(self.port)]
            return not subprocess.run(
                words, capture_output=True, timeout=10, check=False
            ).returncode
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
            return True
        return False

    def stop(self) -> None:
        """Shut it down as an administrator would."""
        self._end(self.quick_stop)

    def kill(self) -> None:
        """Kill it."""
        self._end(signal.SIGKILL)

    def freeze(self, frozen: bool) -> None:
        """Let it hang, or go on: connections are taken by the kernel, nothing is answered."""
        self._signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to the processes it has started."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            main = psutil.Process(self.process.pid)
            for process in [main, *main.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        if number == signal.SIGKILL:
            self._signal(number)
        else:
            self.process.send_signal(number)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait(10)
        self.process = None


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Have a server of one's own, gone at the end with all its data."""
    # Not pytest's folder: another user cannot get into that.
    server.folder = Path(tempfile.mkdtemp(prefix=f"vmha-{server.name}-"))
    try:
        if server.user is not None:
            shutil.chown(server.folder, server.user)
        server.prepare(server.folder)
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


def _run(*words: str | Path, user: str | None = None) -> None:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=120, user=user,
        cwd="/", check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {(done.stdout + done.stderr)[-2000:]}")


# -- MariaDB ------------------------------------------------------------------------------


def mariadb() -> Server:
    """Return a MariaDB server; `mariadbd` has to be installed."""
    me = getpass.getuser()
    return Server(
        "mariadb",
        lambda folder, port: [
            "mariadbd", "--no-defaults", f"--user={me}", f"--datadir={folder / 'data'}",
            f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}",
            f"--bind-address={HOST}", f"--port={port}", "--skip-name-resolve",
            "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M",
            "--innodb-flush-log-at-trx-commit=2", "--performance-schema=OFF",
        ],
        lambda port: f"mysql+pymysql://root@{HOST}:{port}/vmha?charset=utf8mb4",
        _prepare_mariadb,
    )  # fmt: skip


def _prepare_mariadb(folder: Path) -> None:
    _run(
        "mariadb-install-db", "--no-defaults", f"--user={getpass.getuser()}",
        f"--datadir={folder / 'data'}", "--auth-root-authentication-method=normal",
        "--skip-test-db",
    )  # fmt: skip
    (folder / "data/vmha").mkdir()  # a database is a folder


# -- PostgreSQL ---------------------------------------------------------------------------


def postgresql() -> Server:
    """Return a PostgreSQL server; Debian's package or `initdb` in PATH has to be there."""
    tools = _postgres_tools()
    return Server(
        "postgresql",
        lambda folder, port: [
            tools / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder,
            "-c", f"listen_addresses={HOST}", "-c", "fsync=off", "-c", "shared_buffers=16MB",
        ],
        lambda port: f"postgresql://vmha@{HOST}:{port}/postgres",
        lambda folder: _run(
            tools / "initdb", "-D", folder / "data", "-U", "vmha", "-A", "trust", "-E", "UTF8",
            "--locale=C", "--no-sync", user=_unprivileged(),
        ),
        asks=lambda port: [tools / "pg_isready", "-q", "-h", HOST, "-p", str(port)],
        user=_unprivileged(),
        quick_stop=signal.SIGINT,
    )  # fmt: skip


def _postgres_tools() -> Path:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return max(DEBIAN_POSTGRES.glob("*/bin"), default=DEBIAN_POSTGRES)


def _unprivileged() -> str | None:
    return "nobody" if os.geteuid() == 0 else None


# -- locks --------------------------------------------------------------------------------


def redis() -> Server:
    """Return a Redis server that forgets everything when it ends."""
    return Server(
        "redis",
        lambda folder, port: [
            "redis-server", "--bind", HOST, "--port", str(port), "--dir", folder,
            "--save", "", "--appendonly", "no",
        ],
        lambda port: f"redis://{HOST}:{port}",
    )  # fmt: skip


def etcd() -> Server:
    """Return an etcd server of one member."""
    return Server(
        "etcd",
        lambda folder, port: [
            "etcd", "--data-dir", folder / "data", "--listen-client-urls", f"http://{HOST}:{port}",
            "--advertise-client-urls", f"http://{HOST}:{port}", "--listen-peer-urls",
            f"http://{HOST}:0", "--unsafe-no-fsync",
        ],
        lambda port: f"etcd3+http://{HOST}:{port}?api_version=v3",
    )  # fmt: skip


# -- metrics ------------------------------------------------------------------------------


def prometheus(target: str, rules: Path) -> Server:
    """Return a Prometheus that scrapes `target` (host:port) and evaluates `rules` every second."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "vmha", "static_configs": [{"targets": [target]}]}],
    }
    return Server(
        "prometheus",
        lambda folder, port: [
            "prometheus", f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={HOST}:{port}",
        ],
        lambda port: f"http://{HOST}:{port}",
        prepare=lambda folder: _write(folder / "prometheus.yaml", config),
    )  # fmt: skip


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))  # which is YAML, too
