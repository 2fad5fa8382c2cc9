# SPDX-License-Identifier: Apache-2.0
"""The store: incidents and all that belongs to them, read as plain values.

Only the leader writes incidents. Each of its writes names its epoch and is refused with
`StaleEpoch` once somebody else has taken a higher one; a write to an incident that was changed
since it was read is refused with `IncidentChanged`. Every method may raise `StoreUnavailable`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from oslo_config import cfg

from vmha_remediator.errors import StoreUnavailable
from vmha_remediator.store.database import Database
from vmha_remediator.store.hints import Doorbells, Leadership
from vmha_remediator.store.hosts import Hosts
from vmha_remediator.store.onsets import Onsets
from vmha_remediator.store.pages import Pages
from vmha_remediator.store.people import People
from vmha_remediator.store.vm_restarts import VmRestarts


class Store(Doorbells, Hosts, Leadership, Onsets, People, Pages, VmRestarts):
    """All tables behind one set of questions and answers; safe to use from many threads."""

    def upgrade(self) -> str:
        """Bring the tables to this version's revision and return it."""
        return self.database.upgrade()

    def check(self) -> None:
        """Raise `StoreUnavailable` unless the tables are of this version."""
        found, wanted = self.database.revision(), self.database.head()
        if found != wanted:
            raise StoreUnavailable(
                f"the database is at revision {found or 'none'}, this version wants {wanted}; "
                f"run: vmha-manage db upgrade"
            )

    def close(self) -> None:
        """Close the connections."""
        self.database.dispose()


def open_store(conf: cfg.ConfigOpts, clock: Callable[[], float] = time.time) -> Store:
    """Return the store of [database], ready for use.

    A SQLite file is created and upgraded; any other database has to be at this version's
    revision already. Raises `StoreUnavailable` or `ConfigError`.
    """
    store = _store(conf, clock)
    if store.database.dialect == "sqlite":
        store.upgrade()
    else:
        store.check()
    return store


def store_to_read(conf: cfg.ConfigOpts) -> Store:
    """Return the store of [database] for one who only reads: nothing is created or upgraded.

    Raises `StoreUnavailable` when there is none, or one of another revision, or `ConfigError`.
    """
    store = _store(conf, time.time)
    store.check()
    return store


def _store(conf: cfg.ConfigOpts, clock: Callable[[], float]) -> Store:
    group = conf.database
    database = Database(
        group.connection,
        busy=group.busy_timeout,
        connect=group.connect_timeout,
        recycle=group.connection_recycle_time,
    )
    return Store(database, clock)
