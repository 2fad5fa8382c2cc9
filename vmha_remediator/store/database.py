# SPDX-License-Identifier: Apache-2.0
"""The connection: oslo.db's engine facade, its errors translated, and the upgrade."""

from __future__ import annotations

import fcntl
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from oslo_db import exception as db_exc
from oslo_db.sqlalchemy import enginefacade
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from vmha_remediator.errors import ConfigError, StoreUnavailable

T = TypeVar("T")

MIGRATIONS = Path(__file__).with_name("migrations")
#: What keeps two upgrades of one server's tables apart: how it is taken, and given back.
UPGRADE_LOCKS = {
    "mysql": ("SELECT GET_LOCK('vmha-upgrade', 0)", "SELECT RELEASE_LOCK('vmha-upgrade')"),
    "postgresql": ("SELECT pg_try_advisory_lock(8577)", "SELECT pg_advisory_unlock(8577)"),
}
#: Longest wait for another upgrade, in seconds.
UPGRADE = 300.0
#: A transaction that lost a race is done again that often; the pause grows.
RACES = 5
PAUSE = 0.05
_TAKE_LOCK = sa.text("UPDATE leader SET epoch = epoch WHERE id = 0")


@enginefacade.transaction_context_provider
class _Context:
    """What the facade hangs a thread's session on."""


class Database:
    """One database; every method raises `StoreUnavailable` when it cannot be reached."""

    def __init__(self, url: str, *, busy: int = 10, connect: int = 5, recycle: int = 3600) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError as exc:
            raise ConfigError("[database] connection is not a database URL") from exc
        self.dialect = parsed.get_backend_name()
        self.path = _sqlite_path(self.dialect, parsed.database)
        if self.dialect == "postgresql":
            _bound_postgresql(busy)
        self._facade = enginefacade.transaction_context()
        self._facade.configure(
            connection=url,
            connection_parameters=_parameters(parsed, busy, connect),
            connection_recycle_time=recycle,
            max_retries=0,  # the engine's loop is the retry; a start must not block on it
            sqlite_fk=True,
        )
        if self.dialect == "sqlite":
            self._facade.append_on_engine_create(_prepare_sqlite)
        self._local = threading.local()

    def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` in one transaction; done again when it loses a race."""
        for attempt in range(1, RACES + 1):
            try:
                with _translated(), self._facade.writer.using(self._context()) as session:
                    if self.path is not None:
                        # Take the write lock first: a transaction that reads before it
                        # writes is refused at once when somebody else wrote in between.
                        session.execute(_TAKE_LOCK)
                    return work(session)
            except _Race:
                if attempt == RACES:
                    raise
                time.sleep(PAUSE * attempt)
        raise AssertionError("unreachable")

    def read(self, work: Callable[[Session], T]) -> T:
        """Run `work` in one transaction that only reads."""
        with _translated(), self._facade.reader.using(self._context()) as session:
            return work(session)

    def _context(self) -> Any:
        if not hasattr(self._local, "context"):
            self._local.context = _Context()
        return self._local.context

    def engine(self) -> sa.Engine:
        """Return the SQLAlchemy engine."""
        engine: sa.Engine = self._facade.writer.get_engine()
        return engine

    def dispose(self) -> None:
        """Close the pooled connections."""
        with _translated():
            self.engine().dispose()

    def upgrade(self, revision: str = "head") -> str:
        """Bring the tables to this version's revision; returns it. Safe to run twice.

        Raises `StoreUnavailable` when a newer version has upgraded them already.
        """
        with (
            self._upgrade_lock(),
            _translated(),
            self.engine().connect() as connection,
            _alone(connection),
        ):
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, revision)
            except CommandError as exc:
                raise StoreUnavailable(
                    f"this version cannot use the database: {exc}. Has a newer version upgraded "
                    f"it (this one knows revisions up to {self.head()})? Run that one"
                ) from exc
            connection.commit()
        return self.head()

    def head(self) -> str:
        """Return the revision that this version of the code wants."""
        return ScriptDirectory(str(MIGRATIONS)).get_current_head() or ""

    def revision(self) -> str | None:
        """Return the revision of the tables; None: there are none."""
        if self.path is not None and not self.path.exists():  # to connect would make it
            raise StoreUnavailable(f"there is no {self.path}; run: vmha-manage db upgrade")
        with _translated(), self.engine().connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    @contextmanager
    def _upgrade_lock(self) -> Iterator[None]:
        """Keep two services that start together from creating the same SQLite tables."""
        if self.path is None:
            yield
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_name(self.path.name + ".upgrade").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as exc:
            raise StoreUnavailable(f"database {self.path}: {exc.strerror}") from exc


@contextmanager
def _alone(connection: sa.Connection) -> Iterator[None]:
    """Wait until nobody else upgrades these tables; for servers."""
    take, give_back = UPGRADE_LOCKS.get(connection.dialect.name, ("", ""))
    deadline = time.monotonic() + UPGRADE
    while take and not connection.scalar(sa.text(take)):
        if time.monotonic() > deadline:
            raise StoreUnavailable("somebody else is still upgrading the database")
        time.sleep(PAUSE)
    connection.commit()  # what is read from now on is what the other one has left
    try:
        yield
    finally:
        if take:
            connection.execute(sa.text(give_back))


class _Race(StoreUnavailable):
    """A lock or deadlock: the same transaction may succeed when it is done again."""


def _sqlite_path(dialect: str, database: str | None) -> Path | None:
    """Return the database's file, or None when it is none."""
    if dialect != "sqlite" or not database or database == ":memory:":
        return None
    return Path(database)


def _parameters(url: sa.URL, busy: int, connect: int) -> str:
    """Return the driver's time-outs as URL parameters, without those that the URL has."""
    wanted: Mapping[str, Mapping[str, int]] = {
        "sqlite": {"timeout": busy},
        "mysql": {"connect_timeout": connect, "read_timeout": busy, "write_timeout": busy},
        "postgresql": {
            "connect_timeout": connect,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
        },
    }
    ours = wanted.get(url.get_backend_name(), {})
    return "&".join(f"{name}={value}" for name, value in ours.items() if name not in url.query)


def _bound_postgresql(busy: int) -> None:
    """Let no answer of PostgreSQL be waited for longer than that: its driver has no time-out.

    The hook is one for the process, which has one database.
    """
    from psycopg2 import OperationalError, extensions

    def wait(connection: Any) -> None:
        deadline = time.monotonic() + busy
        while (state := connection.poll()) != extensions.POLL_OK:
            ears = [connection] if state == extensions.POLL_READ else []
            mouths = [connection] if state == extensions.POLL_WRITE else []
            left = max(0.0, deadline - time.monotonic())
            if not any(select.select(ears, mouths, [], left)):
                raise OperationalError(f"the server has not answered for {busy} s")

    extensions.set_wait_callback(wait)


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Let readers and the one writer go on at the same time."""

    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the library's errors into ours, without the URL, which may hold a password."""
    try:
        yield
    except (db_exc.DBDeadlock, db_exc.RetryRequest) as exc:
        raise _Race("the database is busy") from exc
    except db_exc.DBDuplicateEntry:
        raise
    except (db_exc.DBError, SQLAlchemyError) as exc:
        text = " ".join(str(getattr(exc, "inner_exception", None) or exc).split())
        if "is locked" in text:
            raise _Race("the database is locked by another process") from exc
        raise StoreUnavailable(f"the database cannot be used now: {_short(text)}") from exc


def _short(text: str) -> str:
    """Cut SQLAlchemy's statement and background link off."""
    return text.split("[SQL:")[0].split("(Background on")[0].strip()
