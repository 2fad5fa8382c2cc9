# SPDX-License-Identifier: Apache-2.0
"""Pace of publication: at once when it matters, every six seconds when all is well."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from vmha_pollsters.pace import Pace


def published(place: int, cycles: Sequence[float], urgent: Sequence[float] = ()) -> list[float]:
    pace = Pace()
    return [now for now in cycles if pace.is_due("h", place, now in urgent, now)]


CYCLES = [2.0 * n for n in range(12)]


@pytest.mark.parametrize(
    ("place", "times"), [(0, [0, 2, 8, 14, 20]), (1, [0, 4, 10, 16, 22]), (2, [0, 6, 12, 18])]
)
def test_hosts_are_spread_over_the_cycles(place: int, times: list[float]) -> None:
    assert published(place, CYCLES) == times


def test_no_two_publications_are_further_apart_than_six_seconds_with_jitter() -> None:
    shaky = [2.0 * n + (0.4 if n % 3 else -0.4) for n in range(40)]
    for place in range(3):
        times = published(place, shaky)
        assert max(b - a for a, b in pairwise(times)) <= 6.8


def test_a_suspect_host_is_published_in_every_cycle() -> None:
    assert published(2, CYCLES[:6], urgent=CYCLES) == CYCLES[:6]


def test_a_missed_cycle_does_not_lead_to_a_burst() -> None:
    assert published(0, [0.0, 2.0, 40.0, 42.0, 44.0, 46.0]) == [0.0, 2.0, 40.0, 46.0]


def test_a_host_that_comes_back_is_published_at_once() -> None:
    pace = Pace()
    assert pace.is_due("h", 0, False, 0.0)
    pace.forget_all_but(set())
    assert pace.is_due("h", 0, False, 1.0)
