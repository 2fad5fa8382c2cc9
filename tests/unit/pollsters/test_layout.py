# SPDX-License-Identifier: Apache-2.0
"""Blocks of the slots area: what is written is read, and nothing else is believed."""

from __future__ import annotations

import uuid
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmha_pollsters.lease import layout
from vmha_pollsters.lease.layout import Flag, Header, Opinion, Probe, Roster, Slot
from vmha_pollsters.lease.views import MAX_BYTES, WIDE_HOSTS, pack_views, unpack_views

AREA = uuid.UUID(int=7)
SLOT = Slot(
    index=3,
    host="compute-3.example.org",
    address="fd00::3",
    boot_id=uuid.UUID(int=9),
    nonce=b"n" * 16,
    generation=4,
    sequence=5,
    flags=Flag.QUALIFIED | Flag.ISOLATED,
    priority=-2,
    wall=1.5e9,
    watchdog_timeout=8.0,
    watchdog_promise=36.5,
    views=(Opinion(0.3, 1.2, Probe.ANSWERS), Opinion(None, None), Opinion(25.0, 280.0)),
)
ROSTER = Roster(2, (2, 0), frozenset({0, 2, 1999}), term=3, sequence=8, writer=2, written=1.5e9)


def test_a_slot_is_read_as_it_was_written() -> None:
    assert layout.unpack_slot(layout.pack_slot(SLOT, AREA), 3, AREA) == SLOT


def test_a_roster_is_read_as_it_was_written() -> None:
    assert layout.unpack_roster(layout.pack_roster(ROSTER, AREA), AREA) == ROSTER


def test_a_header_is_read_as_it_was_written() -> None:
    header = Header("prod", AREA, 64, 1.5e9)
    assert layout.unpack_header(layout.pack_header(header)) == header


def test_every_block_has_4096_bytes() -> None:
    full = (Opinion(1.0, 1.0),) * layout.MAX_HOSTS
    crowded = Slot(3, "h" * 255, "a" * 64, AREA, b"n" * 16, 1, 1, views=full)
    blocks = [
        layout.pack_header(Header("c" * 128, AREA, layout.MAX_HOSTS)),
        layout.pack_roster(ROSTER, AREA),
        layout.pack_slot(crowded, AREA),
    ]
    assert [len(block) for block in blocks] == [4096] * 3
    assert layout.unpack_slot(blocks[2], 3, AREA) == crowded


def test_a_block_of_zeros_is_free() -> None:
    assert layout.unpack_slot(layout.ZEROS, 3, AREA) is None
    assert layout.unpack_roster(layout.ZEROS, AREA) is None


@given(place=st.integers(0, 4095), change=st.integers(1, 255))
def test_any_changed_byte_is_noticed(place: int, change: int) -> None:
    data = bytearray(layout.pack_slot(SLOT, AREA))
    data[place] ^= change
    with pytest.raises(layout.Damaged):
        layout.unpack_slot(bytes(data), 3, AREA)


def kept(slot: Slot) -> layout.Kept:
    """Return what is kept of a slot that was read."""
    return layout.Kept(layout.pack_slot(slot, AREA), slot)


@pytest.mark.parametrize("views", [(), SLOT.views])
def test_a_renewal_is_known_again(views: tuple[Opinion, ...]) -> None:
    before = replace(SLOT, views=views)
    after, known = replace(before, sequence=6, wall=1.6e9), kept(before)
    assert known.renew(layout.pack_slot(after, AREA))
    assert known.sequence == 6
    assert known.slot == (after if views else before), "whoever is no witness says nothing new"


@given(
    place=st.integers(0, 4095), change=st.integers(1, 255), views=st.sampled_from([(), SLOT.views])
)
def test_nothing_of_a_renewal_is_believed_that_was_changed(
    place: int, change: int, views: tuple[Opinion, ...]
) -> None:
    before = replace(SLOT, views=views)
    after, known = replace(before, sequence=6, wall=1.6e9), kept(before)
    data = bytearray(layout.pack_slot(after, AREA))
    data[place] ^= change
    silent = place >= 512 and not views  # the rest of a slot without views says nothing
    assert known.renew(bytes(data)) is silent
    assert (known.sequence, known.slot) == (6 if silent else before.sequence, before)


@given(place=st.integers(0, 4095), change=st.integers(1, 255))
def test_a_slot_at_rest_is_looked_at_whole(place: int, change: int) -> None:
    data = bytearray(layout.pack_slot(replace(SLOT, views=()), AREA))
    data[place] ^= change
    assert not kept(replace(SLOT, views=())).renew(bytes(data))


def test_a_renewal_by_an_agent_of_an_earlier_release_is_believed_by_its_last_checksum() -> None:
    before = replace(SLOT, views=())
    after, known = replace(before, sequence=6), kept(before)
    data = bytearray(layout.pack_slot(after, AREA))
    data[508:512] = bytes(4)  # where it wrote nothing
    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    assert known.renew(bytes(data))
    assert known.sequence == after.sequence
    assert layout.unpack_slot(bytes(data), 3, AREA) == after
    data[2000] ^= 1
    assert not kept(before).renew(bytes(data)), "it is refused by it, too"


@pytest.mark.parametrize(
    ("index", "area", "says"),
    [(4, AREA, "holds the data of slot 3"), (3, uuid.UUID(int=8), "belongs to area")],
)
def test_a_slot_in_the_wrong_place_is_damaged(index: int, area: uuid.UUID, says: str) -> None:
    with pytest.raises(layout.Damaged, match=says):
        layout.unpack_slot(layout.pack_slot(SLOT, AREA), index, area)


def test_a_header_of_zeros_says_what_is_missing() -> None:
    with pytest.raises(layout.Damaged, match="header: not one of ours"):
        layout.unpack_header(layout.ZEROS)


@pytest.mark.parametrize("name", ["", "n" * 129])
def test_names_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cluster name must have"):
        layout.pack_header(Header(name, AREA, 4))


@given(st.floats(0, 1000))
def test_an_age_in_a_byte_is_never_older_than_the_age(age: float) -> None:
    read = layout.unpack_age(layout.pack_age(age))
    assert read is not None
    assert read <= age + 1e-6
    assert age - read < (0.11 if age < 20 else 5.01 if age < 285 else 1000)


AGES = st.none() | st.floats(0, 300)


@given(st.lists(st.tuples(AGES, AGES, st.sampled_from(Probe)), min_size=1, max_size=40))
def test_a_view_of_more_than_a_thousand_is_coarser_but_never_older(
    some: list[tuple[float | None, float | None, Probe]],
) -> None:
    views = tuple(Opinion(*some[n % len(some)]) for n in range(WIDE_HOSTS + 7))
    packed = pack_views(views)
    assert len(packed) <= MAX_BYTES
    for wrote, read in zip(views, unpack_views(packed, len(views)), strict=True):
        assert read.probe is wrote.probe
        for old, new in ((wrote.heard, read.heard), (wrote.lease, read.lease)):
            assert (old is None) == (new is None)
            assert old is None or new is None or new <= old + 1e-6
        if wrote.lease is not None and wrote.lease <= 10.0:
            assert read.lease == int(wrote.lease + 1e-6)


def test_an_unknown_age_stays_unknown() -> None:
    assert layout.unpack_age(layout.pack_age(None)) is None
