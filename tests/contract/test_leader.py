# SPDX-License-Identifier: Apache-2.0
"""Who leads, with the real lock services: one at a time, and soon another when it dies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.contract import servers
from tests.contract.leading import leaders, quick, won
from tests.lab.process import wait_for

#: Leads, says so, and stays until it is killed.
OTHER = """
import sys, time
from vmha_remediator.engine.leader import Leader
leader = Leader(sys.argv[1], "other")
while leader.hold() is None:
    time.sleep(0.1)
print("leads", flush=True)
while True:
    leader.hold()
    time.sleep(0.2)
"""


@contextmanager
def another(url: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process lead; it is killed at the end at the latest."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "leads\n"
        yield process
    finally:
        process.kill()
        process.wait(10)


def test_one_leads_until_it_gives_it_back(lock_service: servers.Server) -> None:
    with leaders(lock_service.address, "one", "two") as (one, two):
        first = won(one)
        assert two.hold() is None
        assert one.hold() == first
        one.stop()
        assert won(two)
        assert one.hold() is None


def test_a_killed_leader_is_followed_when_its_lock_expires(lock_service: servers.Server) -> None:
    url = quick(lock_service.address)
    with another(url) as process, leaders(url, "two") as (two,):
        assert two.hold() is None
        process.kill()
        assert won(two)


def test_engines_on_one_machine_follow_a_killed_one_at_once(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    with another(url) as process, leaders(url, "two") as (two,):
        assert two.hold() is None
        process.kill()
        process.wait(10)
        assert won(two)


def test_a_leader_goes_on_while_the_service_is_away_and_nobody_takes_over(
    lock_service: servers.Server,
) -> None:
    with leaders(lock_service.address, "one", "two") as (one, two):
        number = won(one)
        assert two.hold() is None
        lock_service.stop()
        assert one.hold() == number
        assert one.trouble
        assert two.hold() is None
        assert two.trouble


def test_a_leader_that_gave_up_does_not_come_back_without_the_service(
    lock_service: servers.Server,
) -> None:
    with leaders(lock_service.address, "one") as (one,):
        number = won(one)
        lock_service.stop()
        assert one.hold() == number
        one.stop()  # what the engine does when the database says that another one leads
        assert one.hold() is None


def test_after_the_service_has_forgotten_everything_one_leads_again(
    lock_service: servers.Server,
) -> None:
    with leaders(quick(lock_service.address), "one", "two") as (one, two):
        number = won(one)
        lock_service.kill()
        assert one.hold() == number
        lock_service.start()

        def held() -> list[int | None]:
            return [one.hold(), two.hold()]

        wait_for(lambda: held().count(None) == 1, "exactly one to lead", 30, interval=0.5)
        assert held().count(None) == 1
