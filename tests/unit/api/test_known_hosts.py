# SPDX-License-Identifier: Apache-2.0
"""Which hosts are let in, while lists of hosts come, age and fail to come."""

from __future__ import annotations

from collections.abc import Callable

from vmha_remediator.api.known_hosts import FRESH, KnownHosts
from vmha_remediator.errors import TelemetryUnavailable


class World:
    """A clock, work that waits to be done aside, and telemetry that may be away."""

    def __init__(self, *hosts: str) -> None:
        self.now = 0.0
        self.hosts = set(hosts)
        self.away = False
        self.waiting: list[Callable[[], None]] = []

    def fetch(self) -> set[str]:
        if self.away:
            raise TelemetryUnavailable("Gnocchi: no answer")
        return set(self.hosts)

    def known(self) -> KnownHosts:
        return KnownHosts(self.fetch, clock=lambda: self.now, aside=self.waiting.append)

    def work(self) -> int:
        done = len(self.waiting)
        for job in self.waiting:
            job()
        self.waiting.clear()
        return done


def test_before_the_first_list_everybody_is_let_in_and_the_list_is_fetched() -> None:
    world = World("h1")
    known = world.known()

    assert known("h1") and known("h9")
    assert world.work() == 1


def test_a_fresh_list_refuses_who_is_not_on_it() -> None:
    world = World("h1")
    known = world.known()
    known("h1")
    world.work()

    assert known("h1")
    assert not known("h9")
    assert world.work() == 0


def test_an_old_list_refuses_nobody_and_is_fetched_again() -> None:
    world = World("h1")
    known = world.known()
    known("h1")
    world.work()
    world.hosts.add("h9")
    world.now += FRESH

    assert known("h9")
    assert world.work() == 1
    assert known("h9")


def test_while_telemetry_is_away_everybody_is_let_in_and_it_is_asked_seldom() -> None:
    world = World("h1")
    world.away = True
    known = world.known()

    assert known("h9")
    assert world.work() == 1
    assert known("h9")
    assert world.work() == 0
