# SPDX-License-Identifier: Apache-2.0
"""Ringing while the database is well, fails, and comes back."""

from __future__ import annotations

import threading

import pytest

from vmha_remediator.api.ringer import Ringer
from vmha_remediator.api.webhook import RETRY_AFTER
from vmha_remediator.errors import StoreUnavailable


class Database:
    """Takes rows, or is away; counts how often it was tried."""

    def __init__(self) -> None:
        self.away = False
        self.now = 100.0
        self.tried = 0
        self.rows: list[tuple[str, str, str]] = []

    def write(self, rule: str, host: str, source: str) -> None:
        self.tried += 1
        if self.away:
            raise StoreUnavailable("no answer in time")
        self.rows.append((rule, host, source))

    def ringer(self, doorbell: threading.Event | None = None) -> Ringer:
        return Ringer(self.write, doorbell, lambda: self.now)


def refused(ringer: Ringer) -> bool:
    try:
        ringer("failure", "h1")
    except StoreUnavailable:
        return True
    return False


def test_a_ring_is_written_and_wakes_the_engine() -> None:
    database, doorbell = Database(), threading.Event()

    database.ringer(doorbell)("failure", "h1")

    assert database.rows == [("failure", "h1", "webhook")]
    assert doorbell.is_set()


def test_a_ring_that_cannot_be_written_wakes_the_engine_all_the_same() -> None:
    database, doorbell = Database(), threading.Event()
    database.away = True
    ringer = database.ringer(doorbell)

    for _ in range(2):  # the second is refused without being tried
        doorbell.clear()
        with pytest.raises(StoreUnavailable):
            ringer("failure", "h1")
        assert doorbell.is_set()


def test_after_a_failure_the_database_is_tried_once_in_a_while_and_nobody_waits_for_it() -> None:
    database = Database()
    database.away = True
    ringer = database.ringer()

    assert [refused(ringer) for _ in range(50)] == [True] * 50
    assert database.tried == 1

    database.now += RETRY_AFTER
    assert [refused(ringer) for _ in range(50)] == [True] * 50
    assert database.tried == 2


def test_when_it_is_back_the_first_try_opens_the_door_for_all() -> None:
    database = Database()
    database.away = True
    ringer = database.ringer()
    assert refused(ringer)

    database.away = False
    assert refused(ringer)
    database.now += RETRY_AFTER

    assert [refused(ringer) for _ in range(3)] == [False] * 3


def test_while_one_caller_hangs_at_a_failed_database_the_others_are_refused() -> None:
    database = Database()
    database.away = True
    inside, go_on = threading.Event(), threading.Event()

    def hang(rule: str, host: str, source: str) -> None:
        if database.tried:
            inside.set()
            assert go_on.wait(60)
        database.write(rule, host, source)

    ringer = Ringer(hang, None, lambda: database.now)
    assert refused(ringer)
    database.now += RETRY_AFTER
    prober = threading.Thread(target=refused, args=(ringer,))
    prober.start()
    assert inside.wait(60)

    assert [refused(ringer) for _ in range(5)] == [True] * 5
    go_on.set()
    prober.join()
    assert database.tried == 2
