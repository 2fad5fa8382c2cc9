# SPDX-License-Identifier: Apache-2.0
"""Alembic's way in: runs the revisions on the connection that `Store.upgrade` passes."""

from __future__ import annotations

from alembic import context

from vmha_remediator.store.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=connection.dialect.name != "mysql",
)
with context.begin_transaction():
    context.run_migrations()
