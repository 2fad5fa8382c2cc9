# SPDX-License-Identifier: Apache-2.0
"""What is remembered of hosts apart from incidents: maintenance, and how often they flapped."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from vmha_remediator.remedy.facts import Maintenance
from vmha_remediator.store.common import Part, lead
from vmha_remediator.store.models import MaintenanceRow, OnsetRow


class Hosts(Part):
    """Maintenance flags, which people set, and onsets, which the leader counts."""

    def set_maintenance(
        self, host: str, reason: str, who: str, until: float | None = None
    ) -> Maintenance:
        """Leave `host` alone until the flag is taken back or `until` (s since the epoch)."""

        def write(session: Session) -> Maintenance:
            row = session.get(MaintenanceRow, host, with_for_update=True)
            if row is None:
                row = MaintenanceRow(host=host)
                session.add(row)
            row.reason, row.who, row.since, row.until = reason, who, self._clock(), until
            return _maintenance(row)

        return self.database.write(write)

    def unset_maintenance(self, host: str) -> bool:
        """Take the flag back; False when there was none in force."""

        def write(session: Session) -> bool:
            row = session.get(MaintenanceRow, host, with_for_update=True)
            if row is None:
                return False
            stood = row.until is None or row.until > self._clock()
            session.delete(row)
            return stood

        return self.database.write(write)

    def maintenance(self) -> dict[str, Maintenance]:
        """Return the flags in force, by host."""
        query = (
            sa.select(MaintenanceRow)
            .where(sa.or_(MaintenanceRow.until.is_(None), MaintenanceRow.until > self._clock()))
            .order_by(MaintenanceRow.host)
        )
        return self.database.read(
            lambda session: {row.host: _maintenance(row) for row in session.scalars(query)}
        )

    def count_onset(self, host: str, window: float, *, epoch: int) -> list[float]:
        """Note that a host has got into a situation now; return the times of the last ones.

        Only those of the last `window` seconds are kept. Raises `StaleEpoch`.
        """
        now = self._clock()

        def write(session: Session) -> list[float]:
            lead(session, epoch)
            session.execute(
                sa.delete(OnsetRow).where(OnsetRow.host == host, OnsetRow.time < now - window)
            )
            session.add(OnsetRow(host=host, time=now))
            session.flush()
            query = sa.select(OnsetRow.time).where(OnsetRow.host == host).order_by(OnsetRow.time)
            return list(session.scalars(query))

        return self.database.write(write)


def _maintenance(row: MaintenanceRow) -> Maintenance:
    return Maintenance(row.host, row.reason, row.who, row.since, row.until)
