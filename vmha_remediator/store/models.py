# SPDX-License-Identifier: Apache-2.0
"""The tables. Times are seconds since the epoch (UTC), so that no driver can shift them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Double,
    ForeignKey,
    Integer,
    String,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from vmha_remediator.store.sentence import Sentence

HOST = String(255)
WORD = String(64)


class Base(DeclarativeBase):
    """Root of the tables."""


class IncidentRow(Base):
    """One incident. `active_host` is the host while it is active and NULL afterwards: its
    unique index is what allows one active incident a host, whoever writes."""

    __tablename__ = "incidents"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    host: Mapped[str] = mapped_column(HOST, index=True)
    active_host: Mapped[str | None] = mapped_column(HOST, unique=True)
    rule: Mapped[str] = mapped_column(WORD)
    action: Mapped[str] = mapped_column(WORD)
    severity: Mapped[str] = mapped_column(WORD)
    state: Mapped[str] = mapped_column(WORD)
    evidence: Mapped[str] = mapped_column(Sentence)
    reason: Mapped[str] = mapped_column(Sentence, default="")
    advice: Mapped[str] = mapped_column(Sentence, default="")
    opened: Mapped[float] = mapped_column(Double)
    updated: Mapped[float] = mapped_column(Double)
    closed: Mapped[float | None] = mapped_column(Double)
    epoch: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer, default=1)
    held_by: Mapped[str] = mapped_column(WORD, default="")
    held_from: Mapped[str | None] = mapped_column(WORD)
    released_by: Mapped[str] = mapped_column(HOST, default="")
    waived: Mapped[list[str]] = mapped_column(JSON, default=list)
    fencing_since: Mapped[float | None] = mapped_column(Double)
    proof_driver: Mapped[str | None] = mapped_column(WORD)
    proof: Mapped[str | None] = mapped_column(WORD)
    proof_evidence: Mapped[str | None] = mapped_column(Sentence)
    proof_time: Mapped[float | None] = mapped_column(Double)
    forced_by_us: Mapped[bool] = mapped_column(Boolean, default=False)
    heard_since: Mapped[float | None] = mapped_column(Double)
    well_since: Mapped[float | None] = mapped_column(Double)
    powered_since: Mapped[float | None] = mapped_column(Double)
    said: Mapped[str] = mapped_column(Sentence, default="")

    vms: Mapped[list[VmRow]] = relationship(order_by="VmRow.id", viewonly=True)


class StepRow(Base):
    """The journal: a line before each step, completed after it.

    `other_cell` is the host that Nova refused in it because of its cell.
    """

    __tablename__ = "steps"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), index=True)
    time: Mapped[float] = mapped_column(Double)
    finished: Mapped[float | None] = mapped_column(Double)
    step: Mapped[str] = mapped_column(WORD)
    sentence: Mapped[str] = mapped_column(Sentence)
    ok: Mapped[bool | None] = mapped_column(Boolean)
    epoch: Mapped[int] = mapped_column(Integer)
    other_cell: Mapped[str | None] = mapped_column(HOST)


class VmRow(Base):
    """One protected VM of an incident: what it was, and how far it is."""

    __tablename__ = "vms"
    __table_args__ = (UniqueConstraint("incident_id", "server_id", name="uq_vms_server"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), index=True)
    server_id: Mapped[str] = mapped_column(WORD, index=True)
    name: Mapped[str] = mapped_column(HOST)
    old_host: Mapped[str] = mapped_column(HOST)
    status: Mapped[str] = mapped_column(WORD)
    vm_state: Mapped[str] = mapped_column(WORD)
    task_state: Mapped[str | None] = mapped_column(WORD)
    locked: Mapped[bool] = mapped_column(Boolean)
    locked_reason: Mapped[str | None] = mapped_column(Sentence)
    priority: Mapped[int] = mapped_column(Integer)
    dest: Mapped[str | None] = mapped_column(HOST)
    migration_id: Mapped[str | None] = mapped_column(WORD)
    attempts: Mapped[int] = mapped_column(Integer)
    not_before: Mapped[float] = mapped_column(Double)
    reason: Mapped[str] = mapped_column(Sentence)
    started: Mapped[float | None] = mapped_column(Double)
    finished: Mapped[float | None] = mapped_column(Double)
    wish: Mapped[str] = mapped_column(WORD, default="", server_default="")
    reset_to: Mapped[str] = mapped_column(WORD, default="", server_default="")
    acted: Mapped[str] = mapped_column(WORD, default="", server_default="")
    may_run_on: Mapped[str | None] = mapped_column(HOST)


class ChangeRow(Base):
    """Every change of an incident, written with it.

    `reported` and `claimed_by` say since when, and in which epoch, somebody is telling of it;
    `told` that it was told.
    """

    __tablename__ = "changes"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), index=True)
    host: Mapped[str] = mapped_column(HOST)
    rule: Mapped[str] = mapped_column(WORD)
    severity: Mapped[str] = mapped_column(WORD)
    time: Mapped[float] = mapped_column(Double)
    before: Mapped[str | None] = mapped_column(WORD)
    after: Mapped[str] = mapped_column(WORD)
    sentence: Mapped[str] = mapped_column(Sentence)
    reported: Mapped[float | None] = mapped_column(Double)
    claimed_by: Mapped[int | None] = mapped_column(Integer)
    told: Mapped[float | None] = mapped_column(Double, index=True)


class DoorbellRow(Base):
    """Somebody says: look at this host now. Taken by the leader, then gone."""

    __tablename__ = "doorbells"
    __table_args__ = (UniqueConstraint("host", "rule", name="uq_doorbells_host_rule"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    host: Mapped[str] = mapped_column(HOST)
    rule: Mapped[str] = mapped_column(WORD)
    source: Mapped[str] = mapped_column(HOST)
    time: Mapped[float] = mapped_column(Double)


class ConfirmationRow(Base):
    """A person's word that a host is off; it counts for one incident only."""

    __tablename__ = "confirmations"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), unique=True)
    host: Mapped[str] = mapped_column(HOST)
    who: Mapped[str] = mapped_column(HOST)
    time: Mapped[float] = mapped_column(Double)


