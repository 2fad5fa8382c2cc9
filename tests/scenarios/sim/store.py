# SPDX-License-Identifier: Apache-2.0
"""The real store on SQLite, which is not asked again while what it reads has not changed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar, cast

import sqlalchemy as sa

from vmha_remediator.errors import StoreUnavailable
from vmha_remediator.remedy.facts import Maintenance
from vmha_remediator.remedy.incident import Change, Incident
from vmha_remediator.store import Doorbell, Store
from vmha_remediator.store.database import Database
from vmha_remediator.store.models import Base

T = TypeVar("T")
#: How a statement begins that changes a table.
WRITES = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)")
#: The tables that make an incident.
INCIDENT = ("incidents", "steps", "vms")


class FlakyDatabase(Database):
    """A database in memory that can go away, and that knows which of its tables were written.

    `dispose` keeps it for the next world of the process: SQLAlchemy compiles a statement once
    an engine, which costs more than a whole short story.
    """

    def __init__(self) -> None:
        super().__init__("sqlite://", recycle=-1)  # a new connection would find no table
        sa.event.listen(self.engine(), "before_cursor_execute", self._watch)
        self.empty()

    def empty(self) -> None:
        """Make all tables anew."""
        self.gone = False
        self.written: Counter[str] = Counter()  # table -> statements that changed it
        with _schema().engine().connect() as there, self.engine().connect() as here:
            _raw(there).backup(_raw(here))

    def dispose(self) -> None:
        _idle.append(self)

    def _watch(self, _conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if found := WRITES.match(statement):
            self.written[found[1]] += 1

    def write(self, work: Callable[[Any], T]) -> T:
        self.check()
        return super().write(work)

    def read(self, work: Callable[[Any], T]) -> T:
        self.check()
        return super().read(work)

    @contextmanager
    def seen_through(self) -> Iterator[None]:
        """Read what is in it though it is gone: for those who judge, not for those who act."""
        gone, self.gone = self.gone, False
        try:
            yield
        finally:
            self.gone = gone

    def check(self) -> None:
        if self.gone:
            raise StoreUnavailable("the database cannot be used now")


def _raw(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection


_idle: list[FlakyDatabase] = []


def empty_database() -> FlakyDatabase:
    """Return a database with all tables and nothing in them."""
    if not _idle:
        return FlakyDatabase()
    found = _idle.pop()
    found.empty()
    return found


@cache
def _schema() -> Database:
    database = Database("sqlite://")
    Base.metadata.create_all(database.engine())
    return database


class QuickStore(Store):
    """The store; what it has read counts until one of the tables has been written."""

    def __init__(self, database: FlakyDatabase, clock: Callable[[], float]) -> None:
        super().__init__(database, clock)
        self._flaky = database
        self._rung = True
        self._known: dict[tuple[Any, ...], tuple[tuple[int, ...], Any]] = {}

    def ring(self, rule: str, host: str, source: str) -> None:
        super().ring(rule, host, source)
        self._rung = True

    def has_doorbells(self) -> bool:
        self._rung = self._rung and super().has_doorbells()
        return self._rung

    def take_doorbells(self) -> list[Doorbell]:
        self._flaky.check()
        taken = super().take_doorbells() if self._rung else []
        self._rung = False
        return taken

    def incidents(self, active_only: bool = False, limit: int | None = None) -> list[Incident]:
        ask = super().incidents
        key = ("incidents", active_only, limit)
        return self._once(key, INCIDENT, lambda: ask(active_only, limit))

    def incident(self, incident_id: int) -> Incident:
        ask = super().incident
        return self._once(("incident", incident_id), INCIDENT, lambda: ask(incident_id))

    def active(self, host: str) -> Incident | None:
        ask = super().active
        return self._once(("active", host), INCIDENT, lambda: ask(host))

    def unreported(self) -> list[Change]:
        return self._once(("unreported",), ("changes",), super().unreported)

    def maintenance(self) -> dict[str, Maintenance]:
        known = self._once(("maintenance",), ("maintenance",), super().maintenance)
        if all(flag.until is None or flag.until > self._clock() for flag in known.values()):
            return known
        return super().maintenance()  # one of them has ended by itself

    def confirmation(self, host: str) -> str | None:
        ask = super().confirmation
        tables = ("confirmations", "incidents")
        return self._once(("confirmation", host), tables, lambda: ask(host))

    def _once(self, key: tuple[Any, ...], tables: tuple[str, ...], ask: Callable[[], T]) -> T:
        self._flaky.check()
        now = tuple(self._flaky.written[table] for table in tables)
        then, found = self._known.get(key, ((), None))
        if then != now:
            found = ask()
            self._known[key] = (now, found)
        return cast("T", found)
