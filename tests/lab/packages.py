# SPDX-License-Identifier: Apache-2.0
"""Which Debian packages and programs the lab needs, and how to get those that are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import layout
from tests.lab.errors import LabError

LIST = Path(__file__).with_name("debian-packages.txt")

#: Program -> the Debian package that brings it.
PROGRAMS = {
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "mariadb": "mariadb-server",
    "epmd": "rabbitmq-server",
    "/usr/lib/rabbitmq/bin/rabbitmq-server": "rabbitmq-server",
    "redis-server": "redis-server",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "fusermount3": "fuse3",
    "ping": "iputils-ping",
}
#: Programs of the virtual environment; one of each service is enough to know.
VENV_PROGRAMS = ("nova-compute", "keystone-manage", "gnocchi-metricd", "vmha-manage")

_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GUARD = Path("/usr/sbin/policy-rc.d")


def wanted() -> list[str]:
    """Return the Debian packages of the lab."""
    lines = (line.partition("#")[0].strip() for line in LIST.read_text().splitlines())
    return [line for line in lines if line]


def missing() -> list[str]:
    """Return the Debian packages without which a program of the lab is not there."""
    absent = {pkg for name, pkg in PROGRAMS.items() if not shutil.which(name, path=_SEARCH)}
    return sorted(absent)


def check() -> None:
    """Raise `LabError`, with the way out, when something that the lab runs is not installed."""
    if absent := missing():
        raise LabError(
            f"Debian packages are missing: {' '.join(absent)}; "
            "run: python -m tests.lab packages --install"
        )
    if lost := [name for name in VENV_PROGRAMS if not (layout.VENV_BIN / name).exists()]:
        raise LabError(
            f"{', '.join(lost)} not found in {layout.VENV_BIN}; run: make deps "
            "(VMHA_VENV names another virtual environment)"
        )


def install() -> None:
    """Install what is missing, without letting Debian start any of it; raises `LabError`."""
    absent = missing()
    if not absent:
        return
    if os.geteuid() != 0:
        raise LabError(f"only root can install packages: sudo apt-get install {' '.join(absent)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_autostart():
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *absent],
        ):
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
            if done.returncode != 0:
                raise LabError(f"{' '.join(command)}: {done.stderr.strip()[-600:]}")


@contextmanager
def _no_autostart() -> Iterator[None]:
    """Keep Debian from starting system-wide servers beside the lab's own."""
    if _GUARD.exists():  # somebody's own policy: leave it alone
        yield
        return
    _GUARD.write_text("#!/bin/sh\nexit 101\n")
    _GUARD.chmod(0o755)
    try:
        yield
    finally:
        _GUARD.unlink(missing_ok=True)
