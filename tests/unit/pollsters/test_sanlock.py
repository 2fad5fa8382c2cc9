# SPDX-License-Identifier: Apache-2.0
"""The sanlock lease driver on what a daemon prints: whom it believes, and when nobody."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import pytest

from vmha_pollsters.lease.contract import Sight, Table
from vmha_pollsters.lease.layout import Header, Slot
from vmha_pollsters.lease.sanlock import SanlockLease
from vmha_remediator.errors import LeaseError

AREA = uuid.UUID(int=1)


def record(number: int, name: str, stamp: int, checked: int, generation: int = 1) -> str:
    return (
        f"{number} timestamp {stamp}\n    last_check={checked}\n    last_live={checked}\n"
        f"    last_req=0\n    owner_id={number}\n    owner_generation={generation}\n"
        f"    timestamp={stamp}\n    io_timeout=1\n    owner_name={name}\n"
    )


class Story:
    """The driver on h1, which shares lockspace and slots with h2."""

    def __init__(self, lease_interval: float = 2.0) -> None:
        settings = SimpleNamespace(
            host="h1",
            lease_interval=lease_interval,
            sanlock_lockspace="vmha",
            sanlock_run_dir=None,
        )
        self.now = 100.0
        self.says = ""
        self.asked = 0
        self.driver = SanlockLease(settings, self.run, lambda: self.now)

    def run(self) -> str:
        self.asked += 1
        return self.says

    def look(self, at: float, *records: str) -> dict[int, Sight]:
        self.now, self.says = at, "".join(records)
        slots = {n: Slot(n, f"h{n + 1}", "192.0.2.1", AREA, b"n" * 16, 1, 1) for n in range(2)}
        table = Table(at, at + 0.1, Header("c", AREA, 4), None, slots, dict.fromkeys(slots, 1))
        return dict(self.driver.look(table))

    def both(self, at: int, h2: int) -> dict[int, Sight]:
        """Look at `at`, when h1 has just renewed and h2 did so last at `h2`, by its clock."""
        return self.look(at + 0.5, record(1, "h1", at - 2, at), record(7, "h2", h2, at))


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_record_that_changes_is_a_living_lease_whatever_its_clock_says(story: Story) -> None:
    assert story.both(100, h2=9000)[1].age is None, "not yet seen to change"
    assert story.both(102, h2=9002)[1].age == 0.0
    assert story.both(104, h2=9004)[1].age == 0.0


def test_a_record_that_stands_still_grows_old_by_the_daemons_reads(story: Story) -> None:
    story.both(100, h2=50)
    story.both(102, h2=52)
    ages = [story.both(at, h2=52)[1].age for at in range(104, 114, 2)]
    assert ages == [1.0, 3.0, 5.0, 7.0, 9.0], "a second less, since sanlock counts whole ones"


def test_a_daemon_that_does_not_renew_ages_nobody_and_is_then_not_believed(story: Story) -> None:
    story.both(100, h2=50)
    story.both(102, h2=52)
    stalled = record(1, "h1", 100, 102) + record(7, "h2", 52, 102)
    assert story.look(107.5, stalled)[1].age == 0.0
    with pytest.raises(OSError, match=r"own lease 9 s ago: what it says of others is discarded"):
        story.look(109.0, stalled)


def test_a_lease_never_seen_renewed_is_unknown_for_long(story: Story) -> None:
    ages = [story.both(at, h2=50)[1].age for at in range(100, 122, 2)]
    assert ages[:9] == [None] * 9
    assert ages[-1] == 19.0


@pytest.mark.parametrize(
    ("records", "says"),
    [
        (record(1, "h1", 98, 100), "no host 'h2' in lockspace 'vmha'"),
        (record(1, "h1", 98, 100) + record(7, "h2", 0, 100), "'h2' released its lease"),
        (
            record(1, "h1", 98, 100) + record(7, "h2", 50, 100) + record(8, "h2", 60, 100),
            "host ids 7 and 8 are both 'h2'",
        ),
    ],
)
def test_who_has_no_clear_record_is_unknown_and_it_says_why(
    story: Story, records: str, says: str
) -> None:
    seen = story.look(100.5, records)[1]
    assert seen.age is None
    assert says in (seen.problem or "")


def test_a_host_without_a_record_of_its_own_says_nothing(story: Story) -> None:
    with pytest.raises(OSError, match="no host 'h1' in lockspace 'vmha'; set our_host_name"):
        story.look(100.5, record(7, "h2", 50, 100))


def test_a_daemon_slower_than_the_configuration_says_is_refused() -> None:
    with pytest.raises(LeaseError, match=r"renews every 2 s; .agent. lease_interval is 1"):
        Story(lease_interval=1.0).both(100, h2=50)


def test_what_cannot_be_understood_is_not_believed(story: Story) -> None:
    with pytest.raises(OSError, match="not understood"):
        story.look(100.5, "1 timestamp 5\n    last_check=soon\n")


def test_the_daemon_is_not_asked_more_often_than_it_can_have_news(story: Story) -> None:
    for tenth in range(20):
        story.look(100.0 + tenth / 10, record(1, "h1", 98, 100), record(7, "h2", 50, 100))
    assert story.asked == 2