class MaintenanceRow(Base):
    """A host that is to be left alone: why, who said so, and until when (NULL: for good)."""

    __tablename__ = "maintenance"

    host: Mapped[str] = mapped_column(HOST, primary_key=True)
    reason: Mapped[str] = mapped_column(Sentence)
    who: Mapped[str] = mapped_column(HOST)
    since: Mapped[float] = mapped_column(Double)
    until: Mapped[float | None] = mapped_column(Double)


class OnsetRow(Base):
    """A host has got into a situation that is only reported; counted to see it flap.

    `standing`: it is in it still, and no incident tells of that.
    """

    __tablename__ = "onsets"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    host: Mapped[str] = mapped_column(HOST, index=True)
    time: Mapped[float] = mapped_column(Double)
    standing: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())


class VmRestartRow(Base):
    """A VM started again on its own host, because it was off though it should run."""

    __tablename__ = "vm_restarts"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    server_id: Mapped[str] = mapped_column(WORD, index=True)
    name: Mapped[str] = mapped_column(HOST)
    host: Mapped[str] = mapped_column(HOST)
    time: Mapped[float] = mapped_column(Double)
    ok: Mapped[bool | None] = mapped_column(Boolean)
    sentence: Mapped[str] = mapped_column(Sentence)
    epoch: Mapped[int] = mapped_column(Integer)


class LeaderRow(Base):
    """The one row (id 1) that says who leads: a higher epoch makes every elder's write fail."""

    __tablename__ = "leader"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer)
    owner: Mapped[str] = mapped_column(HOST)
    since: Mapped[float] = mapped_column(Double)
    said: Mapped[str] = mapped_column(Sentence)
    said_at: Mapped[float | None] = mapped_column(Double)
