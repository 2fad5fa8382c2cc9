# SPDX-License-Identifier: Apache-2.0
"""A report is claimed, told, and then marked as told: an engine may die in between."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what was claimed so far counts as told."""
    with op.batch_alter_table("changes") as table:
        table.drop_index("ix_changes_reported")
        table.add_column(sa.Column("claimed_by", sa.Integer, nullable=True))
        table.add_column(sa.Column("told", sa.Double, nullable=True))
        table.create_index("ix_changes_told", ["told"])
    op.execute("UPDATE changes SET told = reported, claimed_by = 0 WHERE reported IS NOT NULL")
