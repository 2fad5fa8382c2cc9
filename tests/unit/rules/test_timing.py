# SPDX-License-Identifier: Apache-2.0
"""How long a detection takes, and values that cannot work together."""

from __future__ import annotations

import pytest

from vmha_remediator.errors import RuleError
from vmha_remediator.rules import timing
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.rules.timing import Intervals


def test_by_default_a_death_is_judged_within_fifteen_seconds_and_a_bit() -> None:
    typical, worst = timing.total(timing.detection())
    assert (round(typical, 1), round(worst, 1)) == (10.3, 15.0)


def test_the_slower_of_heartbeat_and_lease_counts() -> None:
    slow_heartbeat = timing.detection(Thresholds(heartbeat_age=30))
    assert (slow_heartbeat[0].name, slow_heartbeat[0].typical) == ("heartbeat age", 29.5)
    slow_lease = timing.detection(Thresholds(lease_age=30))
    assert (slow_lease[0].name, slow_lease[0].worst) == ("lease age", 32)


def test_every_term_is_explained_and_never_worse_than_its_worst() -> None:
    for term in timing.detection():
        assert 0 < term.typical <= term.worst
        assert len(term.why) > 20


def test_a_larger_cloud_is_evaluated_more_slowly() -> None:
    small, large = (timing.total(timing.detection(None, Intervals(hosts=n))) for n in (4, 400))
    assert large[1] - small[1] == pytest.approx(396 * 5 * 0.010)


def test_the_window_holds_three_publications_of_a_well_host() -> None:
    assert timing.window() == 20
    assert timing.oldest_reading() == 30
    timing.check(Thresholds(), Intervals())
    with pytest.raises(RuleError, match="window of 20 s holds fewer than 3 publications"):
        timing.check(Thresholds(), Intervals(publish_well=7))


@pytest.mark.parametrize(
    ("slow", "complaint"),
    [
        (Intervals(heartbeat=2), "heartbeat_age of 5 s"),
        (Intervals(lease=3), "lease_age of 8 s"),
    ],
)
def test_a_threshold_below_three_intervals_is_refused(slow: Intervals, complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        timing.check(Thresholds(), slow)
