# SPDX-License-Identifier: Apache-2.0
"""Lease driver `slots`: a lease lives while the sequence in its slot changes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from vmha_pollsters.lease.contract import Sight, Table
from vmha_pollsters.lease.layout import Slot

#: Without one renewal seen, a lease's age is known only after this many intervals of watching.
WATCH_INTERVALS = 8
#: Two looks further apart than this many intervals do not tell *when* a slot changed.
GAP_INTERVALS = 2
#: A slot that goes back to an earlier owner's nonce is fought over; remembered for:
FIGHT_INTERVALS = 15


#: Makes a `Sight` of its three fields in a third of the time: one a slot and look.
_sight: Callable[[tuple[float | None, float, str | None]], Sight] = partial(tuple.__new__, Sight)


@dataclass(slots=True)
class _Memory:
    """What the looks so far told about one slot."""

    slot: Slot  # as first seen with this version
    since: float  # end of the look that first saw this version
    sure: bool  # that look followed close enough on the one before
    looked: float  # end of the last look
    past_nonces: tuple[bytes, ...] = ()
    fought_until: float = 0.0


class SlotsLease:
    """Judges freshness by this host's monotonic clock only; clocks are never compared."""

    name = "slots"

    def __init__(self, settings: Any) -> None:
        interval = float(settings.lease_interval)
        self._watch = WATCH_INTERVALS * interval
        self._gap = GAP_INTERVALS * interval
        self._fight = FIGHT_INTERVALS * interval
        self._area: uuid.UUID | None = None
        self._memory: dict[int, _Memory] = {}

    def look(self, table: Table) -> Mapping[int, Sight]:
        """Return the age of every lease in `table`, as of the beginning of that read."""
        if table.header.uuid != self._area:  # re-initialised: nothing of before counts
            self._area, self._memory = table.header.uuid, {}
        memories, began, finished = self._memory, table.started, table.finished
        unknown, seen = Sight(None, began), {}
        for index, slot in table.slots.items():
            memory = memories.get(index)
            if memory is None:
                memory = memories[index] = _Memory(slot, finished, False, finished, (slot.nonce,))
            elif memory.slot is not slot:  # most often it is the same: see `agent.storage.cache`
                self._compare(memory, slot, finished)
            memory.looked = finished
            # From the end of the look that saw it change to the beginning of this one: the
            # shortest time that it can have been, so that no host looks older than it is.
            age = began - memory.since
            if finished < memory.fought_until:
                seen[index] = Sight(None, began, f"slot {index}: two hosts write it")
            elif memory.sure or age >= self._watch:
                seen[index] = _sight((age if age > 0.0 else 0.0, began, None))
            else:
                seen[index] = unknown  # no renewal seen yet
        for index, problem in table.damaged.items():
            seen[index] = Sight(None, began, problem)
        return seen

    def _compare(self, memory: _Memory, slot: Slot, now: float) -> None:
        """Take in what a slot holds now, which may be what it held before."""
        before, nonce = memory.slot, slot.nonce
        if (
            before.sequence == slot.sequence
            and before.nonce == nonce
            and before.generation == slot.generation
        ):
            return
        past = memory.past_nonces
        if nonce != past[-1]:
            if nonce in past:
                memory.fought_until = now + self._fight
            memory.past_nonces = (*(n for n in past if n != nonce), nonce)[-4:]
        memory.slot, memory.since = slot, now
        memory.sure = now - memory.looked <= self._gap
