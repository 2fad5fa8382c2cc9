# SPDX-License-Identifier: Apache-2.0
"""Ringing while the database is well, fails, and comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

import pytest

from vmha_remediator.api import ringer as module
from vmha_remediator.api.ringer import Ringer, Word
from vmha_remediator.errors import StoreUnavailable

ONE, OTHER = ("failure", "h1"), ("failure", "h2")


class Database:
    """Takes rows, or is away; keeps each transaction."""

    def __init__(self) -> None:
        self.away = False
        self.tried = 0
        self.transactions: list[list[Word]] = []

    def write(self, words: Collection[Word], source: str) -> None:
        self.tried += 1
        if self.away:
            raise StoreUnavailable("no answer in time")
        assert source == "webhook"
        self.transactions.append(list(words))

    def ringer(self, doorbell: threading.Event | None = None) -> Ringer:
        """Return one whose thread does nothing; the test flushes."""
        return Ringer(self.write, doorbell, lambda work: threading.current_thread())


def test_a_word_is_written_and_wakes_the_engine() -> None:
    database, doorbell = Database(), threading.Event()
    ringer = database.ringer(doorbell)

    ringer(*ONE)
    assert database.tried == 0 and not doorbell.is_set()  # nobody has waited for the database
    ringer.flush()

    assert database.transactions == [[ONE]]
    assert doorbell.is_set()


def test_an_end_in_order_waits_for_the_row_under_way_and_writes_the_rest() -> None:
    database, begun, go = Database(), threading.Event(), threading.Event()

    def slow(words: Collection[Word], source: str) -> None:
        begun.set()
        assert go.wait(20)
        database.write(words, source)

    ringer = Ringer(slow)
    ringer(*ONE)
    assert begun.wait(20)
    ringer(*OTHER)
    end = threading.Thread(target=ringer.finish)
    end.start()
    go.set()
    end.join(20)

    assert database.transactions == [[ONE], [OTHER]]


def test_an_end_without_a_database_says_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    database = Database()
    database.away = True
    ringer = database.ringer()
    ringer(*ONE)
    ringer.finish()
    assert "Calls of alarms are lost" in caplog.text


def test_a_storm_is_one_transaction_with_each_word_once() -> None:
    database = Database()
    ringer = database.ringer()

    for _ in range(1000):
        ringer(*ONE)
        ringer(*OTHER)
    ringer.flush()
    ringer.flush()

    assert database.transactions == [[ONE, OTHER]]


def test_what_is_said_while_the_database_writes_is_written_next() -> None:
    database = Database()
    ringer = database.ringer()
    write = database.write

    def slow(words: Collection[Word], source: str) -> None:
        ringer(*ONE)  # the alarm calls again: the engine may have looked just before
        write(words, source)

    ringer(*ONE)
    ringer._write = slow
    ringer.flush()
    ringer._write = write
    ringer.flush()

    assert database.transactions == [[ONE], [ONE]]


class TestAnAbsentDatabase:
    def test_callers_are_told_and_nobody_waits(self) -> None:
        database = Database()
        database.away = True
        ringer = database.ringer()
        ringer(*ONE)
        assert not ringer.flush()

        for _ in range(50):
            with pytest.raises(StoreUnavailable):
                ringer(*ONE)

        assert database.tried == 1

    def test_the_engine_is_woken_all_the_same(self) -> None:
        database, doorbell = Database(), threading.Event()
        database.away = True
        ringer = database.ringer(doorbell)
        ringer(*ONE)
        ringer.flush()
        assert doorbell.is_set()

        doorbell.clear()
        with pytest.raises(StoreUnavailable):
            ringer(*ONE)
        assert doorbell.is_set()

    def test_no_word_is_lost_and_the_door_is_open_again(self) -> None:
        database = Database()
        database.away = True
        ringer = database.ringer()
        ringer(*ONE)
        ringer.flush()
        with pytest.raises(StoreUnavailable):
            ringer(*OTHER)

        database.away = False
        assert ringer.flush()
        ringer(*ONE)

        assert database.transactions == [[ONE, OTHER]]

    def test_words_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_WORDS", 3)
        database = Database()
        ringer = database.ringer()

        for number in range(10):
            ringer("failure", f"h{number}")
        ringer.flush()

        assert len(database.transactions[0]) == 3


class TestItsThread:
    def test_writes_by_itself(self) -> None:
        written = threading.Event()
        ringer = Ringer(lambda words, source: written.set())

        ringer(*ONE)

        assert written.wait(60)

    def test_begins_with_the_first_word_and_again_after_a_fork(self) -> None:
        begun: list[Callable[[], None]] = []

        def begin(work: Callable[[], None]) -> threading.Thread:
            begun.append(work)
            return threading.Thread()  # not alive, as in a forked process

        ringer = Ringer(lambda words, source: None, None, begin)
        assert begun == []

        ringer(*ONE)
        ringer(*ONE)

        assert len(begun) == 2
