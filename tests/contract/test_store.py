# SPDX-License-Identifier: Apache-2.0
"""Migrations and models describe the same tables, and the store keeps its word on MySQL.

The server is the one that VMHA_TEST_MYSQL names (SQLAlchemy URL of an empty database).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from vmha_remediator.errors import StaleEpoch, StoreUnavailable
from vmha_remediator.remedy.states import IncidentState
from vmha_remediator.store import Store
from vmha_remediator.store.database import Database
from vmha_remediator.store.models import Base


def _differences(database: Database) -> list[object]:
    with database.engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))


def test_the_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/v.sqlite")
    database.upgrade()
    assert _differences(database) == []


def test_a_database_without_tables_is_said() -> None:
    database = Database("sqlite://")
    with pytest.raises(StoreUnavailable, match="vmha-manage db upgrade"):
        Store(database).check()


@pytest.fixture
def mysql() -> Iterator[Database]:
    url = os.environ.get("VMHA_TEST_MYSQL")
    if not url:
        pytest.skip("VMHA_TEST_MYSQL names no database")
    database = Database(url)
    yield database
    with database.engine().begin() as connection:
        Base.metadata.drop_all(connection)
        connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))
    database.dispose()


def test_the_same_on_mysql(mysql: Database) -> None:
    mysql.upgrade()
    assert _differences(mysql) == []
    store = Store(mysql)
    epoch = store.claim_epoch("one")
    store.ring("failure", "h1", "webhook")
    store.ring("failure", "h1", "webhook")
    assert len(store.take_doorbells()) == 1
    incident = store.open_incident("h1", "failure", "recover", "critical", "dead", epoch=epoch)
    again = store.open_incident("h1", "failure", "recover", "critical", "dead", epoch=epoch)
    assert again.id == incident.id
    moved = store.move(incident, IncidentState.CONFIRMED, "confirmed", epoch=epoch)
    assert moved.state is IncidentState.CONFIRMED
    store.claim_epoch("two")
    with pytest.raises(StaleEpoch):
        store.move(moved, IncidentState.CLEARED, "late", epoch=epoch)
