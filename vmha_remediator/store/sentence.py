# SPDX-License-Identifier: Apache-2.0
"""Texts as every database takes them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text
from sqlalchemy.types import TypeDecorator

#: Characters that fit in any case: MySQL's TEXT holds 65535 bytes, and a character takes four.
MOST = 16_000


class Sentence(TypeDecorator[str]):
    """A text; what a database would refuse is replaced, and what is too long is cut.

    Sentences quote what customers choose (names, metadata, the reason of a lock) and what services
    answer. PostgreSQL refuses a NUL, every driver half of a surrogate pair, and MySQL more than
    64 KiB; a line of the journal that cannot be written would stop the recovery of a whole host.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """Return what is stored."""
        if value is None:
            return None
        text = value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
        return text if len(text) <= MOST else f"{text[: MOST - 3]}..."
