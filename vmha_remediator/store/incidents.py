# SPDX-License-Identifier: Apache-2.0
"""Incidents, their journal and their VMs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.orm import Session

from vmha_remediator.errors import IncidentChanged, NoSuchIncident
from vmha_remediator.remedy import states
from vmha_remediator.remedy.incident import Incident, VmRecord
from vmha_remediator.remedy.states import IncidentState
from vmha_remediator.store import onsets, rows
from vmha_remediator.store.common import Part, lead, leads, step_row
from vmha_remediator.store.models import ChangeRow, ConfirmationRow, IncidentRow, StepRow, VmRow

_LATEST_FIRST = rows.INCIDENTS.order_by(IncidentRow.id.desc())
_ACTIVE = _LATEST_FIRST.where(IncidentRow.active_host.is_not(None))
_OF_HOST = rows.INCIDENTS.where(IncidentRow.active_host == sa.bindparam("host"))
_BY_ID = rows.INCIDENTS.where(IncidentRow.id == sa.bindparam("incident"))
_SAY = (
    sa.update(cast("sa.Table", IncidentRow.__table__))
    .where(IncidentRow.id == sa.bindparam("incident"))
    .values(said=sa.bindparam("sentence"))
)
_FORGET = sa.delete(ConfirmationRow).where(ConfirmationRow.incident_id == sa.bindparam("incident"))


class Incidents(Part):
    """Reading and writing incidents."""

    def incidents(self, active_only: bool = False, limit: int | None = None) -> list[Incident]:
        """Return incidents, the latest first."""
        query = _ACTIVE if active_only else _LATEST_FIRST
        if limit is not None:
            query = query.limit(limit)
        return self.database.read(lambda session: rows.incidents(session, query, {}))

    def incident(self, incident_id: int) -> Incident:
        """Return one incident; raises `NoSuchIncident`."""
        values = {"incident": incident_id}
        found = self.database.read(lambda session: rows.incidents(session, _BY_ID, values))
        if not found:
            raise NoSuchIncident(f"there is no incident {incident_id}")
        return found[0]

    def active(self, host: str) -> Incident | None:
        """Return the host's active incident, if it has one."""
        values = {"host": host}
        found = self.database.read(lambda session: rows.incidents(session, _OF_HOST, values))
        return found[0] if found else None

    def latest_vms(self, server_ids: Iterable[str]) -> list[VmRecord]:
        """Return the latest record of each of some VMs, of incidents that are over, too."""
        return self._latest(VmRow.server_id.in_(list(server_ids)))

    def on_their_way(self, incident: Incident) -> list[VmRecord]:
        """Return VMs of other hosts that were being evacuated when the incident's host failed.

        Those that were asked for once only are left out. Of each it is the latest record.
        """
        failed = incident.proof.time if incident.proof is not None else incident.updated
        return self._latest(
            VmRow.old_host != incident.host,
            VmRow.attempts > 1,
            VmRow.started <= failed,
            sa.or_(VmRow.finished.is_(None), VmRow.finished >= incident.opened),
        )

    def _latest(self, *which: sa.ColumnElement[bool]) -> list[VmRecord]:
        """Return the latest of the records for which that holds, of each VM."""
        query = sa.select(VmRow.__table__).where(*which).order_by(VmRow.id)
        found = self.database.read(lambda session: session.execute(query).all())
        return list({row.server_id: rows.vm(row) for row in found}.values())

    def fenced_since(self, host: str, since: float) -> int:
        """Return how often `host` has been fenced since then (s since the epoch)."""
        query = sa.select(sa.func.count(ChangeRow.id)).where(
            ChangeRow.host == host,
            ChangeRow.after == str(IncidentState.FENCED),
            ChangeRow.time >= since,
        )
        return self.database.read(lambda session: session.scalar(query) or 0)

    def open_incident(
        self, host: str, rule: str, action: str, severity: str, evidence: str, *, epoch: int
    ) -> Incident:
        """Open an incident, or return the one that the host already has.

        It tells of the host's onset, too, if one stands.
        """
        state, now = states.FIRST[action], self._clock()

        def insert(session: Session) -> int:
            lead(session, epoch)
            row = IncidentRow(
                host=host,
                active_host=host,
                rule=rule,
                action=action,
                severity=severity,
                state=str(state),
                evidence=evidence,
                opened=now,
                updated=now,
                epoch=epoch,
                waived=[],
            )
            session.add(row)
            session.flush()
            _change(session, row, None, state, evidence, now)
            onsets.end(session, host)
            return row.id

        try:
            return self.incident(self.database.write(insert))
        except db_exc.DBDuplicateEntry:
            found = self.active(host)
            if found is None:
                raise IncidentChanged(f"the incident of {host} has just ended") from None
            return found

    def move(
        self, incident: Incident, to: IncidentState, sentence: str, *, epoch: int, **fields: Any
    ) -> Incident:
        """Bring an incident into another state, with the change that is to be reported.

        A proof that is new, or void, uses a person's word up: the word was about that fencing.
        Raises `IllegalTransition`, `StaleEpoch` or `IncidentChanged`; then nothing is written.
        """
        states.check(incident.state, to)
        now = self._clock()
        used_up = "proof" in fields and fields["proof"] != incident.proof
        ending = {"active_host": None, "closed": now} if to in states.FINAL else {}
        values = {"reason": sentence, "advice": ""} | rows.incident_values(fields)

        def write(session: Session) -> None:
            lead(session, epoch)
            row = _compare_and_set(
                session, incident, {"state": str(to), "updated": now, "epoch": epoch}
            )
            for name, value in (values | ending).items():
                setattr(row, name, value)
            if used_up:
                session.execute(_FORGET, {"incident": incident.id})
            _change(session, row, incident.state, to, sentence, now)

        self.database.write(write)
        return self.incident(incident.id)

    def update(
        self, incident: Incident, *, epoch: int, onset: float | None = None, **fields: Any
    ) -> Incident:
        """Write fields without a change of state, and with them a new onset of its host.

        `onset` is for how long that one counts (s); None: there is none.
        """
        values, now = rows.incident_values(fields), self._clock()

        def write(session: Session) -> None:
            lead(session, epoch)
            row = _compare_and_set(session, incident, {"epoch": epoch, "updated": now})
            for name, value in values.items():
                setattr(row, name, value)
            if onset is not None:
                onsets.add(session, incident.host, now, onset)

        self.database.write(write)
        return self.incident(incident.id)

    def note(self, incident_id: int, sentence: str, *, epoch: int) -> None:
        """Store what the latest cycle says of an incident."""

        def write(session: Session) -> None:
            lead(session, epoch)
            session.execute(_SAY, {"incident": incident_id, "sentence": sentence})

        self.database.write(write)

    def begin_step(self, incident: Incident, step: str, sentence: str, *, epoch: int) -> int:
        """Write down that a step begins; refused with `StaleEpoch` for a deposed leader."""
        return self.begin_steps(incident, step, [sentence], (), epoch=epoch)[0]

    def begin_steps(
        self,
        incident: Incident,
        step: str,
        sentences: Sequence[str],
        records: Iterable[VmRecord],
        *,
        epoch: int,
    ) -> list[int]:
        """Write down that several steps of a kind begin, and the VMs as they are then, at once."""

        def write(session: Session) -> list[int]:
            lead(session, epoch)
            _save(session, incident, records)
            now = self._clock()
            found = [step_row(incident.id, now, step, text, epoch) for text in sentences]
            session.add_all(found)
            session.flush()
            return [row.id for row in found]

        return self.database.write(write)

    def record_steps(
        self,
        incident: Incident,
        step: str,
        sentences: Sequence[str],
        records: Iterable[VmRecord],
        *,
        epoch: int,
    ) -> None:
        """Write down what was found out of VMs, with a line of the journal for each sentence."""

        def write(session: Session) -> None:
            lead(session, epoch)
            _save(session, incident, records)
            now = self._clock()
            session.add_all(
                step_row(incident.id, now, step, text, epoch, finished=now) for text in sentences
            )

        self.database.write(write)

    def finish_step(
        self,
        step_id: int,
        ok: bool,
        sentence: str,
        record: VmRecord | None = None,
        *,
        other_cell: str | None = None,
        epoch: int = 0,
    ) -> None:
        """Write down how a step ended; also a deposed leader may say what it did.

        A failure that repeats the one before it, word for word, only moves that one's end.
        `record` is the VM that it was about, as it is now; only a leader (`epoch`) writes it.
        `other_cell` is the host that Nova refused for that reason.
        """

        def write(session: Session) -> None:
            row = session.get_one(StepRow, step_id)
            query = (
                sa.select(StepRow)
                .where(StepRow.incident_id == row.incident_id, StepRow.id < step_id)
                .order_by(StepRow.id.desc())
                .limit(1)
            )
            last = None if ok else session.scalar(query)
            same = (row.step, False, sentence)
            if last is not None and (last.step, last.ok, last.sentence) == same:
                session.delete(row)
                row = last
            row.ok, row.sentence, row.finished = ok, sentence, self._clock()
            row.other_cell = other_cell
            if record is not None and leads(session, epoch):
                _save_one(session, row.incident_id, record)

        self.database.write(write)

    def forget_word(self, incident: Incident, sentence: str, *, epoch: int) -> None:
        """Take back a person's word that the host is off, and say why."""

        def write(session: Session) -> None:
            lead(session, epoch)
            session.execute(_FORGET, {"incident": incident.id})
            now = self._clock()
            session.add(step_row(incident.id, now, "forget-word", sentence, epoch, finished=now))

        self.database.write(write)

    def save_vms(self, incident: Incident, records: Iterable[VmRecord], *, epoch: int) -> None:
        """Write VM records, new or known."""
        records = tuple(records)

        def write(session: Session) -> None:
            lead(session, epoch)
            _save(session, incident, records)

        self.database.write(write)


