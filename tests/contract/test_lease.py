# SPDX-License-Identifier: Apache-2.0
"""The slots area on a real file and a real block device: claims, fights, damage, formatting."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.loop import loop_device
from vmha_pollsters.agent import area
from vmha_pollsters.agent.storage.cache import LONG, TURNS, Cache
from vmha_pollsters.agent.storage.keeper import ClaimLost, Content, Identity, Keeper, Stopped
from vmha_pollsters.agent.storage.slotfile import SlotFile
from vmha_pollsters.agent.storage.table import read_table
from vmha_pollsters.lease.contract import Table
from vmha_pollsters.lease.layout import (
    BLOCK,
    FIRST_HOST,
    Block,
    Flag,
    Header,
    Opinion,
    Probe,
    Roster,
    Slot,
    pack_header,
    pack_slot,
)
from vmha_remediator.errors import LeaseError

INTERVAL = 0.2


@pytest.fixture(params=["file", "block device"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return an empty place for an area."""
    if request.param == "file":
        yield str(tmp_path / "slots")
    else:
        with loop_device(tmp_path / "disk", 1 << 20) as device:
            yield device


@pytest.fixture
def path(place: str) -> str:
    area.init(place, 4, "prod")
    return place


def identity(host: str, number: int = 1, boot: int = 1, cluster: str = "prod") -> Identity:
    return Identity(host, f"192.0.2.{number}", uuid.UUID(int=boot), cluster, priority=number)


def keeper(path: str, me: Identity, wait: Callable[[float], bool] = lambda _: False) -> Keeper:
    return Keeper(SlotFile(path), me, INTERVAL, wait)


def table(path: str) -> Table:
    return read_table(SlotFile(path), None, "prod", 0)


def test_a_claim_takes_the_first_free_slot_and_renewals_count_on(path: str) -> None:
    mine = keeper(path, identity("h1"))
    assert mine.claim().flags is Flag.CLAIMING
    mine.renew(Content(Flag.QUALIFIED))
    mine.renew(Content(Flag.ISOLATED))
    slot = table(path).slots[0]
    assert (slot.host, slot.generation, slot.sequence, slot.flags) == ("h1", 1, 3, Flag.ISOLATED)
    assert (slot.address, slot.priority) == ("192.0.2.1", 1)


def test_hosts_that_claim_one_after_another_get_slots_of_their_own(path: str) -> None:
    for number in range(1, 5):
        keeper(path, identity(f"h{number}", number)).claim()
    assert [slot.host for slot in table(path).slots.values()] == ["h1", "h2", "h3", "h4"]
    with pytest.raises(LeaseError, match="all 4 slots are taken"):
        keeper(path, identity("h5", 5)).claim()


def test_of_two_that_claim_one_slot_at_once_one_wins_and_the_other_moves_on(path: str) -> None:
    second = keeper(path, identity("h2", 2))
    raced: list[int] = []

    def while_the_first_waits(_seconds: float) -> bool:
        if not raced:  # the second read the slot as free too, and writes a moment later
            raced.append(1)
            free = FIRST_HOST + 0
            SlotFile(path).write(free, bytes(BLOCK))
            raced.append(second.claim().index)
        return False

    first = keeper(path, identity("h1", 1), while_the_first_waits)
    slot = first.claim()
    assert raced == [1, 0]
    assert slot.index != 0
    assert {s.host for s in table(path).slots.values()} == {"h1", "h2"}


