# SPDX-License-Identifier: Apache-2.0
"""The revisions of the database are one chain, numbered as their files are."""

from __future__ import annotations

from alembic.script import ScriptDirectory

from vmha_remediator.store.database import MIGRATIONS


def test_the_revisions_are_one_chain() -> None:
    heads = ScriptDirectory(str(MIGRATIONS)).get_heads()
    assert len(heads) == 1, f"two revisions follow the same one: renumber one of {heads}"


def test_a_revision_is_numbered_as_its_file() -> None:
    for revision in ScriptDirectory(str(MIGRATIONS)).walk_revisions():
        assert revision.path.rpartition("/")[2].startswith(f"{revision.revision}_")
