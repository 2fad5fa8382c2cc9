# SPDX-License-Identifier: Apache-2.0
"""Lease driver `slots`: a lease lives while the sequence in its slot changes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmha_pollsters.lease.contract import Sight, Table
from vmha_pollsters.lease.layout import Slot

#: Without one renewal seen, a lease's age is known only after this many intervals of watching.
WATCH_INTERVALS = 8
#: Two looks further apart than this many intervals do not tell *when* a slot changed.
GAP_INTERVALS = 2
#: A slot that goes back to an earlier owner's nonce is fought over; remembered for:
FIGHT_INTERVALS = 15


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
        seen = {index: self._look_at(slot, table) for index, slot in table.slots.items()}
        for index, problem in table.damaged.items():
            seen[index] = Sight(None, table.started, problem)
        return seen

    def _look_at(self, slot: Slot, table: Table) -> Sight:
        memory = self._remember(self._memory.get(slot.index), slot, table)
        self._memory[slot.index] = memory
        if table.finished < memory.fought_until:
            return Sight(None, table.started, f"slot {slot.index}: two hosts write it")
        # From the end of the look that saw it change to the beginning of this one: the
        # shortest time that it can have been, so that no host looks older than it is.
        age = max(0.0, table.started - memory.since)
        if memory.sure or age >= self._watch:
            return Sight(age, table.started)
        return Sight(None, table.started)  # no renewal seen yet

    def _remember(self, before: _Memory | None, slot: Slot, table: Table) -> _Memory:
        now = table.finished
        if before is None:
            return _Memory(slot, now, sure=False, looked=now, past_nonces=(slot.nonce,))
        # Most often it is the very same object: see `agent.slots.Cache`.
        if before.slot is slot or before.slot.version == slot.version:
            before.looked = now
            return before
        past, fought = before.past_nonces, before.fought_until
        if slot.nonce != past[-1]:
            fought = now + self._fight if slot.nonce in past else fought
            past = (*(n for n in past if n != slot.nonce), slot.nonce)[-4:]
        sure = now - before.looked <= self._gap
        return _Memory(slot, now, sure, now, past, fought)
