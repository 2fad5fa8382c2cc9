# SPDX-License-Identifier: Apache-2.0
"""The proof by waiting: what a silence must look like, and how long it must last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from vmha_remediator.errors import RuleError
from vmha_remediator.rules import starved, timing
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.rules.starved import Conclusion, Finding, Step, conclude

LIMITS = Thresholds()
T0 = 1_000_000.0
PROMISE = 36.5
#: 36.5 * 1.01 + 5
NEEDED = 41.865


def well(n: int) -> Step:
    return Step(T0 + 10 * n, 0.3, 1.5, 1.0, (PROMISE, PROMISE), most_renew=True)


def silent(n: int, since: int) -> Step:
    age = 10.0 * (n - since) + 8.0
    return Step(T0 + 10 * n, age, age, 0.0, (PROMISE, PROMISE), most_renew=True)


def story(silent_steps: int) -> list[Step]:
    """Three steps of a living host, then so many of a silent one."""
    return [*(well(n) for n in range(3)), *(silent(n, 3) for n in range(3, 3 + silent_steps))]


def judge(steps: list[Step], now: float | None = None) -> Conclusion:
    return conclude("h1", steps, now or (steps[-1].at + 9 if steps else T0), LIMITS)


def test_the_sum_and_every_term_are_shown() -> None:
    found = judge(story(7))
    assert found.finding is Finding.RESET
    assert found.sentence == (
        "h1 had an armed watchdog, and for 50 s every reading shows heartbeat and lease gone and "
        "no answer; 41.9 s are enough (promise 36.5 s + clock rates 0.4 s + margin 5.0 s)"
    )


@pytest.mark.parametrize("steps", range(1, 7))
def test_a_shorter_silence_proves_nothing_yet(steps: int) -> None:
    found = judge(story(steps))
    assert found.finding is Finding.NOT_YET
    assert found.missing == pytest.approx(NEEDED - 10 * (steps - 2), abs=10.0)


def test_no_readings_no_proof() -> None:
    assert judge([]).finding is Finding.NEVER


@pytest.mark.parametrize("promise", [None, (0.0, 0.0)])
def test_a_host_whose_last_word_was_that_none_is_armed(
    promise: tuple[float, float] | None,
) -> None:
    steps = story(9)
    steps[-1] = replace(steps[-1], watchdog=promise)
    assert judge(steps).finding is Finding.NEVER


def test_one_that_was_armed_within_the_newest_step_is_waited_for() -> None:
    steps = story(9)
    steps[-1] = replace(steps[-1], watchdog=(0.0, PROMISE))
    assert judge(steps).finding is Finding.NOT_YET


def test_old_readings_say_nothing_about_now() -> None:
    steps = story(9)
    assert judge(steps, steps[-1].at + 23.0).finding is Finding.NOT_YET


DOUBTS: dict[str, Callable[[Step], Step]] = {
    "heard once": lambda s: replace(s, heartbeat=1.0),
    "renewed once": lambda s: replace(s, lease=2.0),
    "answered once": lambda s: replace(s, reachable=1.0),
    "heartbeat not known": lambda s: replace(s, heartbeat=None),
    "lease not known": lambda s: replace(s, lease=None),
    "reachability not known": lambda s: replace(s, reachable=None),
    "promise taken back for a moment": lambda s: replace(s, watchdog=(0.0, PROMISE)),
    "another promise": lambda s: replace(s, watchdog=(20.0, 20.0)),
    "a longer promise in its middle": lambda s: replace(s, watchdog=(PROMISE, 60.0)),
    "storage gone for the many": lambda s: replace(s, most_renew=False),
    "no readings in between": lambda s: replace(s, at=s.at - 3.0),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_one_doubt_within_the_wait_and_it_begins_anew(doubt: str) -> None:
    steps = story(7)
    assert judge(steps).finding is Finding.RESET
    steps[6] = DOUBTS[doubt](steps[6])
    assert judge(steps).finding is not Finding.RESET


def test_a_gap_in_the_readings_is_no_silence() -> None:
    steps = story(8)
    del steps[6]
    assert judge(steps).finding is not Finding.RESET


def test_a_host_that_had_long_been_silent_may_have_rebooted() -> None:
    """Its agent was dead while it was up; the promise in its slot is of an earlier boot."""
    steps = [
        replace(s, heartbeat=(s.heartbeat or 0) + 40, lease=(s.lease or 0) + 40) for s in story(9)
    ]
    found = judge(steps)
    assert found.finding is Finding.NEVER
    assert "may have rebooted since" in found.sentence


def test_a_host_that_lives_is_not_waited_for() -> None:
    assert judge([well(n) for n in range(4)]).finding is Finding.NEVER
    assert judge([well(n) for n in range(3)]).finding is Finding.NOT_YET


def test_an_operator_may_wait_longer_but_not_shorter() -> None:
    steps = story(8)
    patient = conclude("h1", steps, steps[-1].at, LIMITS, wait=120.0)
    assert (patient.finding, patient.missing) == (Finding.NOT_YET, 60.0)
    with pytest.raises(RuleError, match=r"a wait of 30 s is too short .* takes 41.9 s \(promise"):
        conclude("h1", steps, steps[-1].at, LIMITS, wait=30.0)
    with pytest.raises(RuleError, match="a margin of 1 s is below the least, 5 s"):
        conclude("h1", steps, steps[-1].at, LIMITS, margin=1.0)


@pytest.mark.parametrize("short", [0.01, 0.5, 5.0])
def test_not_even_a_little_is_taken_off_the_sum(short: float) -> None:
    terms = timing.reset_terms(PROMISE)
    assert timing.waiting(terms, wanted=NEEDED + 0.001) == NEEDED + 0.001
    with pytest.raises(RuleError, match="is too short to prove anything"):
        timing.waiting(terms, wanted=NEEDED - short)


@pytest.mark.parametrize(
    ("leases", "most"),
    [([1.0, 1.0, 9.0, None], False), ([1.0, 1.0, 1.0, 9.0], True), ([], False)],
)
def test_more_than_half_have_to_renew(leases: list[float | None], most: bool) -> None:
    assert starved.most_renew(leases, LIMITS) is most


def test_every_term_of_the_promise_is_explained() -> None:
    terms = timing.promise_terms(10.0)
    assert [term.seconds for term in terms] == [2.0, 6.0, 8.5, 10.0, 10.0]
    assert all(len(term.why) > 20 for term in terms)
    assert timing.promise(10.0) == PROMISE


def test_longer_intervals_and_time_outs_promise_less() -> None:
    assert timing.promise(30.0) == PROMISE + 40.0
    assert timing.promise(10.0, lease=4.0) == PROMISE + 13.0
    assert timing.promise(10.0, heartbeat=2.0) == PROMISE + 3.5
