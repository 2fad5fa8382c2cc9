# SPDX-License-Identifier: Apache-2.0
"""What the last look at the slots found, so that the next one unpacks only what is new."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import ne

from vmha_pollsters.lease.layout import (
    BLOCK,
    FIRST_HOST,
    SEQUENCE_AT,
    Block,
    Damaged,
    Kept,
    Slot,
    Stray,
    unpack_slot,
)

#: In a run of so many blocks or more, those that look as before are read in full only if they
#: were not in so many looks.
LONG = 64
TURNS = 4
_WORDS = BLOCK // 4


@dataclass
class Found:
    """What a look found in the slots: their content, or why a block cannot be believed."""

    slots: dict[int, Slot] = field(default_factory=dict)
    sequences: dict[int, int] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)
    strays: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Run:
    """What one long read of neighbouring blocks gave the last time."""

    numbers: Sequence[int]
    marks: tuple[list[int], list[int]]  # of each: its sequence and its checksum, not looked into
    slots: Mapping[int, Slot]
    sequences: Mapping[int, int]
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
            unread = frozenset(numbers)  # nothing is to be believed
            before = _Run(numbers, marks, {}, {}, damaged=unread, read=())
        some = {*before.damaged, *_differ(before, marks), *before.unread()}
        found = self._read(sorted(some), first, data, area)
        gone = before.slots.keys() & {n - FIRST_HOST for n in some} - found.slots.keys()
        found.slots = {**before.slots, **found.slots}
        found.sequences = {**before.sequences, **found.sequences}
        for index in gone:
            del found.slots[index], found.sequences[index]
        damaged = frozenset(index + FIRST_HOST for index in found.damaged)
        read = (*before.read, frozenset(some))[1 - TURNS :]
        self._runs[first] = _Run(numbers, marks, found.slots, found.sequences, damaged, read)
        return found

    def _read(self, numbers: Iterable[int], first: int, data: Block, area: uuid.UUID) -> Found:
        kept, found = self._kept, Found()
        slots, sequences = found.slots, found.sequences
        for number in numbers:
            at, index = (number - first) * BLOCK, number - FIRST_HOST
            block = data[at : at + BLOCK]
            known = kept.get(index)
            if known is None or not known.renew(block):
                known = self._unpack(block, index, area, found)
            if known is not None and known.slot is not None:
                slots[index], sequences[index] = known.slot, known.sequence
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
