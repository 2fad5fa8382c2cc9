# SPDX-License-Identifier: Apache-2.0
"""VMs restarted in place, so that they are counted over restarts of the engine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "vm_restarts",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("server_id", sa.String(64), nullable=False, index=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("ok", sa.Boolean, nullable=True),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
    )
