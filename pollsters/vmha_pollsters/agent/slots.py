# SPDX-License-Identifier: Apache-2.0
"""The slots area on storage: aligned O_DIRECT reads and writes, one table at a time."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import ne
from typing import Protocol

from vmha_pollsters.lease.contract import Table
from vmha_pollsters.lease.layout import (
    BLOCK,
    FIRST_HOST,
    SEQUENCE_AT,
    Block,
    Damaged,
    Header,
    Kept,
    Roster,
    Slot,
    Stray,
    unpack_header,
    unpack_roster,
    unpack_slot,
)
from vmha_remediator.errors import LeaseError

#: Blocks that lie at most so far apart are fetched in one read: bytes are cheap, requests not.
NEAR = 16
#: Most blocks in one request.
CHUNK = 256
#: In a run of so many blocks or more, those that look as before are read in full only if they
#: were not in so many looks.
LONG = 64
TURNS = 4
_WORDS = BLOCK // 4


@dataclass
class Found:
    """What a look found in the slots: their content, or why a block cannot be believed."""

    slots: dict[int, Slot] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)
    strays: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Run:
    """What one long read of neighbouring blocks gave the last time."""

    numbers: Sequence[int]
    marks: tuple[list[int], list[int]]  # of each: its sequence and its checksum, not looked into
    slots: Mapping[int, Slot]
    damaged: frozenset[int]  # the numbers of these blocks, to be read in full again
    read: tuple[frozenset[int], ...]  # those read in full, by each of the last looks

    def unread(self) -> frozenset[int]:
        """Return the numbers of the blocks that none of the last looks read in full."""
        if len(self.read) < TURNS - 1:
            return frozenset()
        return frozenset(self.numbers).difference(*self.read)


class Cache:
    """The blocks of the last look and what was in them: most come again as they were.

    `edition` changes whenever a slot changed in anything but what every renewal changes.
    """

    def __init__(self) -> None:
        self.edition = 0
        self._area: uuid.UUID | None = None
        self._kept: dict[int, Kept] = {}
        self._runs: dict[int, _Run] = {}

    def take(self, numbers: Sequence[int], first: int, data: memoryview, area: uuid.UUID) -> Found:
        """Return what is in the blocks with these `numbers`; `data` begins with block `first`.

        A thousand blocks a second pass here on a witness. In a long run of them those whose
        sequence and checksum are as at the last look are not touched, unless that has been so for
        a few looks: what is believed is always what was whole when it was read in full.
        """
        if area != self._area:
            self._area, self._kept, self._runs = area, {}, {}
        if len(numbers) < LONG or numbers[-1] - numbers[0] >= len(numbers):
            return self._read(numbers, first, data, area)
        marks, before = _marks(data, numbers[0] - first), self._runs.get(first)
        if before is None or before.numbers != numbers:
            before = _Run(numbers, marks, {}, frozenset(numbers), ())  # nothing is to be believed
        some = {*before.damaged, *_differ(before, marks), *before.unread()}
        found = self._read(sorted(some), first, data, area)
        slots = {**before.slots, **found.slots}
        for number in some:
            if number - FIRST_HOST not in found.slots:
                slots.pop(number - FIRST_HOST, None)
        found.slots = slots
        damaged = frozenset(index + FIRST_HOST for index in found.damaged)
        read = (*before.read, frozenset(some))[1 - TURNS :]
        self._runs[first] = _Run(numbers, marks, slots, damaged, read)
        return found

    def _read(self, numbers: Iterable[int], first: int, data: Block, area: uuid.UUID) -> Found:
        kept, found = self._kept, Found()
        slots = found.slots
        for number in numbers:
            at, index = (number - first) * BLOCK, number - FIRST_HOST
            block = data[at : at + BLOCK]
            known = kept.get(index)
            if known is None or not known.renew(block):
                known = self._unpack(block, index, area, found)
            if known is not None and known.slot is not None:
                slots[index] = known.slot
        return found

    def _unpack(self, block: Block, index: int, area: uuid.UUID, found: Found) -> Kept | None:
        self._kept.pop(index, None)
        self.edition += 1
        try:
            known = Kept(block, unpack_slot(block, index, area))
        except Damaged as exc:
            found.damaged[index] = str(exc)
            if isinstance(exc, Stray):
                found.strays.add(index)
            return None
        self._kept[index] = known
        return known


def _marks(data: memoryview, begin: int) -> tuple[list[int], list[int]]:
    """Return the lower half of the sequence, and the checksum, of each block from `begin` on."""
    words = data.cast("I")[begin * _WORDS :]
    return words[SEQUENCE_AT // 4 :: _WORDS].tolist(), words[_WORDS - 1 :: _WORDS].tolist()


def _differ(before: _Run, marks: tuple[list[int], list[int]]) -> Iterator[int]:
    """Yield the numbers of the blocks that are not as before."""
    for column, then in zip(marks, before.marks, strict=True):
        yield from compress(before.numbers, map(ne, column, then))


class Blocks(Protocol):
    """Somewhere that keeps 4 KiB blocks; what the claim and the reader need of a file."""

    def read(self, first: int, count: int) -> Block:
        """Return `count` blocks, good until the next call."""

    def write(self, block: int, data: bytes) -> None: ...

    def close(self) -> None: ...


class SlotFile:
    """A shared file or block device, used by one thread; every call may hang for long.

    Opens lazily and again after an error or when the path leads to another file (restored,
    replaced, failed over). Raises OSError for storage trouble, `LeaseError` for a path that
    cannot be an area at all.
    """

    def __init__(self, path: str) -> None:
        self._fd = -1
        self.path = path
        self.direct = False
        self._identity: tuple[int, int, int] | None = None
        self._buffer = mmap.mmap(-1, BLOCK)  # anonymous memory is page-aligned

    def read(self, first: int, count: int) -> Block:
        """Return `count` blocks from block number `first` on, good until the next call."""
        size = count * BLOCK
        self._make_room(size)
        fd = self._open()
        if not self.direct:  # ask the page cache not to answer for the storage
            os.posix_fadvise(fd, first * BLOCK, size, os.POSIX_FADV_DONTNEED)
        part = memoryview(self._buffer)[:size]
        try:
            got = os.preadv(fd, [part], first * BLOCK)
        except OSError:
            self.close()
            raise
        if got != size:
            self.close()
            raise OSError(errno.EIO, f"{self.path}: read {got} of {size} bytes")
        return part

    def write(self, block: int, data: bytes) -> None:
        """Write one block and wait until the storage has it."""
        if len(data) != BLOCK:
            raise ValueError(f"a block has {BLOCK} bytes, not {len(data)}")
        self._put(block, data)

    def wipe(self, first: int, count: int) -> None:
        """Write zeros to `count` blocks from block number `first` on."""
        for start in range(first, first + count, CHUNK):
            self._put(start, bytes(min(CHUNK, first + count - start) * BLOCK))

    def _put(self, block: int, data: bytes) -> None:
        size = len(data)
        fd = self._open()
        self._make_room(size)
        self._buffer[:size] = data
        with memoryview(self._buffer) as whole, whole[:size] as part:
            try:
                put = os.pwritev(fd, [part], block * BLOCK)
            except OSError:
                self.close()
                raise
            if put != size:
                self.close()
                raise OSError(errno.EIO, f"{self.path}: wrote {put} of {size} bytes")

    def _make_room(self, size: int) -> None:
        if len(self._buffer) < size:
            self._buffer = mmap.mmap(-1, size)  # the old one goes when nobody reads it any more

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()  # a block device cannot be detached while anybody holds it open

    def _open(self) -> int:
        found = os.stat(self.path)  # noqa: PTH116 - raises OSError with the path
        identity = (found.st_dev, found.st_ino, found.st_rdev)
        if self._fd >= 0 and identity == self._identity:
            return self._fd
        self.close()
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)):
            raise LeaseError(f"{self.path} is neither a file nor a block device")
        self._fd, self.direct = _open_direct(self.path)
        self._identity = identity
        return self._fd


def _open_direct(path: str) -> tuple[int, bool]:
    """Return a descriptor and whether it bypasses the page cache.

    Some filesystems refuse O_DIRECT at open (tmpfs before Linux 6.6), some at the first read.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
    else:
        with mmap.mmap(-1, BLOCK) as trial:
            try:
                os.preadv(fd, [trial], 0)
            except OSError as exc:
                os.close(fd)
                if exc.errno != errno.EINVAL:
                    raise
            else:
                return fd, True
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DSYNC), False


