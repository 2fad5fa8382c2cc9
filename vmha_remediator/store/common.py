# SPDX-License-Identifier: Apache-2.0
"""What all parts of the store share: the database, the clock and the leader's epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from vmha_remediator.errors import StaleEpoch
from vmha_remediator.store.database import Database
from vmha_remediator.store.models import LeaderRow, StepRow

#: The id of the one row that says who leads.
LEADER = 1
_LEADER = (
    sa.select(LeaderRow.epoch, LeaderRow.owner)
    .where(LeaderRow.id == LEADER)
    .with_for_update(read=True)
)


class Part:
    """A part of the store."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self._clock = clock


def lead(session: Session, epoch: int) -> None:
    """Raise `StaleEpoch` unless `epoch` leads; holds the row until the transaction ends."""
    found = _leader(session)
    if found is None or found.epoch != epoch:
        who = f"{found.owner} leads with epoch {found.epoch}" if found else "nobody leads"
        raise StaleEpoch(f"epoch {epoch} is over: {who}")


def leads(session: Session, epoch: int) -> bool:
    """Tell whether `epoch` leads; holds the row until the transaction ends."""
    found = _leader(session)
    return found is not None and found.epoch == epoch


def _leader(session: Session) -> Any:
    return session.execute(_LEADER).one_or_none()


def step_row(
    incident_id: int, begun: float, step: str, text: str, epoch: int, finished: float | None = None
) -> StepRow:
    return StepRow(
        incident_id=incident_id,
        time=begun,
        finished=finished,
        step=step,
        sentence=text,
        ok=None if finished is None else True,
        epoch=epoch,
    )
