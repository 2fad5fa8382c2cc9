# SPDX-License-Identifier: Apache-2.0
"""What the scenarios' store remembers is what the store itself would answer, after every write."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.scenarios.sim.store import FlakyDatabase, QuickStore, empty_database
from vmha_remediator.errors import StoreUnavailable
from vmha_remediator.remedy.incident import VmRecord, VmStatus
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.store import Store


class Both:
    """The store of the scenarios, and a plain one on the same database."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.database = FlakyDatabase()
        self.quick = QuickStore(self.database, lambda: self.now)
        self.plain = Store(self.database, lambda: self.now)

    def agree(self) -> None:
        for ask in (
            lambda store: store.incidents(),
            lambda store: store.incidents(active_only=True),
            lambda store: store.incidents(limit=1),
            lambda store: [store.incident(i.id) for i in self.plain.incidents()],
            lambda store: store.active("h1"),
            lambda store: store.unreported(),
            lambda store: store.maintenance(),
            lambda store: store.confirmation("h1"),
            lambda store: store.has_doorbells(),
        ):
            wanted: Callable[[Store], object] = ask
            assert wanted(self.quick) == wanted(self.plain)
            assert wanted(self.quick) == wanted(self.plain), "also when it is asked again"


def test_each_write_makes_what_it_changes_be_read_anew() -> None:
    both = Both()
    store, epoch = both.quick, both.quick.claim_epoch("engine")

    def open_() -> None:
        store.open_incident("h1", "failure", "recover", "critical", "silent", epoch=epoch)

    def move() -> None:
        store.move(store.incidents()[0], S.CONFIRMED, "it is", epoch=epoch)

    def vms() -> None:
        store.save_vms(store.incidents()[0], [VmRecord("v", "v", "h1")], epoch=epoch)

    def retry() -> None:
        pending = VmRecord("v", "v", "h1", status=VmStatus.PENDING, not_before=2000.0)
        store.save_vms(store.incidents()[0], [pending], epoch=epoch)
        store.retry(1, "anna")

    def step() -> None:
        number = store.begin_step(store.incidents()[0], "fence", "now", epoch=epoch)
        both.agree()
        store.finish_step(number, True, "off", epoch=epoch)

    def report() -> None:
        for change in store.unreported():
            store.mark_reported(change.id, epoch=epoch)
            both.agree()
            store.mark_told(change.id)

    def later() -> None:
        both.now += 60.0

    for deed in (
        lambda: store.ring("failure", "h1", "aodh"),
        open_,
        lambda: store.take_doorbells(),
        move,
        lambda: store.update(store.incidents()[0], epoch=epoch, held_by="storm"),
        lambda: store.note(1, "fencing", epoch=epoch),
        vms,
        retry,
        step,
        report,
        lambda: store.confirm_fenced("h1", "anna"),
        lambda: store.set_maintenance("h2", "disks", "anna", until=both.now + 30.0),
        lambda: store.set_maintenance("h3", "disks", "anna"),
        later,
        lambda: store.unset_maintenance("h3"),
    ):
        deed()
        both.agree()


def test_a_database_that_is_gone_answers_nobody_from_memory() -> None:
    both = Both()
    both.agree()
    both.database.gone = True
    with pytest.raises(StoreUnavailable):
        both.quick.incidents()


def test_a_database_that_is_used_again_is_empty() -> None:
    both = Both()
    both.quick.claim_epoch("engine")
    both.quick.open_incident("h1", "failure", "recover", "critical", "silent", epoch=1)
    both.database.dispose()
    again = QuickStore(empty_database(), lambda: 0.0)
    assert again.database is both.database
    assert (again.incidents(), again.leader()) == ([], None)
