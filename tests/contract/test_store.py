# SPDX-License-Identifier: Apache-2.0
"""The store keeps its word on every database: tables, epochs, one incident a host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from tests.unit.engine.sim import Sim
from vmha_remediator.errors import IncidentChanged, StaleEpoch, StoreUnavailable
from vmha_remediator.remedy import cells
from vmha_remediator.remedy.incident import Incident, VmRecord
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.store import Store
from vmha_remediator.store.database import MIGRATIONS, Database
from vmha_remediator.store.models import Base
from vmha_remediator.store.purge import purge

REVISIONS = [r.revision for r in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]


def differences(database: Database) -> list[object]:
    with database.engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))


def opened(store: Store, epoch: int, host: str = "h1") -> Incident:
    return store.open_incident(host, "failure", "recover", "critical", "it is dead", epoch=epoch)


# -- tables ---------------------------------------------------------------------------------


def test_the_migrations_make_what_the_models_say(database: Database) -> None:
    assert database.upgrade() == REVISIONS[-1]
    assert differences(database) == []
    assert database.upgrade() == REVISIONS[-1]  # twice changes nothing


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_every_elder_revision_is_brought_up_with_what_is_in_it(
    database: Database, revision: str
) -> None:
    database.upgrade(revision)
    with database.engine().begin() as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        incidents, changes = tables.tables["incidents"], tables.tables["changes"]
        connection.execute(incidents.insert().values(_any_row(incidents, id=7)))
        connection.execute(changes.insert().values(_any_row(changes, incident_id=7)))
    database.upgrade()
    assert differences(database) == []
    store = Store(database)
    assert store.incident(7).host == "x"
    assert [change.incident_id for change in store.changes(7)] == [7]


def _any_row(table: sa.Table, **values: object) -> dict[str, object]:
    """Return a row with something in every column that must not be empty."""
    row: dict[str, object] = {}
    for column in table.columns:
        if column.name in values or column.nullable or column.primary_key:
            continue
        if isinstance(column.type, sa.Boolean):
            row[column.name] = False
        else:
            row[column.name] = "x" if isinstance(column.type, sa.String) else 1
    row |= values
    if table.name == "incidents":
        row |= {"state": "cleared", "waived": "[]" if _as_text(table.c.waived.type) else []}
    if table.name == "changes":
        row |= {"after": "cleared"}
    return row


def _as_text(kind: sa.types.TypeEngine[object]) -> bool:
    return not isinstance(kind, sa.JSON)  # MariaDB's JSON is a text


def test_what_an_incident_under_way_has_learnt_of_cells_survives_the_upgrade(
    database: Database,
) -> None:
    """Up to 0006 only the sentence of the failed step told which host it was."""
    database.upgrade("0006")
    refused = "a: evacuation to h9, attempt 1: h9 is in another cell than the VM: ..."
    with database.engine().begin() as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        incidents, steps = tables.tables["incidents"], tables.tables["steps"]
        connection.execute(incidents.insert().values(_any_row(incidents, id=7)))
        for sentence, ok in ((refused, False), (refused, True), ("h8: no answer", False)):
            line = {"incident_id": 7, "sentence": sentence, "ok": ok}
            connection.execute(steps.insert().values(_any_row(steps, **line)))
    database.upgrade()
    found = Store(database).incident(7)
    assert [step.other_cell for step in found.steps] == ["h9", None, None]
    assert cells.foreign(found) == {"h9"}


def test_two_services_that_start_together_make_the_tables_once(database: Database) -> None:
    url = database.engine().url.render_as_string(hide_password=False)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: Database(url).upgrade(), range(4)))
    assert made == [REVISIONS[-1]] * 4
    assert differences(database) == []


def test_a_database_without_tables_is_said(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="vmha-manage db upgrade"):
        Store(database).check()


# -- incidents ------------------------------------------------------------------------------


@pytest.fixture
def store(database: Database) -> Store:
    database.upgrade()
    return Store(database)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("nothing\0at all", "nothing\N{REPLACEMENT CHARACTER}at all"),
        ("half a \ud83d pair", "half a ? pair"),
        ("\N{SNOWMAN}" * 30_000, "\N{SNOWMAN}" * 15_997 + "..."),
    ],
    ids=["a null", "half a character", "too long"],
)
def test_words_that_a_database_would_refuse_stop_no_recovery(
    store: Store, given: str, kept: str
) -> None:
    """Whoever owns a VM chooses its name, its metadata and why it is locked."""
    epoch = store.claim_epoch("one")
    incident = opened(store, epoch)
    number = store.begin_step(incident, "journal-vms", given, epoch=epoch)
    store.finish_step(number, False, given)
    store.note(incident.id, given, epoch=epoch)
    vm = VmRecord("id-a", "a", "h1", locked_reason=given, reason=given)
    store.save_vms(incident, [vm], epoch=epoch)
    found = store.move(incident, S.CONFIRMED, given, epoch=epoch)

    assert (found.reason, found.said, found.steps[0].sentence) == (kept, kept, kept)
    assert (found.vms[0].locked_reason, found.vms[0].reason) == (kept, kept)


def test_bells_and_incidents_are_kept_once(store: Store) -> None:
    epoch = store.claim_epoch("one")
    store.ring("failure", "h1", "webhook")
    store.ring("failure", "h1", "webhook")
    assert len(store.take_doorbells()) == 1
    incident = opened(store, epoch)
    assert opened(store, epoch).id == incident.id
    moved = store.move(incident, S.CONFIRMED, "confirmed", epoch=epoch)
    assert moved.state is S.CONFIRMED
    with pytest.raises(IncidentChanged):
        store.move(incident, S.CLEARED, "it was read before", epoch=epoch)


def test_many_that_open_one_incident_open_one(store: Store) -> None:
    epoch = store.claim_epoch("one")
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: opened(store, epoch), range(12)))
    assert {incident.id for incident in found} == {found[0].id}
    assert len(store.unreported()) == 1


ELDER: dict[str, Callable[[Store, Incident, int], object]] = {
    "move": lambda store, i, epoch: store.move(i, S.CONFIRMED, "late", epoch=epoch),
    "update": lambda store, i, epoch: store.update(i, epoch=epoch, forced_by_us=True),
    "begin_step": lambda store, i, epoch: store.begin_step(i, "evacuate", "late", epoch=epoch),
    "save_vms": lambda store, i, epoch: store.save_vms(i, [], epoch=epoch),
    "open": lambda store, i, epoch: opened(store, epoch, "h2"),
    "report": lambda store, i, epoch: store.mark_reported(1, epoch=epoch),
    "note": lambda store, i, epoch: store.note(i.id, "late", epoch=epoch),
    "say": lambda store, i, epoch: store.say(epoch, "late"),
}


def test_nothing_of_an_elder_epoch_is_written(store: Store) -> None:
    elder = store.claim_epoch("one")
    incident = opened(store, elder)
    store.claim_epoch("two")
    for name, late in ELDER.items():
        with pytest.raises(StaleEpoch, match="two leads with epoch 2"):
            late(store, incident, elder)
            pytest.fail(f"{name} was written")
    assert store.incident(incident.id) == incident


def test_two_leaders_that_work_at_the_same_time_lose_no_write(store: Store) -> None:
    """Each deposes the other again and again; each step that began was the leader's."""
    incident = opened(store, store.claim_epoch("first"))
    refused = []

    def lead(name: str) -> None:
        for _ in range(15):
            epoch = store.claim_epoch(name)
            try:
                number = store.begin_step(incident, "evacuate", name, epoch=epoch)
                store.finish_step(number, True, f"{name} {epoch}")
            except StaleEpoch:
                refused.append(name)

    threads = [threading.Thread(target=lead, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    steps = store.incident(incident.id).steps
    assert len(steps) == 30 - len(refused)
    assert len({step.sentence for step in steps}) == len(steps)


def test_two_engines_that_both_lead_move_no_vm_twice(store: Store) -> None:
    sim = Sim(database=store.database)
    sim.world.nova.boot("a", "h1")
    sim.world.nova.boot("b", "h1")
    sim.run(1)
    sim.world.power_off("h1")
    sim.run(7)
    elder, younger = sim.engine, sim.new_engine()
    for turn in range(400):
        sim.world.pass_time()
        (elder if turn % 2 else younger)._guarded_cycle()
        if sim.state("h1") == "recovered":
            break
    assert sim.state("h1") == "recovered", sim.story()
    assert sorted(sim.world.noted("evacuate")) == ["a", "b"]


# -- purge ----------------------------------------------------------------------------------


def test_a_purge_removes_what_is_over_batch_by_batch(database: Database) -> None:
    database.upgrade()
    now = [1000.0]
    store = Store(database, lambda: now[0])
    epoch = store.claim_epoch("one")
    for number in range(5):
        incident = opened(store, epoch, f"h{number}")
        number = store.begin_step(incident, "fence", "off", epoch=epoch)
        store.finish_step(number, True, "off")
        store.move(incident, S.CLEARED, "well again", epoch=epoch)
    kept = opened(store, epoch, "active")
    for change in store.unreported():
        store.mark_told(change.id)
    untold = store.move(opened(store, epoch, "h9"), S.CLEARED, "nobody knows", epoch=epoch)

    counted = purge(database, 2000.0, dry_run=True, batch=2)
    assert len(store.incidents()) == 7
    assert purge(database, 2000.0, batch=2) == counted
    assert dict(counted) == {
        "incidents": 5, "steps": 5, "VMs": 0, "changes": 10, "confirmations": 0,
        "restarts of single VMs": 0,
    }  # fmt: skip
    assert {i.id for i in store.incidents()} == {kept.id, untold.id}
    assert purge(database, 2000.0)["incidents"] == 0
