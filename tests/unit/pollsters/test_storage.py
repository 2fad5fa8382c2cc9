# SPDX-License-Identifier: Apache-2.0
"""The storage threads: what fails is not known, what hangs holds up nobody."""

from __future__ import annotations

import errno
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from vmha_pollsters.agent import area
from vmha_pollsters.agent.storage.keeper import Content, Identity, Keeper
from vmha_pollsters.agent.storage.reader import Reader
from vmha_pollsters.agent.storage.slotfile import SlotFile
from vmha_pollsters.agent.storage.writer import Writer
from vmha_pollsters.lease.layout import Block, Flag, Roster
from vmha_pollsters.lease.slots import SlotsLease

INTERVAL = 0.05


class Blocks(SlotFile):
    """A real file that can be made to fail or to hang."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.error: OSError | None = None
        self.flowing = threading.Event()
        self.flowing.set()

    def read(self, first: int, count: int) -> Block:
        self.flowing.wait()
        if self.error is not None:
            raise self.error
        return super().read(first, count)


@pytest.fixture
def path(tmp_path: Path) -> str:
    made = str(tmp_path / "slots")
    area.init(made, 4, "c")
    return made


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"it never came true that {what}"
        time.sleep(0.01)


def writer(blocks: SlotFile, stop: threading.Event) -> Writer:
    me = Identity("h1", "192.0.2.1", uuid.UUID(int=1), "c")
    kept = Keeper(blocks, me, INTERVAL, stop.wait)

    def content() -> tuple[Content, Roster | None]:
        leaving = Flag.LEAVING if stop.is_set() else Flag.QUALIFIED
        return Content(leaving), Roster(0, (0,), frozenset({0}), 1, 1, 0)

    return Writer(kept, content, INTERVAL, threading.Event())


def reader(blocks: SlotFile) -> Reader:
    driver = SlotsLease(SimpleNamespace(lease_interval=INTERVAL))
    return Reader(blocks, driver, driver, "c", lambda: (None, INTERVAL), pause=0.4)


def run(target: Callable[[threading.Event], None], stop: threading.Event) -> threading.Thread:
    thread = threading.Thread(target=target, args=(stop,), daemon=True)
    thread.start()
    return thread


def test_a_writer_claims_renews_and_says_goodbye(path: str) -> None:
    stop = threading.Event()
    mine = writer(SlotFile(path), stop)
    thread = run(mine.run, stop)
    until(lambda: mine.written.problem is None, "it renewed")
    stop.set()
    thread.join(5)
    dumped = area.dump(path)
    assert dumped["slots"][0]["flags"] == ["leaving"]
    assert dumped["roster"]["master"] == 0


def test_a_writer_whose_storage_fails_says_so_and_goes_on_when_it_is_back(path: str) -> None:
    stop, blocks = threading.Event(), Blocks(path)
    mine = writer(blocks, stop)
    thread = run(mine.run, stop)
    until(lambda: mine.written.problem is None, "it renewed")
    blocks.error = OSError(errno.EIO, "I/O error")
    until(lambda: "I/O error" in (mine.written.problem or ""), "it says what is wrong")
    assert mine.written.slot == 0, "the slot is still its own"
    blocks.error = None
    until(lambda: mine.written.problem is None, "it renews again")
    stop.set()
    thread.join(5)


def test_a_failed_read_keeps_the_last_good_one_and_does_not_age_it(path: str) -> None:
    stop, blocks = threading.Event(), Blocks(path)
    mine, seen = writer(SlotFile(path), stop), reader(blocks)
    threads = [run(mine.run, stop), run(seen.run, stop)]
    until(lambda: 0 in seen.seen.sights and seen.seen.sights[0].age is not None, "it sees h1")
    blocks.error = OSError(errno.ESTALE, "Stale file handle")
    until(lambda: seen.seen.problem is not None, "the read failed")
    before = seen.seen
    until(lambda: time.monotonic() - (before.at or 0) > 0.5, "time passes")
    assert "Stale file handle" in (seen.seen.problem or "")
    assert (seen.seen.at, seen.seen.sights) == (before.at, before.sights)
    blocks.error = None
    until(lambda: seen.seen.problem is None, "it reads again")
    stop.set()
    for thread in threads:
        thread.join(5)


def test_a_hanging_read_leaves_an_old_success_behind(path: str) -> None:
    stop, blocks = threading.Event(), Blocks(path)
    seen = reader(blocks)
    thread = run(seen.run, stop)
    until(lambda: seen.seen.at is not None, "it reads")
    blocks.flowing.clear()
    until(lambda: time.monotonic() - (seen.seen.at or 0) > 0.5, "its last success grows old")
    began = seen.seen.since
    blocks.flowing.set()
    until(lambda: time.monotonic() - (seen.seen.at or 0) < 0.5, "it reads again")
    until(lambda: seen.seen.since != began, "what it watches begins anew")
    stop.set()
    thread.join(5)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    stop = threading.Event()
    seen = reader(SlotFile(str(tmp_path / "nothing")))
    thread = run(seen.run, stop)
    until(lambda: "nothing" in (seen.seen.problem or ""), "it names the file")
    stop.set()
    thread.join(5)


def test_the_roster_ages_by_looks_only(path: str) -> None:
    stop, blocks = threading.Event(), Blocks(path)
    mine, seen = writer(SlotFile(path), stop), reader(blocks)
    assert seen.seen.roster_age == 0.0
    thread = run(mine.run, stop)
    until(lambda: mine.written.problem is None, "the roster is written")
    stop.set()
    thread.join(5)
    reading = threading.Event()
    thread = run(seen.run, reading)
    until(lambda: seen.seen.roster_age > 0.2, "nobody renews it")
    blocks.error = OSError(errno.EIO, "I/O error")
    until(lambda: seen.seen.problem is not None, "it cannot be read")
    age = seen.seen.roster_age
    until(lambda: time.monotonic() - (seen.seen.at or 0) > 0.5, "time passes")
    assert seen.seen.roster_age == age
    reading.set()
    thread.join(5)
