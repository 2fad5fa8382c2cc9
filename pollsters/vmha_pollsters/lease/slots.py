# SPDX-License-Identifier: Apache-2.0
"""Lease driver `slots`: a lease lives while the sequence in its slot changes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from vmha_pollsters.lease.contract import Sight, Table
from vmha_pollsters.lease.layout import Slot

#: Without one renewal seen, a lease's age is known only after this many intervals of watching.
WATCH_INTERVALS = 8
#: Two looks further apart than this many intervals do not tell *when* a slot changed.
GAP_INTERVALS = 2
#: A slot that goes back to an earlier owner's nonce is fought over; remembered for:
FIGHT_INTERVALS = 15


class SlotsLease:
    """Judges freshness by this host's monotonic clock only; clocks are never compared.

    A thousand leases pass here with every look of a witness: what is remembered of one is in
    columns, of which a renewal touches two.
    """

    name = "slots"

    def __init__(self, settings: Any) -> None:
        interval = float(settings.lease_interval)
        self._watch = WATCH_INTERVALS * interval
        self._gap = GAP_INTERVALS * interval
        self._fight = FIGHT_INTERVALS * interval
        self._forget(None)

    def _forget(self, area: uuid.UUID | None) -> None:
        self._area = area
        self._slots: dict[int, Slot] = {}
        self._sequences: dict[int, int] = {}
        self._since: dict[int, float] = {}  # end of the look that first saw this version
        self._looked: dict[int, float] = {}  # end of the last look
        self._unsure: set[int] = set()  # that look did not follow close enough on the one before
        self._nonces: dict[int, tuple[bytes, ...]] = {}
        self._fought_until: dict[int, float] = {}

    def look(self, table: Table) -> Mapping[int, Sight]:
        """Return the age of every lease in `table`, as of the beginning of that read."""
        if table.header.uuid != self._area:  # re-initialised: nothing of before counts
            self._forget(table.header.uuid)
        began, finished, since = table.started, table.finished, self._since
        for index in self._changed(table):
            self._take(index, table.slots[index], table.sequences[index], finished)
        self._looked.update(dict.fromkeys(table.slots, finished))
        seen: dict[int, Sight] = {}
        alike: dict[float, Sight] = {}  # most were seen to change by the same few looks
        for index in table.slots:
            changed = since[index]
            sight = alike.get(changed)
            if sight is None:
                # From the end of the look that saw it change to the beginning of this one: the
                # shortest time that it can have been, so that no host looks older than it is.
                sight = alike[changed] = Sight(max(0.0, began - changed), began)
            seen[index] = sight
        for index in self._unsure & seen.keys():
            if began - since[index] < self._watch:
                seen[index] = Sight(None, began)  # no renewal seen yet
        for index, until in self._fought_until.items():
            if finished < until and index in seen:
                seen[index] = Sight(None, began, f"slot {index}: two hosts write it")
        for index, problem in table.damaged.items():
            seen[index] = Sight(None, began, problem)
        return seen

    def _changed(self, table: Table) -> list[int]:
        """Return the slots that were renewed, or say something else than before."""
        slots, sequences, now = self._slots, self._sequences, table.sequences
        return [
            index
            for index, slot in table.slots.items()
            if now[index] != sequences.get(index) or slots[index] is not slot
        ]

    def _take(self, index: int, slot: Slot, sequence: int, finished: float) -> None:
        """Remember what a slot holds now: as old as before, if only something else changed."""
        before = self._slots.get(index)
        if before is not slot:
            self._slots[index] = slot
            if before is None:
                self._nonces[index] = (slot.nonce,)
            elif slot.nonce != before.nonce:
                self._change_hands(index, slot.nonce, finished)
            elif (slot.generation, sequence) == (before.generation, self._sequences[index]):
                return
        if finished - self._looked.get(index, float("-inf")) <= self._gap:
            self._unsure.discard(index)
        else:
            self._unsure.add(index)
        self._sequences[index], self._since[index] = sequence, finished

    def _change_hands(self, index: int, nonce: bytes, finished: float) -> None:
        """Note a slot's new owner, or that one of before is back."""
        past = self._nonces[index]
        if nonce in past:
            self._fought_until[index] = finished + self._fight
        self._nonces[index] = (*(n for n in past if n != nonce), nonce)[-4:]
