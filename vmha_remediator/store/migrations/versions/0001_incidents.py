# SPDX-License-Identifier: Apache-2.0
"""The first tables: incidents and all that belongs to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

HOST = sa.String(255)
WORD = sa.String(64)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True, autoincrement=True)


def _incident(**options: bool) -> sa.Column[int]:
    key = sa.ForeignKey("incidents.id")
    return sa.Column("incident_id", sa.Integer, key, nullable=False, **options)  # type: ignore[arg-type]


def _incidents() -> None:
    op.create_table(
        "incidents",
        _id(),
        sa.Column("host", HOST, nullable=False, index=True),
        sa.Column("active_host", HOST, nullable=True, unique=True),
        sa.Column("rule", WORD, nullable=False),
        sa.Column("action", WORD, nullable=False),
        sa.Column("severity", WORD, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("advice", sa.Text, nullable=False),
        sa.Column("opened", sa.Double, nullable=False),
        sa.Column("updated", sa.Double, nullable=False),
        sa.Column("closed", sa.Double, nullable=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("held_by", WORD, nullable=False),
        sa.Column("held_from", WORD, nullable=True),
        sa.Column("released_by", HOST, nullable=False),
        sa.Column("waived", sa.JSON, nullable=False),
        sa.Column("fencing_since", sa.Double, nullable=True),
        sa.Column("proof_driver", WORD, nullable=True),
        sa.Column("proof", WORD, nullable=True),
        sa.Column("proof_evidence", sa.Text, nullable=True),
        sa.Column("proof_time", sa.Double, nullable=True),
        sa.Column("forced_by_us", sa.Boolean, nullable=False),
        sa.Column("heard_since", sa.Double, nullable=True),
        sa.Column("well_since", sa.Double, nullable=True),
        sa.Column("said", sa.Text, nullable=False),
    )


def _steps() -> None:
    op.create_table(
        "steps",
        _id(),
        _incident(index=True),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("finished", sa.Double, nullable=True),
        sa.Column("step", WORD, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("ok", sa.Boolean, nullable=True),
        sa.Column("epoch", sa.Integer, nullable=False),
    )


def _vms() -> None:
    op.create_table(
        "vms",
        _id(),
        _incident(index=True),
        sa.Column("server_id", WORD, nullable=False, index=True),
        sa.Column("name", HOST, nullable=False),
        sa.Column("old_host", HOST, nullable=False),
        sa.Column("status", WORD, nullable=False),
        sa.Column("vm_state", WORD, nullable=False),
        sa.Column("task_state", WORD, nullable=True),
        sa.Column("locked", sa.Boolean, nullable=False),
        sa.Column("locked_reason", sa.Text, nullable=True),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("dest", HOST, nullable=True),
        sa.Column("migration_id", WORD, nullable=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("started", sa.Double, nullable=True),
        sa.Column("finished", sa.Double, nullable=True),
        sa.UniqueConstraint("incident_id", "server_id", name="uq_vms_server"),
    )


def _changes() -> None:
    op.create_table(
        "changes",
        _id(),
        _incident(index=True),
        sa.Column("host", HOST, nullable=False),
        sa.Column("rule", WORD, nullable=False),
        sa.Column("severity", WORD, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("before", WORD, nullable=True),
        sa.Column("after", WORD, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("reported", sa.Double, nullable=True, index=True),
    )


def _small_tables() -> None:
    op.create_table(
        "doorbells",
        _id(),
        sa.Column("host", HOST, nullable=False),
        sa.Column("rule", WORD, nullable=False),
        sa.Column("source", HOST, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.UniqueConstraint("host", "rule", name="uq_doorbells_host_rule"),
    )
    op.create_table(
        "confirmations",
        _id(),
        _incident(unique=True),
        sa.Column("host", HOST, nullable=False),
        sa.Column("who", HOST, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
    )
    leader = op.create_table(
        "leader",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("owner", HOST, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("said", sa.Text, nullable=False),
        sa.Column("said_at", sa.Double, nullable=True),
    )
    op.bulk_insert(leader, [{"id": 1, "epoch": 0, "owner": "", "since": 0.0, "said": ""}])


def upgrade() -> None:
    """Create every table."""
    _incidents()
    _steps()
    _vms()
    _changes()
    _small_tables()