def test_many_that_start_at_the_same_moment_all_get_a_slot(place: str) -> None:
    path = place
    area.init(path, 8, "prod")
    never = threading.Event()
    keepers = [keeper(path, identity(f"h{n}", n), never.wait) for n in range(1, 7)]
    threads = [threading.Thread(target=k.claim) for k in keepers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for mine in keepers:
        mine.renew(Content())  # nobody lost what it believes to hold
    assert sorted(s.host for s in table(path).slots.values()) == [f"h{n}" for n in range(1, 7)]


def test_a_restart_in_the_same_boot_takes_the_slot_back_without_waiting(path: str) -> None:
    keeper(path, identity("h1")).claim()
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    slot = keeper(path, identity("h1"), wait).claim()
    assert (slot.index, slot.generation, waits) == (0, 2, [])


def test_after_a_reboot_the_slot_is_watched_first(path: str) -> None:
    keeper(path, identity("h1", boot=1)).claim()
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    slot = keeper(path, identity("h1", boot=2), wait).claim()
    assert (slot.index, slot.generation) == (0, 2)
    assert waits == [pytest.approx(2 * INTERVAL + 1.0), INTERVAL]


def test_a_second_host_with_the_same_name_is_refused_and_told_who_has_it(path: str) -> None:
    owner = keeper(path, identity("h1", 1))
    owner.claim()

    def meanwhile(_seconds: float) -> bool:
        owner.renew(Content())
        return False

    with pytest.raises(LeaseError, match=r"'h1' is in use: slot 0 .* 192\.0\.2\.1"):
        keeper(path, identity("h1", 9, boot=9), meanwhile).claim()
    owner.renew(Content())


def test_who_lost_its_slot_notices_before_it_writes(path: str) -> None:
    mine = keeper(path, identity("h1", 1))
    mine.claim()
    thief = keeper(path, identity("h1", 9, boot=9))  # h1 did not renew: it looked dead
    thief.claim()
    thief.renew(Content())
    with pytest.raises(ClaimLost, match=r"now written by host 'h1' at 192\.0\.2\.9"):
        mine.renew(Content())
    assert table(path).slots[0].address == "192.0.2.9"


def test_the_owner_wins_against_a_claim_that_is_not_finished(path: str) -> None:
    owner = keeper(path, identity("h1", 1))
    owner.claim()
    owner.renew(Content())

    def owner_comes_back(seconds: float) -> bool:
        if seconds == INTERVAL:  # the claim is written and waits to be read back
            owner.renew(Content())
        return False

    with pytest.raises(LeaseError):
        keeper(path, identity("h1", 9, boot=9), owner_comes_back).claim()
    assert table(path).slots[0].address == "192.0.2.1"


def test_another_clusters_area_is_refused(path: str) -> None:
    with pytest.raises(LeaseError, match=r"belong to cluster 'prod', \[agent\] cluster is 'test'"):
        keeper(path, identity("h1", cluster="test")).claim()


def test_an_area_made_anew_is_noticed_by_the_owner(path: str) -> None:
    mine = keeper(path, identity("h1"))
    mine.claim()
    area.init(path, 4, "prod", force=True, sleep=lambda _: None)
    with pytest.raises(ClaimLost, match="initialised anew"):
        mine.renew(Content())
    assert mine.claim().generation == 1


def test_an_area_made_anew_while_a_claim_waits_is_noticed(path: str) -> None:
    before = keeper(path, identity("h1", boot=1))
    before.claim()

    def made_anew(seconds: float) -> bool:
        if seconds > INTERVAL:  # the claim watches whether the host before the reboot lives on
            area.init(path, 4, "prod", force=True, sleep=lambda _: None)
        return False

    mine = keeper(path, identity("h1", boot=2), made_anew)
    mine.claim()
    assert 0 in table(path).damaged  # to everybody else it belongs to the area of before
    with pytest.raises(ClaimLost, match="initialised anew"):
        mine.renew(Content(), table(path))
    again = keeper(path, identity("h1", boot=2)).claim()
    assert table(path).slots[again.index].host == "h1"


def test_a_file_replaced_under_the_path_is_noticed(tmp_path: Path) -> None:
    path = str(tmp_path / "slots")
    area.init(path, 4, "prod")
    mine = keeper(path, identity("h1"))
    mine.claim()
    area.init(str(tmp_path / "other"), 4, "prod")
    (tmp_path / "other").rename(path)
    with pytest.raises(ClaimLost, match="initialised anew"):
        mine.renew(Content())


def test_a_damaged_slot_is_reported_and_its_owner_repairs_it(path: str) -> None:
    mine, other = keeper(path, identity("h1", 1)), keeper(path, identity("h2", 2))
    mine.claim()
    other.claim()
    with Path(path).open("r+b") as stream:
        stream.seek(FIRST_HOST * BLOCK + 300)
        stream.write(b"rubbish")
    assert table(path).damaged == {0: "slot 0: checksum does not fit"}
    assert table(path).slots.keys() == {1}
    mine.renew(Content())
    assert table(path).slots.keys() == {0, 1}


def test_a_damaged_roster_does_not_hide_the_slots(path: str) -> None:
    mine = keeper(path, identity("h1"))
    mine.claim()
    mine.write_roster(Roster(0, (0,), frozenset({0}), 1, 1, 0))
    assert table(path).roster == Roster(0, (0,), frozenset({0}), 1, 1, 0)
    SlotFile(path).write(1, b"x" * BLOCK)
    damaged = table(path)
    assert damaged.roster is None
    assert damaged.slots.keys() == {0}
    assert damaged.roster_problem == "roster: not one of ours (no VMHAROST mark)"


def test_a_stopping_agent_leaves_its_claim(path: str) -> None:
    with pytest.raises(Stopped):
        keeper(path, identity("h1"), lambda _: True).claim()


def test_only_the_slots_asked_for_are_read(path: str) -> None:
    for number in range(1, 5):
        keeper(path, identity(f"h{number}", number)).claim()
    partial = read_table(SlotFile(path), [3, 1, 77], "prod", 4)
    assert [slot.host for slot in partial.slots.values()] == ["h2", "h4"]


class Counted(SlotFile):
    """A slots area that counts its requests, as (first block, blocks)."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.reads: list[tuple[int, int]] = []

    def read(self, first: int, count: int) -> Block:
        self.reads.append((first, count))
        return super().read(first, count)


@pytest.mark.parametrize("kind", ["file", "block device"])
def test_an_area_for_2000_hosts(kind: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        path = str(tmp_path / "big")
        if kind == "block device":
            path = stack.enter_context(loop_device(tmp_path / "disk", 2002 * BLOCK))
        area.init(path, 2000, "prod")
        last = Slot(1999, "h2000", "192.0.2.9", uuid.UUID(int=1), b"n" * 16, 1, 1)
        views = tuple(Opinion(n / 10, 1.0, Probe.ANSWERS) for n in range(2000))
        header = table(path).header
        SlotFile(path).write(FIRST_HOST + 1999, pack_slot(replace(last, views=views), header.uuid))
        keeper(path, identity("h1")).claim()

        blocks = Counted(path)
        everything = read_table(blocks, None, "prod", 2000)
        assert blocks.reads[0] == (0, 256), "a witness reads it all in a few large requests"
        assert len(blocks.reads) == 8 and sum(count for _, count in blocks.reads) == 2002
        assert everything.slots.keys() == {0, 1999}
        assert everything.slots[1999].views[1234].heard == 120.0
        assert everything.slots[1999].views[42] == Opinion(4.2, 1.0, Probe.ANSWERS)

        blocks.reads.clear()
        some = read_table(blocks, {0, 1, 2, 1998, 1999}, "prod", 2000)
        assert blocks.reads == [(0, 5), (2000, 2)], "neighbours come together"
        assert some.slots.keys() == {0, 1999}


def test_what_was_unpacked_before_never_hides_damage_or_a_new_area(path: str) -> None:
    mine, cache = keeper(path, identity("h1")), Cache()
    mine.claim()
    blocks = SlotFile(path)
    first = read_table(blocks, None, "prod", 4, cache).slots[0]
    assert read_table(blocks, None, "prod", 4, cache).slots[0] is first, "nothing changed"
    block = bytearray(blocks.read(FIRST_HOST, 1))
    block[2000] ^= 1
    blocks.write(FIRST_HOST, bytes(block))
    rotten = read_table(blocks, None, "prod", 4, cache)
    assert (dict(rotten.slots), rotten.damaged) == ({}, {0: "slot 0: checksum does not fit"})
    mine.renew(Content())
    assert read_table(blocks, None, "prod", 4, cache).sequences[0] == 2
    blocks.write(0, pack_header(Header("prod", uuid.uuid4(), 4)))
    assert read_table(blocks, None, "prod", 4, cache).damaged.keys() == {0}
    SlotFile(path).wipe(FIRST_HOST, 1)
    assert read_table(blocks, None, "prod", 4, cache).slots == {}


def test_in_a_long_table_what_looks_as_before_is_read_in_full_in_its_turn(tmp_path: Path) -> None:
    path = str(tmp_path / "long")
    header = area.init(path, 3 * LONG, "prod")
    blocks, cache = SlotFile(path), Cache()

    def put(number: int, sequence: int) -> bytes:
        slot = Slot(number, f"h{number}", "192.0.2.9", uuid.UUID(int=1), b"n" * 16, 1, sequence)
        data = pack_slot(slot, header.uuid)
        blocks.write(FIRST_HOST + number, data)
        return data

    def look() -> Table:
        return read_table(blocks, None, "prod", 3 * LONG, cache)

    for number in range(2 * LONG):
        put(number, 1)
    before = look()
    assert before.slots.keys() == set(range(2 * LONG))

    whole = bytearray(put(50, 2))
    after = look()
    assert after.sequences[50] == 2, "a renewal is seen at once"
    assert all(after.slots[n] is before.slots[n] for n in before.slots if n != 50)

    whole[2000] ^= 1
    blocks.write(FIRST_HOST + 50, bytes(whole))
    looks = [look() for _ in range(TURNS)]
    assert looks[-1].damaged == {50: "slot 50: checksum does not fit"}
    assert all(t.sequences[50] == 2 for t in looks if 50 in t.slots)
    assert look().damaged.keys() == {50}, "until somebody repairs it"
    put(50, 3)
    assert (look().sequences[50], look().damaged) == (3, {})

    blocks.wipe(FIRST_HOST + 7, 1)
    put(2 * LONG, 1)
    last = look().slots
    assert last.keys() == set(range(2 * LONG + 1)) - {7}, "gone and come are seen at once"


def test_an_area_made_anew_with_another_size_is_read_as_it_is_now(path: str) -> None:
    keeper(path, identity("h1")).claim()
    assert read_table(SlotFile(path), None, "prod", 3).slots.keys() == {0}
    assert read_table(SlotFile(path), None, "prod", 2).header.hosts == 4


@pytest.mark.parametrize("content", [b"", b"\0" * 5000])
def test_init_takes_an_empty_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "new").write_bytes(content)
    assert area.init(str(tmp_path / "new"), 2, "prod").hosts == 2
    assert area.dump(str(tmp_path / "new"))["slots"] == []


def test_init_refuses_to_overwrite_unless_forced(path: str) -> None:
    with pytest.raises(LeaseError, match="is a slots area already; --force makes it anew"):
        area.init(path, 4, "prod")


@pytest.mark.parametrize("start", [0, 65536])  # a filesystem may begin that late
def test_init_refuses_what_holds_other_data(place: str, start: int) -> None:
    disk = Path(place)
    disk.touch()
    with disk.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"Dear Sir or Madam")
    with pytest.raises(LeaseError, match="holds other data"):
        area.init(place, 4, "prod")
    assert disk.read_bytes()[start:][:17] == b"Dear Sir or Madam"
    area.init(place, 4, "prod", force=True)
    assert area.dump(place)["slots"] == []


def test_a_device_that_is_too_small_is_refused_untouched(tmp_path: Path) -> None:
    with loop_device(tmp_path / "disk", 1 << 20) as device:
        with pytest.raises(LeaseError, match="has less than the 8200192 bytes needed"):
            area.init(device, 2000, "prod")
        assert not any(Path(device).read_bytes())


def test_a_live_area_is_never_overwritten(path: str) -> None:
    mine = keeper(path, identity("h1"))
    mine.claim()

    def meanwhile(_seconds: float) -> None:
        mine.renew(Content())

    with pytest.raises(LeaseError, match="is in use: h1 renewed a lease just now"):
        area.init(path, 4, "prod", force=True, sleep=meanwhile)
    mine.renew(Content())


def test_forget_frees_the_slot_of_a_dead_host_only(path: str) -> None:
    alive, dead = keeper(path, identity("h1", 1)), keeper(path, identity("h2", 2))
    alive.claim()
    dead.claim()

    def meanwhile(_seconds: float) -> None:
        alive.renew(Content())

    with pytest.raises(LeaseError, match="'h1' is alive"):
        area.forget(path, "h1", meanwhile)
    with pytest.raises(LeaseError, match="no slot of host 'h9'"):
        area.forget(path, "h9", meanwhile)
    assert area.forget(path, "h2", meanwhile) == 1
    assert table(path).slots.keys() == {0}


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LeaseError, match="neither a file nor a block device"):
        keeper(str(tmp_path), identity("h1")).claim()
    with pytest.raises(FileNotFoundError):
        keeper(str(tmp_path / "missing"), identity("h1")).claim()


def test_a_filesystem_without_direct_io_works_too() -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir():
        pytest.skip("no /dev/shm here")
    path = shm / f"vmha-test-{uuid.uuid4()}"
    try:
        area.init(str(path), 2, "prod")
        mine = keeper(str(path), identity("h1"))
        mine.claim()
        mine.renew(Content())
        assert table(str(path)).sequences[0] == 2
    finally:
        path.unlink(missing_ok=True)
