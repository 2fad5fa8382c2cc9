# SPDX-License-Identifier: Apache-2.0
"""What is done to a VM on its way back to what it was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WORD = sa.String(64)


def upgrade() -> None:
    """Add the columns; a VM of an incident under way has been neither reset nor acted upon."""
    with op.batch_alter_table("vms") as table:
        table.add_column(sa.Column("wish", WORD, nullable=False, server_default=""))
        table.add_column(sa.Column("reset_to", WORD, nullable=False, server_default=""))
        table.add_column(sa.Column("acted", WORD, nullable=False, server_default=""))
        table.add_column(sa.Column("may_run_on", sa.String(255), nullable=True))
