# SPDX-License-Identifier: Apache-2.0
"""Databases for the webhook benchmark: a SQLite file, and a MariaDB of its own."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.contract.bmc import free_port


@contextmanager
def sqlite(folder: Path) -> Iterator[str | None]:
    """Yield the URL of a new file."""
    yield f"sqlite:///{folder}/vmha.sqlite"


@contextmanager
def mariadb(folder: Path) -> Iterator[str | None]:
    """Yield the URL of a new MariaDB server's database, or None without its Debian package."""
    install, server = shutil.which("mariadb-install-db"), shutil.which("mariadbd")
    if install is None or server is None:
        yield None
        return
    data, socket, port = folder / "mariadb", folder / "mariadb.sock", free_port()
    common = [f"--datadir={data}", "--user=root"]
    subprocess.run(
        [install, "--no-defaults", *common, "--auth-root-authentication-method=normal"],
        check=True,
        capture_output=True,
        timeout=300,
    )
    with (folder / "mariadb.log").open("wb") as log:
        process = subprocess.Popen(
            [server, "--no-defaults", *common, f"--socket={socket}", f"--port={port}",
             "--bind-address=127.0.0.1"],
            stdout=log,
            stderr=log,
        )  # fmt: skip
        try:
            _make_database(socket, process)
            yield f"mysql+pymysql://root@127.0.0.1:{port}/vmha"
        finally:
            process.terminate()
            process.wait(60)


def _make_database(socket: Path, process: subprocess.Popen[bytes]) -> None:
    """Make it as soon as the server lets anybody in."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        done = subprocess.run(
            ["mariadb", "--no-defaults", f"--socket={socket}", "-uroot", "-e",
             "CREATE DATABASE IF NOT EXISTS vmha"],
            capture_output=True,
            timeout=30,
        )  # fmt: skip
        if done.returncode == 0:
            return
        time.sleep(0.2)
    raise RuntimeError("MariaDB does not start; see mariadb.log")


DATABASES: dict[str, Callable[[Path], AbstractContextManager[str | None]]] = {
    "sqlite": sqlite,
    "mariadb": mariadb,
}
