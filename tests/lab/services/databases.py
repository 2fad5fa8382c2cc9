# SPDX-License-Identifier: Apache-2.0
"""The cloud's databases: made and migrated once, then kept as a copy for the next lab.

The copy is of the whole data folder after a clean shutdown. It holds empty schemas and no
password (Nova's cells are stored as templates), and its name depends on everything that
shapes it, so that another release never starts on an old schema.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from tests.lab import layout, process
from tests.lab.credentials import passwords
from tests.lab.errors import LabError
from tests.lab.services import infra

CACHE = layout.LAB / "cache"

DATABASES = (
    "keystone", "placement", "glance", "neutron", "nova_api", "nova_cell0", "nova_cell1",
    "gnocchi", "aodh",
)  # fmt: skip

_CELL = "{scheme}://{username}:{password}@{hostname}:{port}/"
NOVA_MANAGE = (
    "nova-manage",
    f"--config-file={layout.ETC / 'nova/nova.conf'}",
    f"--config-file={layout.ETC / 'nova/controller.conf'}",
)

#: Chains of commands; chains run side by side, a chain's commands one after another.
SYNCS: dict[str, tuple[tuple[str, ...], ...]] = {
    "nova": (
        (*NOVA_MANAGE, "api_db", "sync"),
        (*NOVA_MANAGE, "cell_v2", "map_cell0",
         "--database_connection", _CELL + "nova_cell0?{query}"),
        (*NOVA_MANAGE, "cell_v2", "create_cell", "--name=cell1",
         "--database_connection", _CELL + "nova_cell1?{query}",
         "--transport-url", _CELL),
        (*NOVA_MANAGE, "db", "sync"),
    ),
    "neutron": (
        ("neutron-db-manage", f"--config-file={layout.ETC / 'neutron/neutron.conf'}",
         "upgrade", "heads"),
    ),
    "keystone": (
        ("keystone-manage", f"--config-file={layout.ETC / 'keystone/keystone.conf'}", "db_sync"),
    ),
    "glance": (
        ("glance-manage", f"--config-file={layout.ETC / 'glance/glance-api.conf'}", "db_sync"),
    ),
    "placement": (
        ("placement-manage", f"--config-file={layout.ETC / 'placement/placement.conf'}",
         "db", "sync"),
    ),
    "aodh": (("aodh-dbsync", f"--config-file={layout.ETC / 'aodh/aodh.conf'}"),),
}  # fmt: skip

#: The distributions whose schemas these are.
_RELEASES = ("nova", "neutron", "keystone", "glance", "openstack-placement", "aodh")

#: Not in the copy: it also writes to Redis, and takes no time.
GNOCCHI_UPGRADE = ("gnocchi-upgrade", f"--config-file={layout.ETC / 'gnocchi/gnocchi.conf'}")


def create() -> None:
    """Create the databases and let the lab's user in, with this lab's password.

    What a broken-off migration left is dropped: Nova's cells cannot be made twice.
    """
    if not migrated():
        infra.sql("".join(f"DROP DATABASE IF EXISTS {db};" for db in DATABASES))
    infra.sql(
        "".join(f"CREATE DATABASE IF NOT EXISTS {db} CHARACTER SET utf8mb3;" for db in DATABASES)
        + "CREATE USER IF NOT EXISTS lab@'%';"
        + f"ALTER USER lab@'%' IDENTIFIED BY '{passwords()['mariadb']}';"
        + "".join(f"GRANT ALL ON {db}.* TO lab@'%';" for db in DATABASES)
    )


def migrate(chain: str) -> None:
    """Run one chain of schema migrations; raises `LabError` with the end of its output."""
    for command in SYNCS[chain]:
        run_tool(command)


def run_tool(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 300
) -> str:
    """Run one of a service's own commands; return its output, also kept in LOGS/tools.log."""
    done = subprocess.run(
        list(command),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=layout.LAB,
        env=process.environment({"OS_NOVA_DISABLE_EVENTLET_PATCHING": "1", **(env or {})}),
    )
    output = done.stdout + done.stderr
    with (layout.LOGS / "tools.log").open("a") as log:
        log.write(f"$ {' '.join(command)}\n{output}\n")
    if done.returncode != 0:
        last = " | ".join(output.strip().splitlines()[-3:])
        raise LabError(f"{Path(command[0]).name} failed: {last[-500:]}")
    return done.stdout


def migrated() -> bool:
    """Return whether every database of this lab has its schema.

    Raises `LabError` for a lab that other releases made: its data is not thrown away unasked.
    """
    if not _stamp().exists():
        return False
    if _stamp().read_text() != _key():
        raise LabError("this lab was made with other releases; run 'down' before 'up'")
    return True


def mark_migrated() -> None:
    """Remember that all migrations of this lab are done."""
    _stamp().write_text(_key())


def restore() -> bool:
    """Put the kept copy in place of a data folder that is not there; False if there is none."""
    if infra.DATA.exists() or not _copy().exists():
        return False
    infra.DATA.parent.mkdir(parents=True, exist_ok=True)
    half = infra.DATA.with_name("mariadb-half")
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(_copy(), half)
    half.rename(infra.DATA)
    return True


def keep() -> None:
    """Copy the data folder of the *stopped* database for the next lab, dropping older copies."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.glob("mariadb-*"):  # also one that was broken off
        shutil.rmtree(old)
    half = CACHE / "mariadb-half"
    shutil.copytree(infra.DATA, half)
    half.rename(_copy())


def _copy() -> Path:
    return CACHE / f"mariadb-{_key()}"


def _stamp() -> Path:
    return infra.DATA / "lab-migrated"


@cache
def _key() -> str:
    """Return a digest of all that shapes the schemas: releases, server, commands."""
    server = subprocess.run(["mariadbd", "--version"], capture_output=True, text=True, timeout=20)
    commands = {chain: [command[-4:] for command in SYNCS[chain]] for chain in SYNCS}
    shape = repr((server.stdout, DATABASES, commands, [version(name) for name in _RELEASES]))
    return hashlib.sha256(shape.encode()).hexdigest()[:16]
