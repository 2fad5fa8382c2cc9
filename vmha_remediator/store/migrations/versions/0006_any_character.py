# SPDX-License-Identifier: Apache-2.0
"""Names in any script, also where the database was created for Latin letters only.

MySQL's own default has long been latin1, which refuses a VM's name in Chinese, say; and a line of
the journal that cannot be written stops the recovery of a whole host.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = (
    "changes", "confirmations", "doorbells", "incidents", "leader", "maintenance", "onsets",
    "steps", "vm_restarts", "vms",
)  # fmt: skip


def upgrade() -> None:
    """Convert every table, and give its texts the type back that the conversion widens."""
    bind = op.get_bind()
    if bind.dialect.name not in ("mysql", "mariadb"):
        return
    inspector = sa.inspect(bind)
    for table in TABLES:
        columns = inspector.get_columns(table)
        op.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4")
        for column in columns:
            if isinstance(column["type"], sa.Text):
                op.alter_column(
                    table,
                    column["name"],
                    existing_type=sa.Text(),
                    type_=sa.Text(),
                    existing_nullable=column["nullable"],
                )
