# SPDX-License-Identifier: Apache-2.0
"""A leader hangs until its lock is gone, or the lock service does: the database decides."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.contract import servers
from tests.contract.leading import LOCK, leaders, quick, won
from tests.lab.process import wait_for
from vmha_remediator.effects.clock import SystemClock
from vmha_remediator.engine.helm import Helm
from vmha_remediator.engine.leader import Leader
from vmha_remediator.errors import StaleEpoch
from vmha_remediator.store import Store
from vmha_remediator.store.database import Database

#: An engine of another process: it tells what becomes of its lead.
OTHER = """
import sys, time
from vmha_remediator.effects.clock import SystemClock
from vmha_remediator.engine.helm import Helm
from vmha_remediator.engine.leader import Leader
from vmha_remediator.errors import StaleEpoch
from vmha_remediator.store import Store
from vmha_remediator.store.database import Database
helm = Helm(Store(Database(sys.argv[2])), Leader(sys.argv[1], "other"), SystemClock(), "other")
said = ""
while True:
    try:
        epoch = helm.take()
        if epoch is not None:
            helm.store.say(epoch, "other")
        now = "stands by" if epoch is None else "leads"
    except StaleEpoch:
        helm.step_down()
        now = "is refused"
    if now != said:
        print(now, flush=True)
        said = now
    time.sleep(0.1)
"""


@pytest.fixture
def store(mariadb: servers.Server) -> Iterator[Store]:
    """A store that engines share."""
    database = Database(mariadb.address, busy=3, connect=2)
    database.upgrade()
    yield Store(database)
    database.dispose()


@contextmanager
def another(lock: str, database: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process lead; it is killed at the end at the latest."""
    words = [sys.executable, "-c", OTHER, lock, database]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: _line(process) == "leads", "the other to lead", 20)
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _helm(leader: Leader, store: Store) -> Helm:
    return Helm(store, leader, SystemClock(), leader._name)


def _says(helm: Helm) -> bool:
    """Do what an engine does in a cycle; tell whether it leads."""
    try:
        epoch = helm.take()
        if epoch is not None:
            helm.store.say(epoch, helm.name)
    except StaleEpoch:
        helm.step_down()
    return helm.epoch is not None


def test_a_leader_that_hung_until_its_lock_was_gone_is_refused(
    lock_service: servers.Server, mariadb: servers.Server, store: Store
) -> None:
    lock = quick(lock_service.address)
    with another(lock, mariadb.address) as other, leaders(lock, "two") as (two,):
        other.send_signal(signal.SIGSTOP)
        helm = _helm(two, store)
        wait_for(lambda: _says(helm), "the second one to lead", 20, interval=0.2)
        other.send_signal(signal.SIGCONT)
        ends = {_line(other)}
        if ends == {"is refused"}:  # etcd does not tell who holds a lock; the database does
            ends = {_line(other)}
        assert ends == {"stands by"}
        assert _says(helm)
        leader = store.leader()
        assert leader is not None
        assert (leader.owner, leader.said) == ("two", "two")


def test_a_hanging_service_deposes_nobody(lock_service: servers.Server) -> None:
    with leaders(lock_service.address, "one", "two") as (one, two):
        number = won(one)
        assert two.hold() is None
        lock_service.freeze(True)
        try:
            assert one.hold() == number
            assert "does not answer" in one.trouble
            assert two.hold() is None
            assert two.trouble
        finally:
            lock_service.freeze(False)
        wait_for(lambda: one.hold() == number and not one.trouble, "it to answer", 20)
        assert two.hold() is None


def test_when_the_service_hung_for_longer_than_a_lock_lasts_one_leads_in_the_end(
    lock_service: servers.Server, store: Store
) -> None:
    with leaders(quick(lock_service.address), "one", "two") as found:
        helms = [_helm(leader, store) for leader in found]

        def leading() -> list[str]:
            return [helm.name for helm in helms if _says(helm)]

        wait_for(lambda: leading() == ["one"], "one to lead", 20, interval=0.2)
        lock_service.freeze(True)
        try:
            began = time.monotonic()
            while time.monotonic() - began < LOCK + 0.5:
                assert leading() == ["one"]  # it goes on: nobody could have taken over
        finally:
            lock_service.freeze(False)
        wait_for(
            lambda: len({tuple(leading()) for _ in range(5)}) == 1 == len(leading()),
            "one to lead for good", 40, interval=0.2,
        )  # fmt: skip
        epoch = next(helm.epoch for helm in helms if helm.epoch is not None)
        leader = store.leader()
        assert leader is not None
        assert leader.epoch == epoch
        with pytest.raises(StaleEpoch):
            store.say(epoch - 1, "too late")
