# SPDX-License-Identifier: Apache-2.0
"""The store: incidents and all that belongs to them, read as plain values.

Only the leader writes incidents. Each of its writes names its epoch and is refused with
`StaleEpoch` once somebody else has taken a higher one; a write to an incident that was changed
since it was read is refused with `IncidentChanged`. Every method may raise `StoreUnavailable`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from oslo_config import cfg
from oslo_db import exception as db_exc
from sqlalchemy.orm import Session, selectinload

from vmha_remediator.errors import IncidentChanged, IncidentError, StaleEpoch, StoreUnavailable
from vmha_remediator.remedy import states
from vmha_remediator.remedy.incident import Change, Incident, VmRecord
from vmha_remediator.remedy.states import IncidentState
from vmha_remediator.store import rows
from vmha_remediator.store.database import Database
from vmha_remediator.store.models import (
    ChangeRow,
    ConfirmationRow,
    DoorbellRow,
    IncidentRow,
    LeaderRow,
    StepRow,
    VmRow,
)

_WITH_ALL = (selectinload(IncidentRow.steps), selectinload(IncidentRow.vms))
_LEADER = 1
_RELEASABLE = frozenset({IncidentState.HELD, IncidentState.REPORTED, IncidentState.RECOVERED})


@dataclass(frozen=True)
class Doorbell:
    """Somebody says: look at this host now."""

    host: str
    rule: str
    source: str
    time: float


@dataclass(frozen=True)
class Leader:
    """Who leads, since when, and what the latest cycle said."""

    epoch: int
    owner: str
    since: float
    said: str
    said_at: float | None


class Store:
    """All tables behind one set of questions and answers; safe to use from many threads."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self._clock = clock

    # -- life ---------------------------------------------------------------------------

    def upgrade(self) -> str:
        """Bring the tables to this version's revision and return it."""
        return self.database.upgrade()

    def check(self) -> None:
        """Raise `StoreUnavailable` unless the tables are of this version."""
        found, wanted = self.database.revision(), self.database.head()
        if found != wanted:
            raise StoreUnavailable(
                f"the database is at revision {found or 'none'}, this version wants {wanted}; "
                f"run: vmha-manage db upgrade"
            )

    def close(self) -> None:
        """Close the connections."""
        self.database.dispose()

    # -- doorbells ----------------------------------------------------------------------

    def ring(self, rule: str, host: str, source: str) -> None:
        """Leave word that `host` should be looked at; the same word twice is one."""

        def insert(session: Session) -> None:
            row = DoorbellRow(host=host, rule=rule, source=source, time=self._clock())
            session.add(row)
            session.flush()

        try:
            self.database.write(insert)
        except db_exc.DBDuplicateEntry:
            return  # nobody has looked since the last one

    def has_doorbells(self) -> bool:
        """Tell whether anybody has rung."""
        query = sa.select(sa.exists().select_from(DoorbellRow))
        return self.database.read(lambda session: bool(session.scalar(query)))

    def take_doorbells(self) -> list[Doorbell]:
        """Return all doorbells and remove them; lost ones are found by listing alarms."""

        def take(session: Session) -> list[Doorbell]:
            found = session.scalars(sa.select(DoorbellRow).order_by(DoorbellRow.id)).all()
            if found:
                ids = [row.id for row in found]
                session.execute(sa.delete(DoorbellRow).where(DoorbellRow.id.in_(ids)))
            return [Doorbell(row.host, row.rule, row.source, row.time) for row in found]

        return self.database.write(take)

    # -- leader -------------------------------------------------------------------------

    def claim_epoch(self, owner: str) -> int:
        """Make `owner` the leader and return its epoch; every elder's writes fail now."""

        def claim(session: Session) -> int:
            row = session.get(LeaderRow, _LEADER, with_for_update=True)
            if row is None:
                row = LeaderRow(id=_LEADER, epoch=0, owner="", since=0.0, said="")
                session.add(row)
            row.epoch, row.owner, row.since = row.epoch + 1, owner, self._clock()
            return row.epoch

        return self.database.write(claim)

    def leader(self) -> Leader | None:
        """Return who leads, or None when nobody ever has."""

        def read(session: Session) -> Leader | None:
            row = session.get(LeaderRow, _LEADER)
            if row is None or not row.epoch:
                return None
            return Leader(row.epoch, row.owner, row.since, row.said, row.said_at)

        return self.database.read(read)

    def say(self, epoch: int, sentence: str) -> None:
        """Store the sentence of the leader's latest cycle."""

        def write(session: Session) -> None:
            _lead(session, epoch)
            row = session.get_one(LeaderRow, _LEADER)
            row.said, row.said_at = sentence, self._clock()

        self.database.write(write)

    def assert_leader(self, epoch: int) -> None:
        """Raise `StaleEpoch` unless `epoch` still leads."""
        self.database.read(lambda session: _lead(session, epoch))

    # -- incidents ----------------------------------------------------------------------

    def incidents(self, active_only: bool = False, limit: int | None = None) -> list[Incident]:
        """Return incidents, the latest first."""
        query = sa.select(IncidentRow).options(*_WITH_ALL).order_by(IncidentRow.id.desc())
        if active_only:
            query = query.where(IncidentRow.active_host.is_not(None))
        if limit is not None:
            query = query.limit(limit)
        return self.database.read(
            lambda session: [rows.incident(row) for row in session.scalars(query)]
        )

    def incident(self, incident_id: int) -> Incident:
        """Return one incident; raises `IncidentError` when there is none."""
        return self.database.read(lambda session: _incident(session, incident_id))

    def active(self, host: str) -> Incident | None:
        """Return the host's active incident, if it has one."""
        query = sa.select(IncidentRow).options(*_WITH_ALL).where(IncidentRow.active_host == host)

        def read(session: Session) -> Incident | None:
            row = session.scalar(query)
            return rows.incident(row) if row is not None else None

        return self.database.read(read)

    def open_incident(
        self, host: str, rule: str, action: str, severity: str, evidence: str, *, epoch: int
    ) -> Incident:
        """Open an incident, or return the one that the host already has."""
        state, now = states.FIRST[action], self._clock()

        def insert(session: Session) -> int:
            _lead(session, epoch)
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

        Raises `IllegalTransition`, `StaleEpoch` or `IncidentChanged`; then nothing is written.
        """
        states.check(incident.state, to)
        now = self._clock()
        ending = {"active_host": None, "closed": now} if to in states.FINAL else {}
        values = {"reason": sentence, "advice": ""} | rows.incident_values(fields)

        def write(session: Session) -> None:
            _lead(session, epoch)
            row = _compare_and_set(
                session, incident, {"state": str(to), "updated": now, "epoch": epoch}
            )
            for name, value in (values | ending).items():
                setattr(row, name, value)
            _change(session, row, incident.state, to, sentence, now)

        self.database.write(write)
        return self.incident(incident.id)

    def update(self, incident: Incident, *, epoch: int, **fields: Any) -> Incident:
        """Write fields without a change of state."""
        values = rows.incident_values(fields)

        def write(session: Session) -> None:
            _lead(session, epoch)
            row = _compare_and_set(session, incident, {"epoch": epoch, "updated": self._clock()})
            for name, value in values.items():
                setattr(row, name, value)

        self.database.write(write)
        return self.incident(incident.id)

    def note(self, incident_id: int, sentence: str, *, epoch: int) -> None:
        """Store what the latest cycle says of an incident."""

        def write(session: Session) -> None:
            _lead(session, epoch)
            session.get_one(IncidentRow, incident_id).said = sentence

        self.database.write(write)

    def release(self, incident_id: int, who: str) -> Incident:
        """Let a held incident go on, or close one that is only kept open.

        Held: the leader plans anew, and what held it is waived. Reported or recovered: it is
        closed, for a host that will not come back. Raises `IncidentError` in any other state.
        """

        def write(session: Session) -> None:
            row = session.get(IncidentRow, incident_id, with_for_update=True)
            if row is None:
                raise IncidentError(f"there is no incident {incident_id}")
            if row.state not in _RELEASABLE:
                raise IncidentError(f"incident {incident_id} is {row.state}, not held")
            now = self._clock()
            row.released_by, row.updated, row.version = who, now, row.version + 1
            row.waived = sorted({*row.waived, row.held_by} - {""})
            session.add(_step(incident_id, now, "release", f"released by {who}", row.epoch, now))

        self.database.write(write)
        return self.incident(incident_id)

    # -- journal and VMs ----------------------------------------------------------------

    def begin_step(self, incident: Incident, step: str, sentence: str, *, epoch: int) -> int:
        """Write down that a step begins; refused with `StaleEpoch` for a deposed leader."""

        def write(session: Session) -> int:
            _lead(session, epoch)
            row = _step(incident.id, self._clock(), step, sentence, epoch)
            session.add(row)
            session.flush()
            return row.id

        return self.database.write(write)

    def finish_step(self, step_id: int, ok: bool, sentence: str) -> None:
        """Write down how a step ended; also a deposed leader may say what it did.

        A failure that repeats the one before it, word for word, only moves that one's end.
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

        self.database.write(write)

    def save_vms(self, incident: Incident, records: Iterable[VmRecord], *, epoch: int) -> None:
        """Write VM records, new or known."""
        records = tuple(records)

        def write(session: Session) -> None:
            _lead(session, epoch)
            for record in records:
                query = sa.select(VmRow).where(
                    VmRow.incident_id == incident.id, VmRow.server_id == record.server_id
                )
                row = session.scalar(query)
                if row is None:
                    row = VmRow(incident_id=incident.id)
                    session.add(row)
                for name, value in rows.vm_values(record).items():
                    setattr(row, name, value)

        self.database.write(write)

    # -- a person's word ----------------------------------------------------------------

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
            session.add(_step(incident.id, now, "confirm-fenced", text, incident.epoch, now))

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

    # -- reports ------------------------------------------------------------------------

    def unreported(self) -> list[Change]:
        """Return the changes that nobody has been told of, oldest first."""
        query = sa.select(ChangeRow).where(ChangeRow.reported.is_(None)).order_by(ChangeRow.id)
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

    def mark_reported(self, change_id: int, *, epoch: int) -> bool:
        """Claim a change for reporting; False when it has been reported already."""

        def write(session: Session) -> bool:
            _lead(session, epoch)
            query = (
                sa.update(ChangeRow)
                .where(ChangeRow.id == change_id, ChangeRow.reported.is_(None))
                .values(reported=self._clock())
            )
            return cast("sa.CursorResult[Any]", session.execute(query)).rowcount == 1

        return self.database.write(write)