def beginning(path: str, size: int) -> bytes:
    """Return the first `size` bytes of `path`, from storage, not memory; less if it has less."""
    fd, _direct = _open_direct(path)
    try:
        with mmap.mmap(-1, size) as memory:
            return memory[: os.preadv(fd, [memory], 0)]
    finally:
        os.close(fd)


def check_header(data: bytes | memoryview, cluster: str | None = None) -> Header:
    """Return the header in block 0; raises `LeaseError` if damaged or another cluster's."""
    try:
        header = unpack_header(data)
    except Damaged as exc:
        raise LeaseError(f"{exc}; run 'vmha-agent init' if this area is new") from exc
    if cluster is not None and header.cluster != cluster:
        raise LeaseError(
            f"the slots belong to cluster '{header.cluster}', [agent] cluster is '{cluster}'"
        )
    return header


def read_table(
    blocks: Blocks,
    hosts: Iterable[int] | None,
    cluster: str,
    known: int,
    cache: Cache | None = None,
) -> Table:
    """Read header, roster and the slots of `hosts` (None: all) and return them.

    `known` is the number of slots as read before (0: not yet): then all of them are fetched in
    few large reads, and a few in as few reads as they have neighbourhoods. `cache` keeps what
    was unpacked for the next call.
    Raises OSError, or `LeaseError` when the header is damaged or another cluster's.
    """
    started = time.monotonic()
    if not known:
        known = check_header(blocks.read(0, 1), cluster).hosts
    wanted: Sequence[int] = range(FIRST_HOST + known)
    if hosts is not None:
        wanted = [0, 1, *sorted(FIRST_HOST + n for n in {*hosts} if n < known)]
    cache = cache or Cache()
    header: Header | None = None
    roster: Roster | None = None
    problem: str | None = None
    found = Found()
    # Taken in while they are fetched: a table of 2000 hosts need not be in memory twice.
    for run in _runs(wanted):
        data = memoryview(blocks.read(run[0], run[-1] - run[0] + 1))
        if header is None:  # the first two blocks come first
            header, run = check_header(data[:BLOCK], cluster), run[2:]
            if header.hosts != known:  # made anew with another geometry
                return read_table(blocks, hosts, cluster, header.hosts, cache)
            roster, problem = _roster_in(data[BLOCK : 2 * BLOCK], header)
            some = cache.take(run, 0, data, header.uuid)
        else:
            some = cache.take(run, run[0], data, header.uuid)
        found.slots |= some.slots
        found.damaged |= some.damaged
        found.strays |= some.strays
    assert header is not None
    return Table(
        started,
        time.monotonic(),
        header,
        roster,
        found.slots,
        found.damaged,
        problem,
        frozenset(found.strays),
        cache.edition,
    )


def _runs(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield these ascending numbers of blocks in parts: those close together are one read."""
    if isinstance(numbers, range):  # all, without a gap
        yield from (numbers[n : n + CHUNK] for n in range(0, len(numbers), CHUNK))
        return
    begin = 0
    for place in range(1, len(numbers) + 1):
        if (
            place == len(numbers)
            or numbers[place] - numbers[place - 1] > NEAR
            or numbers[place] - numbers[begin] >= CHUNK
        ):
            yield numbers[begin:place]
            begin = place


def _roster_in(block: memoryview, header: Header) -> tuple[Roster | None, str | None]:
    """Return the roster, or what is wrong with it."""
    try:
        return unpack_roster(block, header.uuid), None
    except Damaged as exc:
        return None, str(exc)
