# SPDX-License-Identifier: Apache-2.0
"""What people say of hosts apart from incidents: that one is in maintenance."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from vmha_remediator.remedy.facts import Maintenance
from vmha_remediator.store.common import Part
from vmha_remediator.store.models import MaintenanceRow


class Hosts(Part):
    """Maintenance flags."""

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


def _maintenance(row: MaintenanceRow) -> Maintenance:
    return Maintenance(row.host, row.reason, row.who, row.since, row.until)
