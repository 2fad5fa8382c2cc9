# SPDX-License-Identifier: Apache-2.0
"""Removing incidents that are long over, with all that belongs to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, cast

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

#: What belongs to an incident, under the name it is counted by; removed before it.
PARTS: Mapping[str, Any] = {
    "steps": StepRow,
    "VMs": VmRow,
    "changes": ChangeRow,
    "confirmations": ConfirmationRow,
}
INCIDENTS, RESTARTS = "incidents", "restarts of single VMs"
#: Incidents in one transaction: the engine has to get its turn in between, and databases limit
#: a statement's parameters (SQLite: 999 in old versions).
BATCH = 200


def purge(
    database: Database, before: float, *, dry_run: bool = False, batch: int = BATCH
) -> Mapping[str, int]:
    """Remove incidents closed before `before` (s since the epoch); return how many rows of what.

    One that is active, or of which somebody is still to be told, stays. With `dry_run` they are
    only counted. Raises `StoreUnavailable`; batches that are done stay done.
    """
    total: Counter[str] = Counter({INCIDENTS: 0, **dict.fromkeys(PARTS, 0)})
    total[RESTARTS] = _restarts(database, before, dry_run)
    for ids in _batches(database, before, batch):
        total.update(_count(database, ids) if dry_run else _remove(database, ids))
    return total


def _batches(database: Database, before: float, batch: int) -> Iterator[list[int]]:
    untold = sa.select(ChangeRow.incident_id).where(ChangeRow.told.is_(None))
    last = 0
    while True:
        query = (
            sa.select(IncidentRow.id)
            .where(
                IncidentRow.active_host.is_(None),
                IncidentRow.closed < before,
                IncidentRow.id > last,
                IncidentRow.id.not_in(untold),
            )
            .order_by(IncidentRow.id)
            .limit(batch)
        )
        ids = database.read(lambda session, query=query: list(session.scalars(query)))  # type: ignore[misc]
        if not ids:
            return
        last = ids[-1]
        yield ids


def _restarts(database: Database, before: float, dry_run: bool) -> int:
    old = VmRestartRow.time < before
    if dry_run:
        query = sa.select(sa.func.count()).where(old)
        return database.read(lambda session: session.scalar(query) or 0)
    return database.write(lambda session: _delete(session, sa.delete(VmRestartRow).where(old)))


def _count(database: Database, ids: list[int]) -> dict[str, int]:
    def work(session: Session) -> dict[str, int]:
        found = {INCIDENTS: len(ids)}
        for name, part in PARTS.items():
            query = sa.select(sa.func.count()).where(part.incident_id.in_(ids))
            found[name] = session.scalar(query) or 0
        return found

    return database.read(work)


def _remove(database: Database, ids: list[int]) -> dict[str, int]:
    def work(session: Session) -> dict[str, int]:
        gone = {
            name: _delete(session, sa.delete(part).where(part.incident_id.in_(ids)))
            for name, part in PARTS.items()
        }
        gone[INCIDENTS] = _delete(session, sa.delete(IncidentRow).where(IncidentRow.id.in_(ids)))
        return gone

    return database.write(work)


def _delete(session: Session, statement: Any) -> int:
    return cast("sa.CursorResult[Any]", session.execute(statement)).rowcount
