# SPDX-License-Identifier: Apache-2.0
"""Whether an onset stands, so that an engine which starts anew does not count it once more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what was counted before counts as over."""
    standing = sa.Column("standing", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("onsets", standing)
