# SPDX-License-Identifier: Apache-2.0
"""Maintenance, how often a host flapped, and when a host was switched on again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

HOST = sa.String(255)


def upgrade() -> None:
    """Add two tables and a column."""
    op.create_table(
        "maintenance",
        sa.Column("host", HOST, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("who", HOST, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("until", sa.Double, nullable=True),
    )
    op.create_table(
        "onsets",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("host", HOST, nullable=False, index=True),
        sa.Column("time", sa.Double, nullable=False),
    )
    op.add_column("incidents", sa.Column("powered_since", sa.Double, nullable=True))
