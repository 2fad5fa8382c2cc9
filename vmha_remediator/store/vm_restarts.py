# SPDX-License-Identifier: Apache-2.0
"""Restarts in place, counted where they survive the engine."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from vmha_remediator.store.common import Part, lead
from vmha_remediator.store.models import IncidentRow, VmRestartRow


@dataclass(frozen=True)
class VmRestart:
    """One restart in place; `ok` None: begun, its outcome is not known."""

    server_id: str
    name: str
    host: str
    time: float
    ok: bool | None
    sentence: str


class VmRestarts(Part):
    """What has been done for single VMs."""

    def restarts(self, server_id: str, since: float, subject: str) -> tuple[float, ...]:
        """Return when a VM was restarted since then, oldest first (s since the epoch).

        The end of a report on it (an incident whose host is `subject`) begins the count anew.
        """
        ended = sa.select(sa.func.max(IncidentRow.closed)).where(IncidentRow.host == subject)
        query = (
            sa.select(VmRestartRow.time)
            .where(VmRestartRow.server_id == server_id, VmRestartRow.time >= since)
            .order_by(VmRestartRow.time)
        )

        def read(session: Session) -> tuple[float, ...]:
            after = session.scalar(ended) or 0.0
            return tuple(time for time in session.scalars(query) if time > after)

        return self.database.read(read)

    def all_restarts(self, since: float) -> list[VmRestart]:
        """Return every restart since then, the latest first."""
        query = (
            sa.select(VmRestartRow)
            .where(VmRestartRow.time >= since)
            .order_by(VmRestartRow.id.desc())
        )

        def read(session: Session) -> list[VmRestart]:
            return [
                VmRestart(r.server_id, r.name, r.host, r.time, r.ok, r.sentence)
                for r in session.scalars(query)
            ]

        return self.database.read(read)

    def begin_restart(
        self, server_id: str, name: str, host: str, sentence: str, *, epoch: int
    ) -> int:
        """Count a restart before it is done; refused with `StaleEpoch` for a deposed leader."""

        def write(session: Session) -> int:
            lead(session, epoch)
            row = VmRestartRow(
                server_id=server_id,
                name=name[:255],
                host=host,
                time=self._clock(),
                sentence=sentence,
                epoch=epoch,
            )
            session.add(row)
            session.flush()
            return row.id

        return self.database.write(write)

    def finish_restart(self, number: int, ok: bool, sentence: str) -> None:
        """Write down what Nova answered."""

        def write(session: Session) -> None:
            row = session.get_one(VmRestartRow, number)
            row.ok, row.sentence = ok, sentence

        self.database.write(write)
