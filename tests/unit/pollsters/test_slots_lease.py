# SPDX-License-Identifier: Apache-2.0
"""The slots lease driver: ages grow by successful looks only, and never by accident."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import pytest

from vmha_pollsters.lease.contract import Sight, Table
from vmha_pollsters.lease.layout import Header, Slot
from vmha_pollsters.lease.slots import SlotsLease

AREA, OTHER_AREA = uuid.UUID(int=1), uuid.UUID(int=2)


def slot(sequence: int, nonce: bytes = b"a" * 16, generation: int = 1) -> Slot:
    return Slot(0, "h1", "192.0.2.1", AREA, nonce, generation, sequence)


class Story:
    """Looks of 0.1 s each at one slot, renewals every 2 s being normal."""

    def __init__(self) -> None:
        self.driver = SlotsLease(SimpleNamespace(lease_interval=2.0))

    def look(self, at: float, what: Slot | str, area: uuid.UUID = AREA) -> Sight:
        slots = {0: what} if isinstance(what, Slot) else {}
        damaged = {0: what} if isinstance(what, str) else {}
        sequences = {n: slot.sequence for n, slot in slots.items()}
        table = Table(at, at + 0.1, Header("c", area, 4), None, slots, sequences, damaged)
        return self.driver.look(table)[0]


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_lease_is_unknown_until_a_renewal_was_seen(story: Story) -> None:
    assert story.look(0.0, slot(1)).age is None
    assert story.look(1.0, slot(1)).age is None
    assert story.look(2.0, slot(2)).age == 0.0
    assert story.look(3.0, slot(2)).age == pytest.approx(0.9)


def test_the_age_counts_from_the_end_of_one_look_to_the_beginning_of_another(
    story: Story,
) -> None:
    story.look(0.0, slot(1))
    story.look(2.0, slot(2))
    seen = story.look(12.0, slot(2))
    assert seen.age == pytest.approx(9.9)
    assert seen.seen == 12.0


def test_a_lease_never_renewed_is_known_after_long_watching(story: Story) -> None:
    story.look(0.0, slot(1))
    assert story.look(16.0, slot(1)).age is None
    assert story.look(16.2, slot(1)).age == pytest.approx(16.1)


def test_a_change_seen_after_a_pause_does_not_say_when_it_was(story: Story) -> None:
    story.look(0.0, slot(1))
    story.look(2.0, slot(2))
    assert story.look(100.0, slot(30)).age is None, "it may have died 90 s ago"
    assert story.look(102.0, slot(31)).age == 0.0


def test_the_same_content_after_a_pause_is_old_indeed(story: Story) -> None:
    story.look(0.0, slot(1))
    story.look(2.0, slot(2))
    assert story.look(100.0, slot(2)).age == pytest.approx(97.9)


def test_a_damaged_slot_is_unknown_and_says_why(story: Story) -> None:
    story.look(0.0, slot(1))
    story.look(2.0, slot(2))
    assert story.look(3.0, "checksum") == Sight(None, 3.0, "checksum")
    assert story.look(4.0, slot(3)).age == 0.0


def test_an_area_made_anew_forgets_everything(story: Story) -> None:
    story.look(0.0, slot(1))
    story.look(2.0, slot(2))
    assert story.look(30.0, slot(2), OTHER_AREA).age is None


def test_two_hosts_on_one_slot_are_noticed(story: Story) -> None:
    story.look(0.0, slot(1, b"a" * 16))
    story.look(1.0, slot(1, b"b" * 16))
    fought = story.look(2.0, slot(2, b"a" * 16))
    assert fought == Sight(None, 2.0, "slot 0: two hosts write it")
    for second in range(3, 34):
        last = story.look(float(second), slot(second, b"a" * 16))
    assert last == Sight(0.0, 33.0), "the fight is over"


def test_a_restart_of_the_owner_is_no_fight(story: Story) -> None:
    story.look(0.0, slot(1, b"a" * 16))
    story.look(2.0, slot(2, b"a" * 16))
    assert story.look(4.0, slot(1, b"b" * 16, generation=2)) == Sight(0.0, 4.0)