def _save(session: Session, incident: Incident, records: Iterable[VmRecord]) -> None:
    for record in records:
        _save_one(session, incident.id, record)


def _save_one(session: Session, incident_id: int, record: VmRecord) -> None:
    query = sa.select(VmRow).where(
        VmRow.incident_id == incident_id, VmRow.server_id == record.server_id
    )
    row = session.scalar(query)
    if row is None:
        row = VmRow(incident_id=incident_id)
        session.add(row)
    for name, value in rows.vm_values(record).items():
        setattr(row, name, value)


def _compare_and_set(session: Session, incident: Incident, values: dict[str, Any]) -> IncidentRow:
    """Write `values` if the incident is as it was read; return its row for the rest."""
    query = (
        sa.update(IncidentRow)
        .where(IncidentRow.id == incident.id, IncidentRow.version == incident.version)
        .values(version=incident.version + 1, **values)
    )
    if cast("sa.CursorResult[Any]", session.execute(query)).rowcount != 1:
        raise IncidentChanged(f"incident {incident.id} was changed by somebody else")
    return session.get_one(IncidentRow, incident.id)


def _change(
    session: Session,
    row: IncidentRow,
    before: IncidentState | None,
    after: IncidentState,
    sentence: str,
    now: float,
) -> None:
    session.add(
        ChangeRow(
            incident_id=row.id,
            host=row.host,
            rule=row.rule,
            severity=row.severity,
            time=now,
            before=str(before) if before else None,
            after=str(after),
            sentence=sentence,
        )
    )
