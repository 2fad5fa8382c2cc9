# SPDX-License-Identifier: Apache-2.0
"""Switching off and reading it back, with BMCs that answer as they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pytest

from vmha_remediator.errors import FencingError
from vmha_remediator.fencing.contract import Power
from vmha_remediator.fencing.deadline import Deadline
from vmha_remediator.fencing.poweroff import POLL, RESEND, Hopeless, Outcome, until_off

ON, OFF, UNKNOWN = Power.ON, Power.OFF, Power.UNKNOWN
Answer = Power | FencingError
T = TypeVar("T")


class Clock(Deadline):
    """A deadline whose time passes only while somebody sleeps."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.now = 0.0

    @property
    def elapsed(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Bmc:
    """Reads what it is told, the last answer for ever; counts what is asked of it."""

    def __init__(self, reads: Iterable[Answer], asks: Iterable[FencingError | None] = ()) -> None:
        self._reads, self._asks = _lasting(reads), _lasting([*asks] or [None])
        self.asked: list[float] = []
        self.clock = Clock(20)

    def read(self) -> Power:
        answer = next(self._reads)
        if isinstance(answer, FencingError):
            raise answer
        return answer

    def ask(self) -> None:
        self.asked.append(self.clock.now)
        answer = next(self._asks)
        if answer is not None:
            raise answer

    def off(self) -> Outcome:
        return until_off(
            "the BMC",
            "ask",
            ask=self.ask,
            read=self.read,
            deadline=self.clock,
            sleep=self.clock.sleep,
        )

    def reason(self) -> str:
        with pytest.raises(FencingError) as caught:
            self.off()
        return str(caught.value)


def _lasting(answers: Iterable[T]) -> Iterator[T]:
    *first, last = answers
    yield from first
    while True:
        yield last


def test_a_machine_that_is_off_already_is_read_twice_and_not_asked() -> None:
    bmc = Bmc([OFF])

    assert bmc.off().told("ask") == "was already off, read 2 times"
    assert bmc.asked == []


def test_one_that_is_on_is_asked_once_and_read_until_it_is_off() -> None:
    bmc = Bmc([ON, ON, ON, OFF])

    assert bmc.off().asked == 1
    assert bmc.asked == [0.0]


def test_a_single_reading_of_off_is_not_believed() -> None:
    bmc = Bmc([OFF, ON, OFF, ON, OFF])

    assert bmc.off().asked == 1


def test_it_is_asked_again_after_a_while() -> None:
    bmc = Bmc([ON])

    assert bmc.reason().startswith("the BMC: it still reads on; given up after 4 ask(s)")
    assert [round(at / RESEND) for at in bmc.asked] == [0, 1, 2, 3]


def test_readings_that_contradict_each_other_are_told_as_such() -> None:
    bmc = Bmc([OFF, ON] * 100)

    assert "its readings contradict each other (off, then not off, " in bmc.reason()


def test_an_unknown_state_is_never_off() -> None:
    assert "it still reads unknown" in Bmc([UNKNOWN]).reason()


@pytest.mark.parametrize(
    ("bmc", "says"),
    [
        (lambda: Bmc([FencingError("mute")]), "the BMC: mute; given up after"),
        (lambda: Bmc([ON, FencingError("mute")]), "it still reads on, then mute; given up"),
        (
            lambda: Bmc([ON, FencingError("hiccup"), ON]),
            "it still reads on; before that: hiccup; given up",
        ),
        (
            lambda: Bmc([ON], [FencingError("busy")]),
            "it still reads on, then the request fails: busy; given up",
        ),
        (lambda: Bmc([ON], [FencingError("busy"), None]), "it still reads on; given up"),
    ],
)
def test_what_went_wrong_is_told(bmc: Callable[[], Bmc], says: str) -> None:
    assert says in bmc().reason()


def test_a_request_that_fails_may_have_worked() -> None:
    assert Bmc([ON, ON, OFF], [FencingError("its answer was lost")]).off().asked == 1


def test_a_machine_that_cannot_be_read_is_asked_all_the_same() -> None:
    bmc = Bmc([FencingError("mute"), FencingError("mute"), OFF])

    assert bmc.off().asked == 1


@pytest.mark.parametrize(
    "bmc", [Bmc([Hopeless("no such node")]), Bmc([ON], [Hopeless("no such node")])]
)
def test_what_no_repetition_heals_ends_it_at_once(bmc: Bmc) -> None:
    assert bmc.reason() == "no such node"
    assert bmc.clock.now == 0.0


def test_a_reading_that_fails_in_between_begins_the_count_anew() -> None:
    lost = FencingError("no answer")
    bmc = Bmc([OFF, lost, OFF, lost, OFF, OFF])
    # Six readings; it was asked at once after the first that failed, which costs no pause.
    assert bmc.off().seconds == pytest.approx(4 * POLL)
