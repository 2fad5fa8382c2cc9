# SPDX-License-Identifier: Apache-2.0
"""Owning a slot: claim it as sanlock claims a delta lease, renew it, notice its loss."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vmha_pollsters.agent.storage.slotfile import Blocks
from vmha_pollsters.agent.storage.table import check_header, read_table
from vmha_pollsters.lease.contract import Table
from vmha_pollsters.lease.layout import (
    FIRST_HOST,
    NO_FLAGS,
    Damaged,
    Flag,
    Opinion,
    Roster,
    Slot,
    has,
    pack_roster,
    pack_slot,
    unpack_slot,
)
from vmha_remediator.errors import LeaseError

ATTEMPTS = 5
#: A renewal reads its slot first when the one before is longer ago than so many intervals (this
#: host may have stood still, and lost it) ...
STEADY = 1.5
#: ... or the area was not looked at for so long, or the slot itself.
LOOKED = 1.5
OWN_LOOKED = 5.0


class ClaimLost(LeaseError):
    """Somebody else wrote the slot; claim again."""


class Stopped(Exception):
    """The agent stops while a claim waits."""


@dataclass(frozen=True)
class Identity:
    """Who claims."""

    host: str
    address: str
    boot_id: uuid.UUID
    cluster: str
    priority: int = 0


@dataclass(frozen=True)
class Content:
    """What a renewal says besides that the host lives."""

    flags: Flag = NO_FLAGS
    views: Sequence[Opinion] = ()
    watchdog_timeout: float = 0.0
    watchdog_promise: float = 0.0


class Keeper:
    """Keeps one host's slot; used by the writing thread only.

    `wait` sleeps that many seconds and returns True when the agent is to stop. Raises OSError
    for storage trouble, `LeaseError` with the reason for everything else.
    """

    def __init__(
        self,
        blocks: Blocks,
        me: Identity,
        interval: float,
        wait: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._blocks = blocks
        self._me = me
        self._interval = interval
        self._wait = wait
        self._clock = clock
        self._wall = wall
        self._area: uuid.UUID | None = None
        self._written = self._seen = float("-inf")  # when the slot was last written, seen as ours
        self.slot: Slot | None = None

    def claim(self) -> Slot:
        """Claim a slot and return it, or raise `LeaseError` saying who holds the name."""
        self.slot = None
        for attempt in range(ATTEMPTS):
            began = self._clock()
            table = read_table(self._blocks, None, self._me.cluster, 0)
            mine = [s for s in table.slots.values() if s.host == self._me.host]
            again = min(mine, key=lambda s: s.index) if mine else None
            if again is not None and not self._same_boot(again):
                self._refuse_if_alive(again)
                began = self._clock()
            index = again.index if again is not None else self._free(table, attempt)
            slot = self._fresh(index, again)
            self._put(slot, table.header.uuid)
            if again is not None and self._same_boot(again):
                return self._won(slot, table)  # only this machine can have written it
            # Whoever read the slot as free before this write has now at most as long as this
            # claim took to overwrite it; a claim that took longer than that starts anew.
            if self._clock() - began > self._interval / 2:
                continue
            self._pause(self._interval)
            if self._read_own(slot.index, table.header.uuid) == slot:
                return self._won(slot, table)
        raise LeaseError(f"no slot could be claimed in {ATTEMPTS} attempts; trying again")

    def renew(self, content: Content, looked: Table | None = None) -> Slot:
        """Write the next sequence with `content`; raises `ClaimLost` when it is not ours.

        `looked` is what this host last read of the area anyway. While it shows the slot as ours
        often enough, the slot is not read again for the renewal.
        """
        held, area = self.slot, self._area
        if held is None or area is None:
            raise ClaimLost("no slot is claimed")
        began = self._clock()
        if not self._is_ours(held, area, looked, began):
            other_area = looked is not None and looked.header.uuid != area
            there = self._still_there(held, area, other_area)
            if there.nonce != held.nonce and not has(there.flags, Flag.CLAIMING):
                raise self._lost(
                    f"slot {held.index} is now written by host '{there.host}' at {there.address}"
                )
            self._seen = began
        slot = Slot(
            index=held.index,
            host=held.host,
            address=held.address,
            boot_id=held.boot_id,
            nonce=held.nonce,
            generation=held.generation,
            sequence=held.sequence + 1,
            flags=content.flags,
            priority=held.priority,
            wall=self._wall(),
            watchdog_timeout=content.watchdog_timeout,
            watchdog_promise=content.watchdog_promise,
            views=content.views,
        )
        self._put(slot, area)
        self.slot, self._written = slot, began
        return slot

    def _is_ours(self, held: Slot, area: uuid.UUID, looked: Table | None, now: float) -> bool:
        """Tell whether `looked` leaves no doubt that the slot is still ours."""
        if looked is None or looked.header.uuid != area:
            return False
        if held.index in looked.damaged:
            return False
        there = looked.slots.get(held.index)
        if there is not None:
            if there.nonce != held.nonce:
                return False
            self._seen = max(self._seen, looked.started)
        return (
            now - self._written <= STEADY * self._interval
            and now - looked.started <= LOOKED * self._interval
            and now - self._seen <= OWN_LOOKED * self._interval
        )

    def write_roster(self, roster: Roster) -> None:
        """Write the roster; the caller has found that it is the master."""
        if self._area is None:
            raise ClaimLost("no slot is claimed")
        self._blocks.write(1, pack_roster(roster, self._area))

    def _same_boot(self, slot: Slot) -> bool:
        return slot.boot_id == self._me.boot_id and slot.address == self._me.address

    def _refuse_if_alive(self, slot: Slot) -> None:
        """Watch a slot with our name from another boot: a live one is another machine."""
        self._pause(2 * self._interval + 1.0)
        table = read_table(self._blocks, [slot.index], self._me.cluster, 0)
        now = table.slots.get(slot.index)
        if now is not None and now.version != slot.version:
            raise LeaseError(
                f"host name '{slot.host}' is in use: slot {slot.index} is being renewed by "
                f"{now.address} (boot {now.boot_id}); two agents must not share [agent] host"
            )

    def _free(self, table: Table, attempt: int) -> int:
        taken = table.slots.keys() | (table.damaged.keys() - table.strays)
        free = [n for n in range(table.header.hosts) if n not in taken]
        if not free:
            raise LeaseError(
                f"all {table.header.hosts} slots are taken; 'vmha-agent dump' lists them"
            )
        return free[0] if attempt == 0 else secrets.choice(free)

    def _fresh(self, index: int, again: Slot | None) -> Slot:
        return Slot(
            index=index,
            host=self._me.host,
            address=self._me.address,
            boot_id=self._me.boot_id,
            nonce=secrets.token_bytes(16),
            generation=again.generation + 1 if again is not None else 1,
            sequence=again.sequence + 1 if again is not None else 1,
            flags=Flag.CLAIMING,
            priority=self._me.priority,
            wall=self._wall(),
        )

    def _still_there(self, held: Slot, area: uuid.UUID, other_area: bool) -> Slot:
        """Return what is in our slot; only if something is strange the header is asked, too.

        A claim that waited while the area was initialised anew has written into the new area what
        belongs to the old one: the slot is ours as before, and nobody else believes it.
        """
        try:
            there = unpack_slot(self._blocks.read(FIRST_HOST + held.index, 1), held.index, area)
        except Damaged:
            there = held  # it is ours and about to be written again: that repairs it
        else:
            if there is not None and not other_area:
                return there
        if check_header(self._blocks.read(0, 1), self._me.cluster).uuid != area:
            raise self._lost("the slots area was initialised anew")
        if there is None:
            raise self._lost(f"slot {held.index} was wiped")
        return there

    def _put(self, slot: Slot, area: uuid.UUID) -> None:
        self._blocks.write(FIRST_HOST + slot.index, pack_slot(slot, area))

    def _read_own(self, index: int, area: uuid.UUID) -> Slot | None:
        try:
            return unpack_slot(self._blocks.read(FIRST_HOST + index, 1), index, area)
        except Damaged:
            return self.slot  # it is ours and about to be written again: that repairs it

    def _won(self, slot: Slot, table: Table) -> Slot:
        self._area, self.slot = table.header.uuid, slot
        return slot

    def _lost(self, why: str) -> ClaimLost:
        self.slot = None
        return ClaimLost(why)

    def _pause(self, seconds: float) -> None:
        if self._wait(seconds):
            raise Stopped
