# SPDX-License-Identifier: Apache-2.0
"""The store as its callers see it: doorbells, epochs, incidents, a person's word."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from oslo_config import cfg

from vmha_remediator.errors import (
    ConfigError,
    IllegalTransition,
    IncidentChanged,
    IncidentError,
    StaleEpoch,
    StoreUnavailable,
)
from vmha_remediator.remedy.incident import Incident, ProofRecord, VmRecord, VmStatus
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.store import Store, open_store, store_to_read


def _open(store: Store, epoch: int, host: str = "h1", rule: str = "failure") -> Incident:
    action = "recover" if rule == "failure" else "report"
    return store.open_incident(host, rule, action, "critical", f"{rule} holds", epoch=epoch)


def _walk(store: Store, incident: Incident, epoch: int, *states: S) -> Incident:
    for state in states:
        incident = store.move(incident, state, f"now {state}", epoch=epoch)
    return incident


# -- doorbells -----------------------------------------------------------------------------


def test_many_words_are_left_at_once_and_each_is_there_once(store: Store) -> None:
    store.ring("failure", "h1", "webhook")

    store.ring_all([("failure", "h1"), ("failure", "h2"), ("isolation", "h1")], "webhook")
    store.ring_all([("failure", "h2")], "webhook")

    bells = store.take_doorbells()
    assert sorted((bell.rule, bell.host) for bell in bells) == [
        ("failure", "h1"),
        ("failure", "h2"),
        ("isolation", "h1"),
    ]


def test_receivers_that_leave_the_same_words_side_by_side_lose_none(store: Store) -> None:
    words = [("failure", f"h{n}") for n in range(20)]
    threads = [
        threading.Thread(target=store.ring_all, args=(words[:n], "webhook"))
        for n in (20, 10, 15, 20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert {bell.host for bell in store.take_doorbells()} == {host for _, host in words}


def test_a_doorbell_is_taken_once(store: Store) -> None:
    assert not store.has_doorbells()
    store.ring("failure", "h1", "webhook")
    assert store.has_doorbells()
    (bell,) = store.take_doorbells()
    assert (bell.host, bell.rule, bell.source) == ("h1", "failure", "webhook")
    assert store.take_doorbells() == []


def test_a_thousand_rings_are_one(store: Store) -> None:
    for _ in range(1000):
        store.ring("failure", "h1", "flood")
    assert len(store.take_doorbells()) == 1


def test_rings_from_many_threads_all_arrive(store: Store) -> None:
    def ring(number: int) -> None:
        store.ring("failure", f"h{number}", "thread")

    threads = [threading.Thread(target=ring, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {bell.host for bell in store.take_doorbells()} == {f"h{n}" for n in range(20)}


# -- who leads -----------------------------------------------------------------------------


def test_each_leader_has_a_higher_epoch(store: Store) -> None:
    assert store.leader() is None
    first, second = store.claim_epoch("one"), store.claim_epoch("two")
    assert second == first + 1
    leader = store.leader()
    assert leader is not None
    assert (leader.owner, leader.epoch) == ("two", second)


def test_a_deposed_leaders_every_write_is_refused(store: Store) -> None:
    old = store.claim_epoch("one")
    incident = _open(store, old)
    store.claim_epoch("two")
    record = VmRecord("id-a", "a", "h1")
    for write in (
        lambda: _open(store, old, "h2"),
        lambda: store.move(incident, S.CONFIRMED, "late", epoch=old),
        lambda: store.update(incident, epoch=old, forced_by_us=True),
        lambda: store.begin_step(incident, "fence", "late", epoch=old),
        lambda: store.save_vms(incident, [record], epoch=old),
        lambda: store.mark_reported(1, epoch=old),
        lambda: store.count_onset("h1", 60.0, epoch=old),
        lambda: store.say(old, "late"),
        lambda: store.assert_leader(old),
    ):
        with pytest.raises(StaleEpoch, match="two leads"):
            write()
    assert store.incident(incident.id) == incident


def test_a_write_to_what_has_changed_is_refused(store: Store) -> None:
    epoch = store.claim_epoch("one")
    seen = _open(store, epoch)
    store.move(seen, S.CONFIRMED, "confirmed", epoch=epoch)
    with pytest.raises(IncidentChanged):
        store.move(seen, S.CLEARED, "from an old reading", epoch=epoch)


# -- incidents -----------------------------------------------------------------------------


def test_a_host_has_one_active_incident(store: Store) -> None:
    epoch = store.claim_epoch("one")
    first = _open(store, epoch)
    assert _open(store, epoch, rule="isolation").id == first.id
    _walk(store, first, epoch, S.CLEARED)
    second = _open(store, epoch, rule="isolation")
    assert second.id != first.id
    assert [i.id for i in store.incidents()] == [second.id, first.id]
    assert [i.id for i in store.incidents(active_only=True)] == [second.id]


def test_the_proof_is_kept_with_its_driver_and_evidence(store: Store) -> None:
    epoch = store.claim_epoch("one")
    incident = _walk(store, _open(store, epoch), epoch, S.CONFIRMED, S.FENCING)
    proof = ProofRecord("redfish", "power is off", "power reads off", 12.5)
    store.move(incident, S.FENCED, "off", epoch=epoch, proof=proof)
    found = store.incident(incident.id)
    assert found.proof == proof
    assert found.proven_off


def test_an_illegal_move_writes_nothing(store: Store) -> None:
    epoch = store.claim_epoch("one")
    incident = _open(store, epoch)
    with pytest.raises(IllegalTransition):
        store.move(incident, S.EVACUATING, "too early", epoch=epoch)
    assert store.incident(incident.id) == incident


def test_every_change_is_reported_once(store: Store) -> None:
    epoch = store.claim_epoch("one")
    _walk(store, _open(store, epoch), epoch, S.CONFIRMED, S.CLEARED)
    changes = store.unreported()
    assert [str(c.after) for c in changes] == ["detected", "confirmed", "cleared"]
    assert [store.mark_reported(c.id, epoch=epoch) for c in changes] == [True, True, True]
    for change in changes:
        store.mark_told(change.id)
    assert not store.mark_reported(changes[0].id, epoch=epoch)
    assert store.unreported() == []


def test_what_a_dead_engine_was_about_to_tell_is_told_again_and_marked_so(store: Store) -> None:
    old = store.claim_epoch("one")
    _open(store, old)
    (change,) = store.unreported()
    assert store.mark_reported(change.id, epoch=old)
    assert not change.again
    new = store.claim_epoch("two")
    (left,) = store.unreported()
    assert left.again
    assert store.mark_reported(left.id, epoch=new)
    with pytest.raises(StaleEpoch):
        store.mark_reported(left.id, epoch=old)


def test_an_incident_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(IncidentError, match="no incident 99"):
        store.incident(99)


# -- journal and VMs -----------------------------------------------------------------------


def test_the_journal_shows_a_step_before_and_after_it_is_done(store: Store) -> None:
    epoch = store.claim_epoch("one")
    incident = _open(store, epoch)
    number = store.begin_step(incident, "fence", "switch h1 off", epoch=epoch)
    (step,) = store.incident(incident.id).steps
    assert (step.step, step.ok, step.finished) == ("fence", None, None)
    store.finish_step(number, True, "redfish: off")
    (step,) = store.incident(incident.id).steps
    assert (step.sentence, step.ok) == ("redfish: off", True)
    assert step.finished is not None


def test_a_failure_that_repeats_itself_is_one_line(store: Store) -> None:
    epoch = store.claim_epoch("one")
    incident = _open(store, epoch)
    for sentence in ("no answer", "no answer", "refused", "no answer"):
        number = store.begin_step(incident, "fence", "switch h1 off", epoch=epoch)
        store.finish_step(number, False, sentence)
    lines = [step.sentence for step in store.incident(incident.id).steps]
    assert lines == ["no answer", "refused", "no answer"]


def test_a_host_of_another_cell_is_remembered_by_itself_and_not_by_words(store: Store) -> None:
    epoch = store.claim_epoch("one")
    incident = _open(store, epoch)
    for host in ("h8", "h9", "h9", None):
        number = store.begin_step(incident, "evacuate", "a: evacuation", epoch=epoch)
        store.finish_step(number, False, f"refused: {host}", other_cell=host)
    assert [s.other_cell for s in store.incident(incident.id).steps] == ["h8", "h9", None]


def test_the_latest_record_of_a_vm_is_found_though_its_incident_is_over(store: Store) -> None:
    epoch = store.claim_epoch("one")
    first = _open(store, epoch)
    store.save_vms(first, [VmRecord(f"id-{n}", n, "h1") for n in "abc"], epoch=epoch)
    store.move(first, S.CLEARED, "over", epoch=epoch)
    again = VmRecord("id-a", "a", "h1", status=VmStatus.DONE, dest="h3")
    store.save_vms(_open(store, epoch), [again], epoch=epoch)
    assert store.latest_vms(["id-a", "id-b", "id-z"]) == [again, VmRecord("id-b", "b", "h1")]
    assert store.latest_vms([]) == []


def test_vms_are_written_and_written_again(store: Store) -> None:
    epoch = store.claim_epoch("one")
    incident = _open(store, epoch)
    record = VmRecord("id-a", "a", "h1", vm_state="paused", locked=True, locked_reason="mine")
    store.save_vms(incident, [record, VmRecord("id-b", "b", "h1")], epoch=epoch)
    assert store.incident(incident.id).vm("id-a") == record
    moved = VmRecord("id-b", "b", "h1", status=VmStatus.DONE, dest="h2", finished=3.0)
    store.save_vms(incident, [moved], epoch=epoch)
    assert store.incident(incident.id).vms == (record, moved)


# -- a person's word -----------------------------------------------------------------------


def test_a_confirmation_counts_for_its_incident_only(store: Store) -> None:
    epoch = store.claim_epoch("one")
    incident = _open(store, epoch)
    assert store.confirmation("h1") is None
    store.confirm_fenced("h1", "ann")
    assert store.confirmation("h1") == "ann confirmed that h1 is off"
    _walk(store, incident, epoch, S.CLEARED)
    _open(store, epoch)
    assert store.confirmation("h1") is None


def test_a_word_given_in_advance_is_worth_nothing(store: Store) -> None:
    with pytest.raises(IncidentError, match="no active failure"):
        store.confirm_fenced("h1", "ann")
    epoch = store.claim_epoch("one")
    _open(store, epoch, rule="isolation")
    with pytest.raises(IncidentError, match="no active failure"):
        store.confirm_fenced("h1", "ann")


def test_a_release_waives_what_held_it_and_asks_for_a_new_plan(store: Store) -> None:
    epoch = store.claim_epoch("one")
    incident = _open(store, epoch)
    held = store.move(
        incident, S.HELD, "too many", epoch=epoch, held_by="storm", held_from=S.DETECTED
    )
    store.release(held.id, "ann")
    found = store.incident(held.id)
    assert (found.released_by, found.waived) == ("ann", frozenset({"storm"}))
    assert (found.held_from, found.state) == (S.DETECTED, S.HELD)
    with pytest.raises(IncidentChanged):
        store.update(held, epoch=epoch, said="from before the release")


def test_only_what_waits_for_a_person_can_be_released(store: Store) -> None:
    incident = _open(store, store.claim_epoch("one"))
    with pytest.raises(IncidentError, match="is detected, not held"):
        store.release(incident.id, "ann")


# -- hosts ---------------------------------------------------------------------------------


def test_a_maintenance_flag_stands_until_it_is_taken_back(store: Store) -> None:
    store.set_maintenance("h1", "new memory", "ann")
    store.set_maintenance("h1", "new memory and disks", "ben")
    assert [(m.reason, m.who) for m in store.maintenance().values()] == [
        ("new memory and disks", "ben")
    ]
    assert store.unset_maintenance("h1")
    assert not store.unset_maintenance("h1")
    assert store.maintenance() == {}


def test_a_maintenance_flag_with_an_end_ends(conf: cfg.ConfigOpts) -> None:
    now = [1000.0]
    store = open_store(conf, clock=lambda: now[0])
    store.set_maintenance("h1", "kernel", "ann", until=1600.0)
    assert "h1" in store.maintenance()
    now[0] = 1600.0
    assert store.maintenance() == {}
    assert not store.unset_maintenance("h1")


def test_onsets_are_counted_within_their_window_by_whoever_leads(conf: cfg.ConfigOpts) -> None:
    now = [1000.0]
    store = open_store(conf, clock=lambda: now[0])
    counts = []
    for second in (1000.0, 1100.0, 1250.0, 1400.0):
        now[0] = second
        epoch = store.claim_epoch("some")
        counts.append(len(store.count_onset("h1", 300.0, epoch=epoch)))
        store.end_onset("h1", epoch=epoch)
    assert counts == [1, 2, 3, 3]
    assert len(store.count_onset("h2", 300.0, epoch=store.claim_epoch("some"))) == 1


def test_an_onset_that_stands_is_counted_once_whoever_leads(conf: cfg.ConfigOpts) -> None:
    store = open_store(conf)
    first = store.count_onset("h1", 300.0, epoch=store.claim_epoch("one"))
    epoch = store.claim_epoch("another")
    assert store.standing_onsets() == ["h1"]
    assert store.count_onset("h1", 300.0, epoch=epoch) == first
    store.end_onset("h1", epoch=epoch)
    assert store.standing_onsets() == []
    assert len(store.count_onset("h1", 300.0, epoch=epoch)) == 2


def test_an_incident_that_is_opened_tells_of_the_onset(store: Store) -> None:
    epoch = store.claim_epoch("one")
    store.count_onset("h1", 300.0, epoch=epoch)
    _open(store, epoch)
    assert store.standing_onsets() == []
    assert len(store.count_onset("h1", 300.0, epoch=epoch)) == 2


def test_an_onset_within_an_incident_is_counted_with_what_is_noted(store: Store) -> None:
    epoch = store.claim_epoch("one")
    incident = _open(store, epoch)
    store.update(incident, epoch=epoch, onset=300.0, well_since=None)
    with pytest.raises(IncidentChanged):  # as after a crash: planned on what was before
        store.update(incident, epoch=epoch, onset=300.0, well_since=None)
    assert len(store.count_onset("h1", 300.0, epoch=epoch)) == 2


# -- the database --------------------------------------------------------------------------


def test_a_second_process_sees_the_first_ones_writes(conf: cfg.ConfigOpts, store: Store) -> None:
    other = open_store(conf)
    store.ring("failure", "h1", "webhook")
    assert [bell.host for bell in other.take_doorbells()] == ["h1"]
    other.close()
    store.close()


def test_who_only_reads_makes_no_database(conf: cfg.ConfigOpts) -> None:
    with pytest.raises(StoreUnavailable, match=r"there is no .*; run: vmha-manage db upgrade"):
        store_to_read(conf)
    assert not Path(conf.database.connection.removeprefix("sqlite:///")).exists()


def test_who_only_reads_upgrades_none(conf: cfg.ConfigOpts) -> None:
    store = open_store(conf)
    with store.database.engine().begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0004'"))
    with pytest.raises(StoreUnavailable, match=r"at revision 0004, .* run: vmha-manage db up"):
        store_to_read(conf)
    assert store.database.revision() == "0004"


def test_who_only_reads_sees_what_is_there(conf: cfg.ConfigOpts, store: Store) -> None:
    store.claim_epoch("one")
    found = store_to_read(conf).leader()
    assert found is not None
    assert found.owner == "one"


def test_an_upgrade_twice_is_one(store: Store) -> None:
    assert store.upgrade() == store.upgrade() == store.database.head()
    store.check()


def test_a_database_that_a_newer_version_upgraded_is_said(
    store: Store, conf: cfg.ConfigOpts
) -> None:
    with store.database.engine().begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match=r"'9999'.* Has a newer version"):
        open_store(conf)


def test_what_the_tables_hold_survives_the_upgrade(conf: cfg.ConfigOpts) -> None:
    store = open_store(conf)
    incident = _open(store, store.claim_epoch("one"))
    with store.database.engine().begin() as connection:
        for statement in (
            "DROP TABLE maintenance",
            "DROP TABLE onsets",
            "ALTER TABLE incidents DROP COLUMN powered_since",
            "ALTER TABLE steps DROP COLUMN other_cell",
            "UPDATE alembic_version SET version_num = '0004'",
        ):
            connection.execute(sa.text(statement))
    store.upgrade()
    assert store.incident(incident.id) == incident
    assert [str(change.after) for change in store.unreported()] == ["detected"]
    store.check()


def test_a_folder_that_cannot_be_made_is_said(conf: cfg.ConfigOpts) -> None:
    conf.set_override("connection", "sqlite:////proc/nowhere/v.sqlite", group="database")
    with pytest.raises(StoreUnavailable, match="/proc/nowhere"):
        open_store(conf)


def test_a_database_server_that_is_down_is_said_without_the_password(
    conf: cfg.ConfigOpts,
) -> None:
    url = "mysql+pymysql://vmha:s3cret@127.0.0.1:1/vmha"
    conf.set_override("connection", url, group="database")
    with pytest.raises(StoreUnavailable) as caught:
        open_store(conf)
    assert "s3cret" not in str(caught.value)


def test_a_text_that_is_no_url_is_a_wrong_option(conf: cfg.ConfigOpts) -> None:
    conf.set_override("connection", "vmha.sqlite", group="database")
    with pytest.raises(ConfigError, match="connection"):
        open_store(conf)


def test_several_steps_begin_with_their_vms_in_one_go(store: Store) -> None:
    epoch = store.claim_epoch("one")
    incident = _open(store, epoch)
    asked = [VmRecord(f"id-{n}", n, "h1", status=VmStatus.REQUESTED) for n in "ab"]
    numbers = store.begin_steps(incident, "evacuate", ["a: asked", "b: asked"], asked, epoch=epoch)
    found = store.incident(incident.id)
    assert [(s.sentence, s.ok) for s in found.steps] == [("a: asked", None), ("b: asked", None)]
    assert found.vms == tuple(asked)
    started = VmRecord("id-b", "b", "h1", status=VmStatus.REQUESTED, started=5.0)
    store.finish_step(numbers[1], True, "b: accepted", started, epoch=epoch)
    found = store.incident(incident.id)
    assert [(s.sentence, s.ok) for s in found.steps] == [("a: asked", None), ("b: accepted", True)]
    assert found.vm("id-b") == started


def test_a_deposed_leader_begins_nothing_and_says_what_it_did_but_not_of_vms(store: Store) -> None:
    old = store.claim_epoch("one")
    incident = _open(store, old)
    record = VmRecord("id-a", "a", "h1", status=VmStatus.REQUESTED)
    (number,) = store.begin_steps(incident, "evacuate", ["a: asked"], [record], epoch=old)
    new = store.claim_epoch("two")
    moved = VmRecord("id-a", "a", "h1", status=VmStatus.MOVING, dest="h3")
    store.save_vms(incident, [moved], epoch=new)
    with pytest.raises(StaleEpoch):
        store.begin_steps(incident, "evacuate", ["a: asked"], [record], epoch=old)
    with pytest.raises(StaleEpoch):
        store.record_steps(incident, "follow-vm", ["a: seen"], [record], epoch=old)
    late = VmRecord("id-a", "a", "h1", status=VmStatus.REQUESTED, started=5.0)
    store.finish_step(number, True, "a: accepted", late, epoch=old)
    found = store.incident(incident.id)
    assert [s.sentence for s in found.steps] == ["a: accepted"]
    assert found.vms == (moved,)


def test_what_was_seen_of_vms_is_written_with_its_lines_which_are_over(store: Store) -> None:
    epoch = store.claim_epoch("one")
    incident = _open(store, epoch)
    done = [VmRecord(f"id-{n}", n, "h1", status=VmStatus.DONE) for n in "ab"]
    store.record_steps(incident, "follow-vm", ["a: runs", "b: runs"], done, epoch=epoch)
    found = store.incident(incident.id)
    assert [(s.sentence, s.ok) for s in found.steps] == [("a: runs", True), ("b: runs", True)]
    assert all(s.finished is not None for s in found.steps)
    assert found.vms == tuple(done)
