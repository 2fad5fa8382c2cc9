# SPDX-License-Identifier: Apache-2.0
"""Taking back the promise in this host's slot when its agent cannot do it itself."""

from __future__ import annotations

import uuid
from dataclasses import replace

from vmha_pollsters.agent.storage.slotfile import Blocks
from vmha_pollsters.agent.storage.table import read_table
from vmha_pollsters.lease.contract import Table
from vmha_pollsters.lease.layout import FIRST_HOST, Flag, Slot, pack_slot
from vmha_remediator.errors import LeaseError


class SlotPromise:
    """The promise of one host's present boot; used by one thread, every call may hang."""

    def __init__(self, blocks: Blocks, cluster: str, host: str, boot_id: uuid.UUID) -> None:
        self._blocks = blocks
        self._cluster = cluster
        self._host, self._boot_id = host, boot_id

    def withdraw(self) -> bool:
        """Take the promise back if there is one; return whether the slot is seen without it.

        The sequence stays as it is: this is no renewal. Raises OSError, `LeaseError`.
        """
        table = self._read()
        for slot in self._armed(table):
            bare = replace(
                slot, flags=slot.flags & ~Flag.WATCHDOG, watchdog_timeout=0.0, watchdog_promise=0.0
            )
            self._blocks.write(FIRST_HOST + slot.index, pack_slot(bare, table.header.uuid))
        return not self._armed(self._read() if self._armed(table) else table)

    def _read(self) -> Table:
        table = read_table(self._blocks, None, self._cluster, 0)
        if table.damaged:
            raise LeaseError(f"cannot be sure of the slot: {next(iter(table.damaged.values()))}")
        return table

    def _armed(self, table: Table) -> list[Slot]:
        return [
            slot
            for slot in table.slots.values()
            if slot.host == self._host
            and slot.boot_id == self._boot_id
            and (Flag.WATCHDOG in slot.flags or slot.watchdog_promise)
        ]
