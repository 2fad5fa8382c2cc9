# SPDX-License-Identifier: Apache-2.0
"""The host that Nova refused as it is in another cell, which only the sentence told before."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

#: What revisions up to 0006 went by; not to be changed when today's sentence is.
TOLD = re.compile(r"(\S+) is in another cell")
STEPS = sa.table(
    "steps",
    sa.column("id", sa.Integer),
    sa.column("sentence", sa.Text),
    sa.column("ok", sa.Boolean),
    sa.column("other_cell", sa.String),
)


def upgrade() -> None:
    """Add the column, and fill it: an incident under way goes on with what it has learnt."""
    op.add_column("steps", sa.Column("other_cell", sa.String(255), nullable=True))
    told = sa.select(STEPS.c.id, STEPS.c.sentence).where(
        STEPS.c.ok.is_(False), STEPS.c.sentence.like("%is in another cell%")
    )
    bind = op.get_bind()
    for row in bind.execute(told).all():
        if found := TOLD.search(row.sentence):
            bind.execute(
                sa.update(STEPS).where(STEPS.c.id == row.id).values(other_cell=found[1][:255])
            )
