# SPDX-License-Identifier: Apache-2.0
"""When the watchdog is fed: on grounds, or when nobody relies on it; never otherwise."""

from __future__ import annotations

import pytest

from vmha_pollsters.agent.watchdog import feeding
from vmha_pollsters.agent.watchdog.feeding import Known, decide, looked

WINDOW = 8.0


def fed(known: Known, now: float) -> bool:
    return decide(known, now, WINDOW).feed


@pytest.mark.parametrize(
    ("age", "feeds"), [(0.0, True), (8.0, True), (8.1, False), (3600.0, False)]
)
def test_grounds_last_for_the_window_and_no_longer(age: float, feeds: bool) -> None:
    known = Known(promised=1000.0 - age, grounds=1000.0 - age)
    assert fed(known, 1000.0) is feeds


def test_only_fresh_grounds_allow_a_promise() -> None:
    assert decide(Known(promised=0.0, grounds=99.0), 100.0, WINDOW).may_promise
    assert not decide(Known(promised=0.0, grounds=90.0), 100.0, WINDOW).may_promise
    assert not decide(Known(promised=0.0, grounds=99.0), 100.0, WINDOW, closing=True).may_promise


def test_a_feeder_that_has_just_started_relies_on_nothing() -> None:
    """An earlier one may have let an agent promise; nothing is known until the slot was read."""
    assert not fed(Known(promised=100.0, gone=100.0), 100.5)


class TestAgentKilled:
    """Killed at 100; its slot promised a reset. The storage decides."""

    KILLED = Known(promised=99.9, grounds=99.0, gone=100.0)

    def test_its_host_lives_on_once_the_promise_is_taken_back(self) -> None:
        known = looked(self.KILLED, 101.0, unarmed=True)
        assert fed(known, 108.9)
        known = looked(known, 108.0, unarmed=True)
        assert fed(known, 116.0)

    def test_for_ever_when_its_last_writes_have_settled(self) -> None:
        known = looked(self.KILLED, 110.1, unarmed=True)
        assert fed(known, 1e6)

    def test_it_is_reset_when_the_promise_cannot_be_taken_back(self) -> None:
        known = looked(self.KILLED, 101.0, unarmed=False)
        assert fed(known, 107.0)
        assert not fed(known, 107.1)

    def test_a_look_from_before_its_death_does_not_count(self) -> None:
        known = looked(self.KILLED, 99.95, unarmed=True)
        assert not fed(known, 107.5)

    def test_a_promise_that_turns_up_later_unsettles_it(self) -> None:
        known = looked(looked(self.KILLED, 111.0, unarmed=True), 121.0, unarmed=False)
        assert not fed(known, 121.5)

    def test_a_new_agent_without_grounds_yet_costs_nothing(self) -> None:
        settled = looked(self.KILLED, 111.0, unarmed=True)
        known = Known(settled.promised, settled.grounds, None, settled.unarmed, settled.settled)
        assert fed(known, 500.0)

    def test_a_new_promise_binds_again(self) -> None:
        settled = looked(self.KILLED, 111.0, unarmed=True)
        known = Known(500.0, 500.0, None, settled.unarmed, settled.settled)
        assert not fed(known, 508.1)


class TestAgentStopped:
    """Standing still since 100, its line open: it may write its promise when it goes on."""

    STOPPED = Known(promised=100.0, grounds=100.0)

    def test_its_host_lives_on_while_looks_find_no_promise(self) -> None:
        known = looked(self.STOPPED, 103.0, unarmed=True)
        assert fed(known, 111.0)
        assert not fed(known, 111.1)

    def test_no_look_settles_it(self) -> None:
        assert looked(self.STOPPED, 200.0, unarmed=True).settled is None


def test_a_host_cut_off_from_everything_starves() -> None:
    """The agent lives and says that it has no grounds; the slot cannot be reached either."""
    known = looked(Known(promised=103.0, grounds=100.0), 106.0, unarmed=False)
    assert [fed(known, t) for t in (107.0, 108.0, 108.5, 120.0)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("known", "closing", "wanted"),
    [
        (Known(promised=99.5), False, False),
        (Known(promised=97.0), False, True),
        (Known(promised=99.9, gone=99.95), False, True),
        (Known(promised=99.5), True, True),
    ],
    ids=["promised just now", "silent", "gone", "closing"],
)
def test_when_the_slot_is_looked_at(known: Known, closing: bool, wanted: bool) -> None:
    assert feeding.wants_look(known, 100.0, closing) is wanted
