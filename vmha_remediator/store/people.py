# SPDX-License-Identifier: Apache-2.0
"""What people add to an incident, and what they are told of it."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from vmha_remediator.errors import IncidentError, NoSuchIncident
from vmha_remediator.remedy.incident import Change, Incident, VmStatus
from vmha_remediator.remedy.states import IncidentState
from vmha_remediator.store import rows
from vmha_remediator.store.common import lead, step_row
from vmha_remediator.store.incidents import Incidents
from vmha_remediator.store.models import ChangeRow, ConfirmationRow, IncidentRow

#: States in which an incident waits for a person, or may be closed by one.
RELEASABLE = frozenset({IncidentState.HELD, IncidentState.REPORTED, IncidentState.RECOVERED})


class People(Incidents):
    """Releases, confirmations and reports."""

    def release(self, incident_id: int, who: str) -> Incident:
        """Let a held incident go on, or close one that is only kept open.

        Held: the leader plans anew, and what held it is waived. Reported or recovered: it is
        closed, for a host that will not come back. Raises `IncidentError` in any other state.
        """

        def write(session: Session) -> None:
            row = session.get(IncidentRow, incident_id, with_for_update=True)
            if row is None:
                raise NoSuchIncident(f"there is no incident {incident_id}")
            if row.state not in RELEASABLE:
                raise IncidentError(f"incident {incident_id} is {row.state}, not held")
            now = self._clock()
            row.released_by, row.updated, row.version = who, now, row.version + 1
            row.waived = sorted({*row.waived, row.held_by} - {""})
            session.add(
                step_row(incident_id, now, "release", f"released by {who}", row.epoch, now)
            )

        self.database.write(write)
        return self.incident(incident_id)

    def retry(self, incident_id: int, who: str) -> Incident:
        """Have the VMs that are pending tried again now, not after their pause.

        Raises `IncidentError` when none is pending or the incident is over.
        """

        def write(session: Session) -> None:
            row = session.get(IncidentRow, incident_id, with_for_update=True)
            if row is None:
                raise NoSuchIncident(f"there is no incident {incident_id}")
            waiting = [vm for vm in row.vms if vm.status == VmStatus.PENDING]
            if row.active_host is None or not waiting:
                raise IncidentError(f"incident {incident_id} has no VM that waits to be tried")
            now = self._clock()
            for vm in waiting:
                vm.not_before = now
            row.updated, row.version = now, row.version + 1
            text = f"{who} has {len(waiting)} pending VMs tried again now"
            session.add(step_row(incident_id, now, "retry", text, row.epoch, now))

        self.database.write(write)
        return self.incident(incident_id)

    def confirm_fenced(self, host: str, who: str) -> Incident:
        """Note a person's word that `host` is off, for its active failure only.

        Raises `IncidentError` when the host has none: a word given in advance is worth nothing.
        """
        incident = self.active(host)
        if incident is None or incident.action != "recover":
            raise IncidentError(f"{host} has no active failure that could be confirmed")
        now = self._clock()

        def write(session: Session) -> None:
            query = sa.delete(ConfirmationRow).where(ConfirmationRow.incident_id == incident.id)
            session.execute(query)
            session.add(ConfirmationRow(incident_id=incident.id, host=host, who=who, time=now))
            text = f"{who} confirms that {host} is off"
            session.add(step_row(incident.id, now, "confirm-fenced", text, incident.epoch, now))

        self.database.write(write)
        return self.incident(incident.id)

    def confirmation(self, host: str) -> str | None:
        """Return who confirmed that `host` is off, for its active incident, or None."""
        query = (
            sa.select(ConfirmationRow)
            .join(IncidentRow, IncidentRow.id == ConfirmationRow.incident_id)
            .where(IncidentRow.active_host == host)
        )

        def read(session: Session) -> str | None:
            row = session.scalar(query)
            return None if row is None else f"{row.who} confirmed that {host} is off"

        return self.database.read(read)

    def unreported(self) -> list[Change]:
        """Return the changes that are not known to be told, oldest first."""
        query = sa.select(ChangeRow).where(ChangeRow.told.is_(None)).order_by(ChangeRow.id)
        return self.database.read(
            lambda session: [rows.change(row) for row in session.scalars(query)]
        )

    def changes(self, incident_id: int) -> list[Change]:
        """Return every change of one incident, oldest first."""
        query = (
            sa.select(ChangeRow).where(ChangeRow.incident_id == incident_id).order_by(ChangeRow.id)
        )
        return self.database.read(
            lambda session: [rows.change(row) for row in session.scalars(query)]
        )

    def last_change(self) -> int:
        """Return the number of the latest change, 0 when there is none."""
        query = sa.select(sa.func.max(ChangeRow.id))
        return self.database.read(lambda session: session.scalar(query) or 0)

    def changes_after(self, change_id: int) -> list[Change]:
        """Return the changes of all incidents after one, oldest first."""
        query = sa.select(ChangeRow).where(ChangeRow.id > change_id).order_by(ChangeRow.id)
        return self.database.read(
            lambda session: [rows.change(row) for row in session.scalars(query)]
        )

    def mark_reported(self, change_id: int, *, epoch: int) -> bool:
        """Claim a change for telling it; False when it has been told, or is another's to tell.

        A claim of an elder epoch is void: whoever made it has died, or is about to be refused.
        """
        free = ChangeRow.reported.is_(None) | (ChangeRow.claimed_by <= epoch)

        def write(session: Session) -> bool:
            lead(session, epoch)
            query = (
                sa.update(ChangeRow)
                .where(ChangeRow.id == change_id, ChangeRow.told.is_(None), free)
                .values(reported=self._clock(), claimed_by=epoch)
            )
            return cast("sa.CursorResult[Any]", session.execute(query)).rowcount == 1

        return self.database.write(write)

    def mark_told(self, change_id: int) -> None:
        """Note that a change has been told; also a deposed leader may say what it did."""
        query = sa.update(ChangeRow).where(ChangeRow.id == change_id).values(told=self._clock())
        self.database.write(lambda session: session.execute(query))