def open_store(conf: cfg.ConfigOpts, clock: Callable[[], float] = time.time) -> Store:
    """Return the store of [database], ready for use.

    A SQLite file is created and upgraded; any other database has to be at this version's
    revision already. Raises `StoreUnavailable` or `ConfigError`.
    """
    group = conf.database
    database = Database(
        group.connection,
        busy=group.busy_timeout,
        connect=group.connect_timeout,
        recycle=group.connection_recycle_time,
    )
    store = Store(database, clock)
    if database.dialect == "sqlite":
        store.upgrade()
    else:
        store.check()
    return store


def _lead(session: Session, epoch: int) -> None:
    """Raise `StaleEpoch` unless `epoch` leads; holds the row until the transaction ends."""
    query = sa.select(LeaderRow.epoch, LeaderRow.owner).where(LeaderRow.id == _LEADER)
    found = session.execute(query.with_for_update(read=True)).one_or_none()
    if found is None or found.epoch != epoch:
        who = f"{found.owner} leads with epoch {found.epoch}" if found else "nobody leads"
        raise StaleEpoch(f"epoch {epoch} is over: {who}")


def _incident(session: Session, incident_id: int) -> Incident:
    row = session.get(IncidentRow, incident_id, options=_WITH_ALL)
    if row is None:
        raise IncidentError(f"there is no incident {incident_id}")
    return rows.incident(row)


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


def _step(
    incident_id: int, time: float, step: str, text: str, epoch: int, finished: float | None = None
) -> StepRow:
    return StepRow(
        incident_id=incident_id,
        time=time,
        finished=finished,
        step=step,
        sentence=text,
        ok=None if finished is None else True,
        epoch=epoch,
    )
