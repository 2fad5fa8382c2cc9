# SPDX-License-Identifier: Apache-2.0
"""Where evacuations wait that nobody has begun: asked when it matters, once, without harm."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from tests.unit.engine.sim import VirtualClock
from tests.unit.remedy.build import facts, incident
from vmha_remediator.engine.ports import Cloud
from vmha_remediator.engine.queues import PAUSE, Queues
from vmha_remediator.errors import CloudUnavailable
from vmha_remediator.remedy.facts import Facts, Migration
from vmha_remediator.remedy.incident import VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy

POLICY = Policy()
CAUGHT = incident("evacuating", vms=(VmRecord("id-a", "a", "h1", status=VmStatus.MOVING),))


@dataclass
class Books:
    """What Nova and Placement tell, with a note of each question."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    hosts: frozenset[str] = frozenset()
    away: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def queued_at(self, server_id: str, source: str) -> frozenset[str]:
        self.asked.append((server_id, source))
        if self.away:
            raise CloudUnavailable("Placement cannot be reached")
        return self.hosts

    def facts(self, age: float, *fenced: str) -> Facts:
        lost = Migration("m1", "id-a", "h1", None, "accepted", self.clock.now() - age)
        known = facts()
        assert known.cluster is not None
        off = replace(known.cluster, fenced=frozenset(fenced))
        return replace(known, migrations=(lost,), cluster=off)


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def queues(books: Books) -> Queues:
    return Queues(cast(Cloud, books), books.clock, POLICY)


@pytest.mark.parametrize(
    ("age", "fenced", "times"),
    [
        (1.0, ("h1",), 0),
        (1.0, ("h1", "h2"), 1),
        (POLICY.begin_wait + 1, ("h1",), 1),
    ],
)
def test_it_is_asked_once_another_host_is_off_or_it_takes_long(
    queues: Queues, books: Books, age: float, fenced: tuple[str, ...], times: int
) -> None:
    queues.look(CAUGHT, books.facts(age, *fenced))
    assert books.asked == [("id-a", "h1")] * times


def test_what_is_known_is_not_asked_again(queues: Queues, books: Books) -> None:
    books.hosts = frozenset({"h2"})
    for _ in range(3):
        assert queues.look(CAUGHT, books.facts(1.0, "h1", "h2")) == {"m1": {"h2"}}
        books.clock.time += PAUSE
    assert len(books.asked) == 1


def test_what_is_not_known_is_asked_again_after_a_while(queues: Queues, books: Books) -> None:
    books.away = True
    waits = books.facts(1.0, "h1", "h2")
    assert queues.look(CAUGHT, waits) == {"m1": frozenset()}
    books.away, books.hosts = False, frozenset({"h2"})
    assert queues.look(CAUGHT, waits) == {"m1": frozenset()}
    books.clock.time += PAUSE
    assert queues.look(CAUGHT, waits) == {"m1": {"h2"}}
