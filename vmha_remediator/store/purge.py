# SPDX-License-Identifier: Apache-2.0
"""Removing incidents that are long over, with all that belongs to them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from vmha_remediator.store.database import Database
from vmha_remediator.store.models import (
    ChangeRow,
    ConfirmationRow,
    IncidentRow,
    StepRow,
    VmRestartRow,
    VmRow,
)

#: What belongs to an incident; removed before it.
_PARTS = (StepRow, VmRow, ChangeRow, ConfirmationRow)
#: Rows named in one statement: databases limit its parameters (SQLite: 999 in old versions).
_BATCH = 500


def purge(database: Database, before: float) -> int:
    """Remove incidents closed before `before` (s since the epoch); return how many.

    Restarts of single VMs go with them.

    One that is active, or of which a change is still to be reported, stays. Raises
    `StoreUnavailable`.
    """
    unreported = sa.select(ChangeRow.incident_id).where(ChangeRow.told.is_(None))
    query = sa.select(IncidentRow.id).where(
        IncidentRow.active_host.is_(None),
        IncidentRow.closed < before,
        IncidentRow.id.not_in(unreported),
    )

    def work(session: Session) -> int:
        session.execute(sa.delete(VmRestartRow).where(VmRestartRow.time < before))
        ids = list(session.scalars(query))
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            for part in _PARTS:
                session.execute(sa.delete(part).where(part.incident_id.in_(batch)))
            session.execute(sa.delete(IncidentRow).where(IncidentRow.id.in_(batch)))
        return len(ids)

    return database.write(work)
