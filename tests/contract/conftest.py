# SPDX-License-Identifier: Apache-2.0
"""Databases and lock services: SQLite, and servers that a test run starts for itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.contract import servers
from vmha_remediator.store.database import Database


@pytest.fixture(scope="session")
def mariadb() -> Iterator[servers.Server]:
    """A MariaDB server of this run's own."""
    with servers.running(servers.mariadb()) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[servers.Server]:
    """A PostgreSQL server of this run's own."""
    with servers.running(servers.postgresql()) as server:
        yield server


@pytest.fixture(params=["redis", "etcd"])
def lock_service(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """A lock service of the test's own."""
    with servers.running(getattr(servers, request.param)()) as found:
        yield found


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables, whatever another test has left on its server."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/v.sqlite"
    else:
        url = request.getfixturevalue(request.param).address
    found = Database(url, busy=3, connect=2)
    _empty(found)
    yield found
    found.dispose()


def _empty(database: Database) -> None:
    with database.engine().begin() as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        tables.drop_all(connection)
