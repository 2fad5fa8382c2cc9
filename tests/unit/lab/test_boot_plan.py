# SPDX-License-Identifier: Apache-2.0
"""Which VM goes where, and which of them ask for protection."""

from __future__ import annotations

from collections import Counter

from tests.lab.boot import mixed, plan

HOSTS = ("h1", "h2", "h3", "h4")


def test_twelve_mixed_are_two_tagged_and_one_plain_a_host() -> None:
    plans = plan(12, HOSTS, mixed, "vm", set())

    assert Counter(p.host for p in plans) == dict.fromkeys(HOSTS, 3)
    assert Counter(p.host for p in plans if p.tagged) == dict.fromkeys(HOSTS, 2)


def test_names_go_on_from_those_there_are() -> None:
    plans = plan(2, HOSTS, lambda turn: True, "vm", {"vm-1", "vm-3", "db-2"})

    assert [p.name for p in plans] == ["vm-2", "vm-4"]
