# SPDX-License-Identifier: Apache-2.0
"""Schemas are made once, and a lab's data is never thrown away by a second `up`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.errors import LabError
from tests.lab.services import databases, infra


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database's data folder, and what SQL would have been run."""
    folder = tmp_path / "mariadb"
    folder.mkdir()
    monkeypatch.setattr(infra, "DATA", folder)
    monkeypatch.setattr(databases, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(databases, "_key", lambda: "this-release")
    return folder


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What SQL would have been run."""
    said: list[str] = []
    monkeypatch.setattr(infra, "sql", lambda text: said.append(text))
    return said


def test_a_lab_with_its_schemas_keeps_its_data(data: Path, statements: list[str]) -> None:
    databases.mark_migrated()
    databases.create()
    assert databases.migrated()
    assert "DROP" not in "".join(statements)


def test_a_broken_off_migration_begins_afresh(data: Path, statements: list[str]) -> None:
    databases.create()
    assert "DROP DATABASE IF EXISTS nova_api;" in "".join(statements)


def test_a_lab_of_another_release_is_refused_and_left_alone(
    data: Path, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.mark_migrated()
    monkeypatch.setattr(databases, "_key", lambda: "next-release")
    with pytest.raises(LabError, match="other releases; run 'down'"):
        databases.create()
    assert statements == []


def test_the_kept_copy_serves_the_next_lab_of_the_same_release(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "nova").write_text("schema")
    databases.mark_migrated()
    databases.keep()
    assert not databases.restore()  # never over data that is there
    data.rename(data.with_name("gone"))
    assert databases.restore()
    assert databases.migrated()
    assert (data / "nova").read_text() == "schema"


def test_an_old_copy_is_not_used_and_goes_with_the_next(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.keep()
    monkeypatch.setattr(databases, "_key", lambda: "next-release")
    data.rename(data.with_name("gone"))
    assert not databases.restore()
    data.mkdir()
    databases.keep()
    assert [path.name for path in databases.CACHE.iterdir()] == ["mariadb-next-release"]
