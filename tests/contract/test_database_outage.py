# SPDX-License-Identifier: Apache-2.0
"""A database server goes away and comes back: it is said in a sentence, and nothing is stuck."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract import servers
from vmha_remediator.errors import StaleEpoch, StoreUnavailable
from vmha_remediator.store import Store
from vmha_remediator.store.database import Database


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest) -> servers.Server:
    """A running server."""
    found: servers.Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def store(server: servers.Server) -> Iterator[Store]:
    """A store with connections in its pool."""
    database = Database(server.address, busy=2, connect=2)
    database.upgrade()
    found = Store(database)
    found.claim_epoch("one")
    yield found
    found.close()


def test_a_store_goes_on_after_its_server_has_restarted(
    server: servers.Server, store: Store
) -> None:
    epoch = store.claim_epoch("one")
    server.stop()
    with pytest.raises(StoreUnavailable, match="cannot be used now"):
        store.say(epoch, "lost")
    server.start()
    store.say(epoch, "at the first try")
    leader = store.leader()
    assert leader is not None
    assert leader.said == "at the first try"


def test_a_killed_server_forgets_no_epoch(server: servers.Server, store: Store) -> None:
    elder = store.claim_epoch("one")
    younger = store.claim_epoch("two")
    server.kill()
    server.start()
    store.say(younger, "goes on")
    with pytest.raises(StaleEpoch):
        store.say(elder, "too late")


def test_a_hanging_server_is_waited_for_a_moment_only(
    server: servers.Server, store: Store
) -> None:
    epoch = store.claim_epoch("one")
    server.freeze(True)
    try:
        with pytest.raises(StoreUnavailable):
            store.say(epoch, "nobody hears this")
    finally:
        server.freeze(False)
    store.say(epoch, "heard")
