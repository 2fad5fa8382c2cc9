# SPDX-License-Identifier: Apache-2.0
"""Counters where several workers serve: together, or left out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vmha_remediator.api.counts import FOLDER, Counts, Mark, SharedMark
from vmha_remediator.errors import ConfigError, StoreUnavailable

ONE, SEVERAL = {"wsgi.multiprocess": False}, {"wsgi.multiprocess": True}


def test_one_process_shows_what_it_has_counted() -> None:
    assert Counts().whole(ONE)


def test_one_of_several_shows_nothing_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    counts = Counts()
    assert not counts.whole(SEVERAL)
    assert not counts.whole(SEVERAL)
    assert [FOLDER in record.message for record in caplog.records] == [True]


def test_several_with_a_folder_show_the_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "made/if/missing"))
    assert Counts().whole(SEVERAL)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(FOLDER, str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=f"{FOLDER}: .*file: File exists; name a folder"):
        Counts()


def marks(folder: Path, shared: bool) -> list[Mark]:
    """Return four workers' marks, or one process's, in four threads."""
    return [SharedMark(folder / "mark") for _ in range(4)] if shared else [Mark()] * 4


@pytest.mark.parametrize("shared", [True, False])
def test_each_change_is_counted_once(tmp_path: Path, shared: bool) -> None:
    changes, counted = list(range(1, 101)), []

    def count(seen: int | None) -> int:
        new = [change for change in changes if change > (seen or 0)][:10]
        counted.extend(new)
        return new[-1] if new else seen or 0

    with ThreadPoolExecutor(4) as pool:
        for mark in marks(tmp_path, shared) * 5:
            pool.submit(mark.move, count)
    assert counted == changes


@pytest.mark.parametrize("shared", [True, False])
def test_what_could_not_be_counted_is_counted_later(tmp_path: Path, shared: bool) -> None:
    def away(_seen: int | None) -> int:
        raise StoreUnavailable("the database is away")

    seen: list[int | None] = []

    def count(now: int | None) -> int:
        seen.append(now)
        return 7

    first, second = marks(tmp_path, shared)[:2]
    first.move(count)
    with pytest.raises(StoreUnavailable):
        first.move(away)
    second.move(count)
    assert seen == [None, 7]
