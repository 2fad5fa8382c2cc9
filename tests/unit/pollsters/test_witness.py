# SPDX-License-Identifier: Apache-2.0
"""Who watches, who may be believed, and what they say together; times by the defaults."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmha_pollsters.agent.witness.fusion import believed, fuse
from vmha_pollsters.agent.witness.limits import limits
from vmha_pollsters.agent.witness.peers import Peer
from vmha_pollsters.agent.witness.qualification import (
    Me,
    Qualification,
    breaks_promise,
    may_vouch,
    qualify,
)
from vmha_pollsters.agent.witness.roster import (
    SHARED_ROLL,
    callers,
    neighbours,
    next_roster,
    rank,
    senders,
    targets,
)
from vmha_pollsters.lease.layout import Flag, Opinion, Probe, Roster
from vmha_pollsters.reading import Reading
from vmha_remediator.rules import timing

LIMITS = limits()
OK = Flag.QUALIFIED
FIT = Qualification(True)
WELL = Opinion(0.5, 1.0)
DEAD = Opinion(30.0, 30.0, Probe.SILENT)
ROSTER = Roster(master=0, witnesses=(0, 1, 2), members=frozenset(range(4)), term=1, sequence=5,
                writer=0)  # fmt: skip


def peer(slot: int, opinion: Opinion = WELL, **more: object) -> Peer:
    made = Peer(slot, f"h{slot}", flags=OK, opinion=opinion, slot_age=1.0, clock_offset=0.0)
    return made._replace(**more)  # type: ignore[arg-type]


def peers(**changed: Peer) -> list[Peer]:
    """Return four hosts that are all well, but for those given as h0=..., h1=..."""
    return [changed.get(f"h{n}", peer(n)) for n in range(4)]


ME = Me(slot=0, write_age=1.0, read_age=0.5, listening=100.0, reading=100.0)


# --- qualification: suspect yourself first -------------------------------------------------


def test_a_host_that_writes_reads_and_hears_is_qualified() -> None:
    assert qualify(ME, peers(), LIMITS) == Qualification(
        True, (), heard=4, live=4, clock=0.0, storage=True, hears=True
    )


@pytest.mark.parametrize(
    ("me", "why"),
    [
        (replace(ME, slot=None), "it has no slot of its own"),
        (replace(ME, write_age=None), "its own lease was last renewed never"),
        (replace(ME, write_age=5.1), "its own lease was last renewed 5.1 s ago"),
        (replace(ME, read_age=None), "the slots were last read never"),
        (replace(ME, read_age=3.1), "the slots were last read 3.1 s ago"),
        (replace(ME, listening=2.9), "it has been listening for 2.9 s only"),
        (replace(ME, reading=3.9), "it has been reading the slots for 3.9 s only"),
        (replace(ME, problems=("cannot read: I/O error",)), "cannot read: I/O error"),
    ],
)
def test_what_takes_the_right_to_speak(me: Me, why: str) -> None:
    result = qualify(me, peers(), LIMITS)
    assert not result.ok
    assert why in result.why


@pytest.mark.parametrize(
    ("me", "ok"),
    [(replace(ME, write_age=5.0), True), (replace(ME, read_age=3.0), True),
     (replace(ME, listening=3.0), True), (replace(ME, reading=4.0), True)],
)  # fmt: skip
def test_the_limits_themselves_are_still_good(me: Me, ok: bool) -> None:
    assert qualify(me, peers(), LIMITS).ok is ok


DEAF = Opinion(4.0, 1.0)  # live lease, not heard
GONE = Opinion(30.0, 8.0)  # neither
NEVER = Opinion(None, 1.0)


@pytest.mark.parametrize(
    ("others", "ok", "heard", "live"),
    [
        ([WELL, WELL, WELL], True, 4, 4),
        ([WELL, WELL, DEAF], True, 3, 4),
        ([WELL, DEAF, DEAF], False, 2, 4),  # split in two halves: neither speaks
        ([DEAF, DEAF, DEAF], False, 1, 4),
        ([WELL, NEVER, NEVER], False, 2, 4),
        ([WELL, DEAF, GONE], True, 2, 3),
        ([WELL, GONE, GONE], True, 2, 2),
        ([GONE, GONE, GONE], True, 1, 1),  # the last one; the rules want two witnesses
        ([DEAF], False, 1, 2),
        ([GONE], True, 1, 1),
        ([WELL], True, 2, 2),
    ],
)
def test_more_than_half_of_the_live_hosts_have_to_be_heard(
    others: list[Opinion], ok: bool, heard: int, live: int
) -> None:
    result = qualify(ME, [peer(n, o) for n, o in enumerate(others, 1)], LIMITS)
    assert (result.ok, result.heard, result.live) == (ok, heard, live)


def test_hosts_that_left_or_do_not_send_to_me_are_not_missed() -> None:
    left = [peer(n, DEAF, flags=Flag.LEAVING) for n in (1, 2, 3)]
    assert qualify(ME, left, LIMITS).ok
    deaf = [peer(1), peer(2, DEAF), peer(3, DEAF)]
    assert not qualify(ME, deaf, LIMITS).ok
    assert qualify(replace(ME, expected=frozenset({1, 2})), deaf, LIMITS).ok


@pytest.mark.parametrize(
    ("offsets", "ok"),
    [
        ([0.0, 0.0, 0.0], True),
        ([1.0, 1.0, 1.0], True),
        ([1.1, 1.1, 1.1], False),
        ([3600.0, 0.0, 0.0], True),  # one peer's clock is wrong, not mine
        ([3600.0, 3600.0, 3600.0], False),  # mine is
        ([None, None, None], True),
        ([-5.0, None, None], False),
    ],
)
def test_my_clock_has_to_agree_with_the_median(offsets: list[float | None], ok: bool) -> None:
    others = [peer(n, clock_offset=offset) for n, offset in enumerate(offsets, 1)]
    result = qualify(ME, others, LIMITS)
    assert (result.ok, result.clock_ok) == (ok, ok)


# --- roles ---------------------------------------------------------------------------------


def test_the_highest_priority_then_the_lowest_slot_watches() -> None:
    table = [peer(0), peer(1, priority=5), peer(2), peer(3, priority=5)]
    for order in permutations(table):
        assert rank(order, {}, LIMITS) == (1, 3, 0, 2)


@pytest.mark.parametrize(
    "unfit",
    [
        peer(0, flags=Flag(0)),  # not qualified
        peer(0, Opinion(0.5, 8.0)),  # its lease lapsed
        peer(0, Opinion(0.5, None)),  # its lease is unknown
        peer(0, flags=OK | Flag.LEAVING),
        peer(0, flags=OK | Flag.CLAIMING),
    ],
)
def test_who_is_unfit_does_not_rank(unfit: Peer) -> None:
    assert rank(peers(h0=unfit), {}, LIMITS) == (1, 2, 3)


@pytest.mark.parametrize(("unqualified_for", "first"), [(0.0, 0), (9.9, 0), (10.0, 1)])
def test_a_witness_keeps_its_place_for_the_grace_time(unqualified_for: float, first: int) -> None:
    table = peers(h0=peer(0, flags=Flag(0)))
    assert rank(table, {0: unqualified_for}, LIMITS)[0] == first


def test_when_nobody_is_qualified_every_live_host_ranks() -> None:
    table = [peer(n, flags=Flag(0)) for n in range(3)] + [peer(3, GONE, flags=Flag(0))]
    assert rank(table, {}, LIMITS) == (0, 1, 2)


def new_roster(mine: int, table: list[Peer], roster: Roster | None, stale: bool) -> Roster | None:
    return next_roster(mine, table, roster, stale, {}, LIMITS)


def test_the_master_renews_its_roster() -> None:
    assert new_roster(0, peers(), ROSTER, stale=False) == replace(ROSTER, sequence=6)


def test_nobody_else_writes_while_it_does() -> None:
    assert [new_roster(n, peers(), ROSTER, stale=False) for n in (1, 2, 3)] == [None] * 3


def test_the_first_of_the_rank_takes_over_a_stale_roster() -> None:
    table = peers(h0=peer(0, DEAD))
    assert new_roster(1, table, ROSTER, stale=True) == Roster(
        master=1, witnesses=(1, 2, 3), members=frozenset({1, 2, 3}), term=2, sequence=6, writer=1
    )
    assert [new_roster(n, table, ROSTER, stale=True) for n in (2, 3)] == [None] * 2


def test_a_new_cluster_gets_its_first_roster() -> None:
    made = new_roster(0, peers(), None, stale=True)
    assert made is not None
    assert (made.master, made.witnesses, made.term, made.sequence) == (0, (0, 1, 2), 1, 1)


def test_the_master_hands_over_to_a_better_one() -> None:
    made = new_roster(0, peers(h3=peer(3, priority=9)), ROSTER, stale=False)
    assert made is not None
    assert (made.master, made.witnesses, made.term, made.writer) == (3, (3, 0, 1), 2, 0)


def test_nobody_alive_nobody_writes() -> None:
    assert new_roster(0, [peer(n, DEAD) for n in range(4)], None, stale=True) is None


# --- who sends to whom ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mine", "members", "expected"),
    [
        (0, {0, 1, 2, 3}, {3, 1}),
        (3, {0, 1, 2, 3}, {2, 0}),
        (5, {0, 1, 9}, {1, 9}),  # not a member yet
        (0, {0, 1}, {1}),
        (0, {0}, set()),
    ],
)
def test_the_ring(mine: int, members: set[int], expected: set[int]) -> None:
    assert neighbours(mine, frozenset(members)) == expected


def test_heartbeats_go_to_witnesses_and_neighbours() -> None:
    big = replace(ROSTER, members=frozenset(range(100)))
    assert targets(50, big, range(100)) == {0, 1, 2, 49, 51}
    assert targets(50, None, range(52)) == frozenset(range(52)) - {50}


def test_in_a_small_cluster_everybody_sends_to_everybody() -> None:
    assert targets(3, ROSTER, range(8)) == frozenset({0, 1, 2, 4, 5, 6, 7})
    assert senders(3, ROSTER, range(8)) is None
    assert targets(3, ROSTER, range(9)) == frozenset({0, 1, 2})
    assert senders(3, ROSTER, range(9)) == frozenset({0, 1, 2})


def test_a_witness_hears_all_others_only_whom_they_send_to() -> None:
    big = replace(ROSTER, members=frozenset(range(100)))
    assert senders(1, big, range(100)) is None
    assert senders(50, big, range(100)) == frozenset({0, 1, 2, 49, 51})


def test_the_witnesses_of_a_big_crowd_share_the_roll() -> None:
    crowd = replace(ROSTER, members=frozenset(range(SHARED_ROLL)))
    assert callers(50, crowd) == {0, 1, 2}, "not a big one yet"
    big = replace(ROSTER, members=frozenset(range(SHARED_ROLL + 1)))
    assert [callers(n, big) for n in (50, 51, 52, 53)] == [{2}, {0}, {1}, {2}]
    assert senders(50, big, range(300)) == frozenset({2, 49, 51})
    assert senders(3, big, range(300)) == frozenset({0, 2, 4}), "a neighbour sends heartbeats, too"
    assert targets(50, big, range(300)) == {0, 1, 2, 49, 51}, "all witnesses hear it"
    nobody = replace(big, witnesses=())
    assert senders(50, nobody, range(300)) == frozenset({49, 51})


def test_who_sends_is_who_is_expected() -> None:
    big = replace(ROSTER, members=frozenset(range(0, 40, 3)))
    for mine in big.members:
        for other in big.members - {mine, *big.witnesses}:
            expected = senders(other, big, big.members)
            assert expected is not None
            if mine in expected:
                assert other in targets(mine, big, big.members) or mine in big.witnesses


# --- fusion --------------------------------------------------------------------------------


def seen_by(witnesses: dict[int, Opinion], of: Peer | None = None) -> Reading | None:
    """Return the reading of host 3 when these witnesses have these opinions of it."""
    views = {slot: {3: opinion} for slot, opinion in witnesses.items()}
    readings = fuse([of or peer(3)], views, LIMITS)
    return readings[0] if readings else None


def test_a_well_host() -> None:
    reading = seen_by({0: WELL, 1: Opinion(0.2, 1.5), 2: Opinion(0.9, 0.4)})
    assert reading == Reading(3, "h3", 0.2, 0.4, True, False, 3, False, watchdog=0.0)


def test_a_dead_host() -> None:
    reading = seen_by({0: DEAD, 1: Opinion(29.0, 28.5, Probe.SILENT)})
    assert reading == Reading(3, "h3", 29.0, 28.5, False, False, 2, True, watchdog=0.0)


def test_one_witness_that_hears_it_is_enough() -> None:
    reading = seen_by({0: DEAD, 1: DEAD, 2: Opinion(0.5, 30.0)})
    assert reading is not None
    assert (reading.heartbeat_age, reading.reachable) == (0.5, True)


@pytest.mark.parametrize(
    ("probes", "reachable", "count"),
    [
        ([Probe.SILENT, Probe.SILENT], False, 2),
        ([Probe.SILENT, Probe.ANSWERS], True, 2),
        ([Probe.ANSWERS, Probe.ANSWERS], True, 2),
        ([Probe.UNKNOWN, Probe.UNKNOWN], None, 2),  # never proven: not published
        ([Probe.UNKNOWN, Probe.ANSWERS], True, 2),
        ([Probe.UNKNOWN, Probe.SILENT], False, 1),  # only one stands behind "unreachable"
    ],
)
def test_unreachable_is_unanimous(probes: list[Probe], reachable: bool | None, count: int) -> None:
    reading = seen_by({n: Opinion(9.0, 9.0, probe) for n, probe in enumerate(probes)})
    assert reading is not None
    assert (reading.reachable, reading.witnesses) == (reachable, count)


@pytest.mark.parametrize(("heard", "reachable"), [(4.0, True), (4.1, False)])
def test_a_host_just_heard_is_reachable_whatever_the_probes_say(
    heard: float, reachable: bool
) -> None:
    reading = seen_by({n: Opinion(heard, 1.0, Probe.SILENT) for n in (0, 1)})
    assert reading is not None
    assert reading.reachable is reachable


def test_who_knows_nothing_is_not_counted() -> None:
    reading = seen_by({0: DEAD, 1: Opinion(None, None, Probe.SILENT), 2: Opinion(None, 30.0)})
    assert reading is not None
    assert reading.witnesses == 1


def test_a_host_nobody_knows_anything_of_is_not_published() -> None:
    assert seen_by({0: Opinion(None, 30.0), 1: Opinion(None, None)}) is None


def test_a_lease_nobody_knows_is_not_published() -> None:
    reading = seen_by({0: Opinion(9.0, None), 1: Opinion(9.0, None)})
    assert reading is not None
    assert reading.lease_age is None


def test_a_slot_that_cannot_be_believed_has_no_lease_and_no_flags() -> None:
    reading = seen_by({0: WELL, 1: WELL}, of=peer(3, problem="checksum"))
    assert reading is not None
    assert (reading.lease_age, reading.isolated, reading.heartbeat_age) == (None, None, 0.5)


def test_a_host_that_left_on_purpose_is_not_published() -> None:
    assert seen_by({0: DEAD, 1: DEAD}, of=peer(3, flags=Flag.LEAVING)) is None


def test_an_isolated_host_says_so_itself() -> None:
    reading = seen_by({0: DEAD, 1: DEAD}, of=peer(3, flags=Flag.ISOLATED))
    assert reading is not None
    assert (reading.isolated, reading.suspect) == (True, True)


@pytest.mark.parametrize(
    ("opinion", "suspect"),
    [
        (Opinion(2.0, 4.0), False),
        (Opinion(2.1, 1.0), True),
        (Opinion(0.5, 4.1), True),
        (Opinion(0.5, None), False),
    ],
)
def test_who_is_published_in_every_cycle(opinion: Opinion, suspect: bool) -> None:
    reading = seen_by({0: opinion, 1: opinion})
    assert reading is not None
    assert reading.suspect is suspect


def test_a_host_is_no_witness_of_itself() -> None:
    reading = seen_by({3: Opinion(0.0, 0.0), 1: Opinion(9.0, 2.0, Probe.SILENT)})
    assert reading is not None
    assert (reading.heartbeat_age, reading.lease_age, reading.witnesses) == (9.0, 2.0, 1)


def test_the_only_witness_says_that_it_lives() -> None:
    reading = seen_by({3: Opinion(0.0, 1.0)})
    assert reading is not None
    assert (reading.heartbeat_age, reading.lease_age, reading.reachable) == (0.0, 1.0, True)


OPINIONS = st.builds(
    Opinion,
    st.none() | st.floats(0, 100),
    st.none() | st.floats(0, 100),
    st.sampled_from(Probe),
)


@given(st.dictionaries(st.integers(0, 2), OPINIONS))
def test_no_reading_is_worse_than_what_any_witness_knows(opinions: dict[int, Opinion]) -> None:
    reading = seen_by(opinions)
    heard = [o.heard for o in opinions.values() if o.heard is not None]
    leases = [o.lease for o in opinions.values() if o.lease is not None]
    if reading is None:
        assert not heard
        return
    assert reading.heartbeat_age == min(heard)
    assert reading.lease_age == (min(leases) if leases else None)
    assert reading.witnesses <= len(heard)
    if reading.reachable is False:
        assert min(heard) > LIMITS.hears
        counted = [o for o in opinions.values() if o.heard is not None]
        assert not any(o.probe is Probe.ANSWERS for o in counted)
        assert reading.witnesses == sum(o.probe is Probe.SILENT for o in counted) >= 1


# --- who is believed -----------------------------------------------------------------------


def believed_slots(table: list[Peer], me: Me = ME, mine: Qualification = FIT) -> set[int]:
    return set(believed(me, mine, table, ROSTER, LIMITS))


VIEW = {3: WELL}


def test_qualified_witnesses_with_fresh_views_are_believed() -> None:
    table = peers(h1=peer(1, views=VIEW), h2=peer(2, views=VIEW), h3=peer(3, views=VIEW))
    assert believed_slots(table) == {0, 1, 2}  # slot 3 is no witness


@pytest.mark.parametrize(
    "other",
    [
        peer(1, views=None),
        peer(1, views=VIEW, flags=Flag(0)),
        peer(1, views=VIEW, flags=OK | Flag.LEAVING),
        peer(1, views=VIEW, slot_age=5.0),
        peer(1, views=VIEW, slot_age=None),
        peer(1, views=VIEW, problem="two hosts write it"),
    ],
)
def test_who_is_not_believed(other: Peer) -> None:
    assert believed_slots(peers(h1=other)) == {0}


def test_who_is_no_qualified_witness_is_silent() -> None:
    assert believed_slots(peers(), mine=Qualification(False)) == set()
    assert believed_slots(peers(), me=replace(ME, slot=3)) == set()
    assert believed(ME, FIT, peers(), None, LIMITS) == {}
    assert fuse(peers(), {}, LIMITS) == ()


def test_a_view_is_as_old_as_the_slot_that_holds_it() -> None:
    views = {3: Opinion(2.0, 3.0, Probe.SILENT)}
    table = peers(h1=peer(1, views=views, slot_age=1.5), h3=peer(3, Opinion(9.0, 9.0)))
    seen = believed(ME, FIT, table, ROSTER, LIMITS)[1][3]
    assert seen == Opinion(3.5, 4.5, Probe.SILENT)


@pytest.mark.parametrize(("own", "told"), [(0.5, 3.5), (None, 3.0), (9.0, 4.5)])
def test_a_told_lease_age_grows_only_as_far_as_own_looks_confirm(
    own: float | None, told: float
) -> None:
    views = {3: Opinion(2.0, 3.0)}
    table = peers(h1=peer(1, views=views, slot_age=1.5), h3=peer(3, Opinion(9.0, own)))
    assert believed(ME, FIT, table, ROSTER, LIMITS)[1][3].lease == told


@pytest.mark.parametrize(
    ("situation", "vouches"),
    [
        ({"speaks": True, "bare": False, "heard_bare": 0}, True),
        ({"speaks": False, "bare": False, "heard_bare": 3}, False),
        ({"speaks": False, "bare": True, "heard_bare": 1}, False),
        ({"speaks": False, "bare": True, "heard_bare": 2}, True),
    ],
    ids=["a witness", "not one", "storage gone for half", "storage gone for more than half"],
)
def test_whose_acknowledgement_keeps_a_watchdog_fed(
    situation: dict[str, Any], vouches: bool
) -> None:
    assert may_vouch(**situation, hosts=4) is vouches


@pytest.mark.parametrize(
    ("promised", "lease", "beat", "breaks"),
    [
        (timing.promise(10.0), 2.0, 1.0, False),
        (timing.promise(10.0) + 30.0, 5.0, 1.0, False),  # a longer one holds in any case
        (timing.promise(10.0), 2.5, 1.0, True),
        (timing.promise(10.0), 2.0, 1.5, True),
        (0.0, 30.0, 10.0, False),  # no watchdog is armed: nobody relies on anything
    ],
)
def test_a_word_that_reaches_further_than_anothers_promise_would_break_it(
    promised: float, lease: float, beat: float, breaks: bool
) -> None:
    assert breaks_promise(promised, 10.0, lease, beat) is breaks
