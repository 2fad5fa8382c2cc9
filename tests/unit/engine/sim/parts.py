# SPDX-License-Identifier: Apache-2.0
"""What the engine is given beside the cloud: a database, the lead, somebody to report to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vmha_remediator.remedy.incident import Change
from vmha_remediator.store.database import Database

T = TypeVar("T")


class Crash(BaseException):
    """The engine dies here; nothing catches it, as nothing catches a SIGKILL."""


class CrashingDatabase(Database):
    """A database that offers a place to crash after every commit.

    Dying before one is dying after the one before it, or after the deed in between.
    """

    point: Callable[[str], None] | None = None

    def write(self, work: Callable[[Any], T]) -> T:
        result = super().write(work)
        if self.point is not None:
            self.point("after write")
        return result


@dataclass
class AlwaysLeads:
    """A leadership that nobody disputes."""

    number: int = 1

    def hold(self) -> int | None:
        return self.number

    def stop(self) -> None:
        self.number = 0


@dataclass
class Reports:
    """Remembers what was reported."""

    changes: list[Change] = field(default_factory=list)

    def report(self, change: Change) -> None:
        self.changes.append(change)

    def told(self) -> list[str]:
        """Return the changes as "host:state", in order."""
        return [f"{change.host}:{change.after}" for change in self.changes]
