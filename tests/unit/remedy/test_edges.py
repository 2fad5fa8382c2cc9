# SPDX-License-Identifier: Apache-2.0
"""What the one law rests on, each at its edge: take any of it away, and a test here fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.remedy.build import NOW, facts, incident, no_measures, server, service, verdict
from tests.unit.remedy.test_home import words
from vmha_remediator.remedy import candidates, guards, proof
from vmha_remediator.remedy.facts import Facts, Maintenance, Migration
from vmha_remediator.remedy.incident import POWER_OFF, Incident, ProofRecord, StepRecord, VmRecord
from vmha_remediator.remedy.incident import VmStatus as Vm
from vmha_remediator.remedy.plan import next_steps
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import Move
from vmha_remediator.rules.judge import State

POLICY = Policy()
PROOF = ProofRecord("redfish", POWER_OFF, "power reads off", NOW - 2)
WAITS = VmRecord("id-a", "a", "h1", vm_state="active")
MOVES = replace(WAITS, status=Vm.MOVING, migration_id="m1", dest="h2", attempts=1, started=NOW - 3)
FORCED = service(forced_down=True)
AT_WORK = Migration("m1", "id-a", "h1", "h2", "pre-migrating", NOW - 3)
DONE = replace(WAITS, status=Vm.DONE, dest="h2", started=NOW - 60)


def steps(given: Incident, known: Facts) -> list[str]:
    return words(next_steps(given, known, NOW, POLICY))


# -- where it may go ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields", [{"forced_down": True}, {"up": False}, {"enabled": False}, {"host": "h1"}]
)
def test_a_host_that_is_not_well_in_any_one_way_is_given_nothing(fields: dict[str, Any]) -> None:
    other = service(**({"id": "s2", "host": "h2"} | fields))
    assert other.host in candidates.unfit(facts(services=(other,)))


# -- is it heard? ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beat", "lease", "heard"),
    [
        (4.9, None, True),
        (None, 7.9, True),
        (60.0, 7.9, True),  # one sign of life is one
        (4.9, 60.0, True),
        (5.0, 8.0, False),  # as old as the rules' thresholds: the failure holds
        (None, None, False),
    ],
)
def test_a_host_is_heard_by_either_path(
    beat: float | None, lease: float | None, heard: bool
) -> None:
    assert Facts("h1", heartbeat_age=beat, lease_age=lease).heard is heard


# -- before it is fenced --------------------------------------------------------------------


@pytest.mark.parametrize("state", ["detected", "confirmed"])
def test_a_failure_that_another_rule_contradicts_waits(state: str) -> None:
    """Both hold at once: the one that only reports stands, and nobody is killed meanwhile."""
    lost = verdict("storage-lost", State.ALARM)
    both = replace(facts(), verdicts=(verdict("failure", State.ALARM), lost), standing=lost)
    assert steps(incident(state), both) == []
    assert steps(incident(state), no_measures()) == []


def test_no_waiver_makes_up_for_a_service_that_nova_does_not_know() -> None:
    waived = incident("detected", waived=frozenset({guards.NO_SERVICE}))
    found = guards.objection(waived, facts(service=None), NOW, POLICY)
    assert found is not None and found.guard == guards.NO_SERVICE


# -- a proof, and what makes it void --------------------------------------------------------


@pytest.mark.parametrize(
    ("power", "void"), [("off", False), ("on", True), ("unknown", True), (None, True)]
)
def test_a_host_that_was_heard_and_fails_again_needs_a_new_proof_unless_it_reads_off(
    power: str | None, void: bool
) -> None:
    lived = incident("evacuating", heard_since=NOW - 30)
    assert proof.proof_is_void(lived, facts(power=power)) is void


def test_a_failure_that_is_judged_anew_begins_without_a_proof() -> None:
    (move,) = proof.anew(incident("evacuating")).steps
    assert isinstance(move, Move)
    assert move.fields["proof"] is None and move.fields["fencing_since"] is None
    assert move.fields["heard_since"] is None and move.fields["powered_since"] is None


# -- heard although it was off --------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "fields", "power", "expected"),
    [
        ("fenced", {"heard_since": NOW - 9.9}, None, []),
        ("evacuating", {"heard_since": NOW - 9.9}, "on", ["waiting"]),
        ("fenced", {"heard_since": NOW - 10}, "on", ["hold"]),
        ("evacuating", {"heard_since": NOW - 10}, "on", ["waiting", "pending", "-> recovered"]),
        # Unless its power reads on, the driver that said off is not to be trusted.
        ("evacuating", {"heard_since": NOW - 10}, "off", ["waiting", "hold"]),
        ("evacuating", {"heard_since": NOW - 10}, "unknown", ["waiting", "hold"]),
    ],
)
def test_a_host_that_is_heard_after_its_proof(
    state: str, fields: dict[str, Any], power: str | None, expected: list[str]
) -> None:
    known = replace(facts(None), power=power, servers=(server("a"),))
    assert steps(incident(state, vms=(WAITS,), **fields), known) == expected


def test_a_host_that_is_back_ends_nothing_while_a_vm_moves() -> None:
    back = incident("evacuating", vms=(MOVES,), heard_since=NOW - 60)
    known = facts(None, power="on", servers=(server("a"),), migrations=(AT_WORK,))
    assert steps(back, known) == []


# -- asked for, and nobody could write down how that went ---------------------------------------

ASKED = replace(WAITS, status=Vm.REQUESTED, attempts=1, not_before=NOW - 5)


def test_a_vm_that_was_asked_for_and_has_left_is_ours_to_bring_back_to_what_it_was() -> None:
    """The database was away when Nova accepted, and its record looks too old to be ours."""
    there = server("a", host="h2", vm_state="stopped")
    known = facts(servers=(there,), service=FORCED)
    assert steps(incident("evacuating", vms=(ASKED,)), known) == ["start-vm"]


def test_a_host_some_of_whose_vms_were_asked_for_is_not_released_as_if_nothing_had_moved() -> None:
    back = incident("held", held_by="still-alive", vms=(ASKED,), released_by="ann")
    back = replace(back, fencing_since=NOW - 60, forced_by_us=True)
    assert steps(back, facts(None, service=FORCED)) == ["-> recovered"]


def test_a_half_way_failure_of_which_nova_does_not_say_where_is_left_for_a_person() -> None:
    failed = replace(AT_WORK, dest=None, status="failed")
    found = (server("a", vm_state="error"),)
    known = facts(servers=found, migrations=(failed,), service=FORCED)
    asked = replace(ASKED, migration_id="m1", status=Vm.WAITING)
    assert steps(incident("evacuating", vms=(asked,)), known) == ["pending"]


# -- under way ------------------------------------------------------------------------------


def test_a_vm_with_which_its_new_host_is_busy_is_let_be() -> None:
    busy = server("a", host="h2", vm_state="stopped", task_state="powering-on")
    done = replace(AT_WORK, status="done")
    known = facts(servers=(busy,), migrations=(done,), service=FORCED)
    assert steps(incident("evacuating", vms=(MOVES,)), known) == []


@pytest.mark.parametrize("status", ["pre-migrating", "migrating", "running"])
def test_what_a_destination_has_begun_is_never_asked_for_elsewhere(status: str) -> None:
    """However long it hangs, and though somebody has taken Nova's task off the VM."""
    hangs = replace(AT_WORK, status=status, created=NOW - 5 * POLICY.stuck_after)
    found = (server("a", vm_state="error"),)
    known = facts(servers=found, migrations=(hangs,), service=FORCED)
    assert steps(incident("evacuating", vms=(MOVES,)), known) == ["pending"]


# -- taken back -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reported", "expected"),
    [(NOW - 50 + 3.0, []), (NOW - 50 + 3.1, ["unforce", "-> readmitted"])],
)
def test_a_nova_compute_has_to_report_after_it_was_forced_down(
    reported: float, expected: list[str]
) -> None:
    """Our own write moves its time, too, and clocks differ by a little."""
    journal = (StepRecord(NOW - 51, "force-down", "", ok=True, finished=NOW - 50),)
    old = replace(PROOF, time=NOW - 55)
    back = incident("recovered", vms=(DONE,), heard_since=NOW - 20, steps=journal, proof=old)
    known = facts(None, service=service(forced_down=True, updated_at=reported))
    assert steps(back, known) == expected


@pytest.mark.parametrize(("failures", "last"), [(3, "-> readmitted"), (4, "hold")])
def test_a_host_may_be_fenced_so_often_a_day(failures: int, last: str) -> None:
    back = incident("recovered", vms=(DONE,), heard_since=NOW - 20)
    known = facts(None, service=service(forced_down=True, updated_at=NOW - 1), failures=failures)
    assert steps(back, replace(known, service=service(updated_at=NOW + 5)))[-1] == last


# -- held -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "by", ["contradiction", "storm", "heard-again", "still-alive", "quarantine"]
)
def test_a_persons_word_lets_only_that_go_on_which_waits_for_it(by: str) -> None:
    waits = incident("held", held_by=by, fencing_since=NOW - 30)
    known = facts(confirmed="ann confirmed that h1 is off")
    assert "-> fencing" not in steps(waits, known)


def test_what_was_held_once_fencing_had_begun_is_not_judged_anew_by_itself() -> None:
    begun = incident("held", held_by="min-healthy", fencing_since=NOW - 30, well_since=NOW - 99)
    assert steps(begun, facts()) == []


def test_a_fencing_is_not_tried_again_on_readings_that_are_missing() -> None:
    waits = incident("held", held_by="no-proof", fencing_since=NOW - 60)
    assert steps(waits, facts()) == ["fence"]
    assert steps(waits, no_measures()) == []


def test_a_fencing_is_not_tried_again_while_a_guard_objects() -> None:
    waits = incident("held", held_by="no-proof", fencing_since=NOW - 60)
    worked_on = Maintenance("h1", "a new disk", "ann", NOW - 10)
    assert steps(waits, facts(maintenance=worked_on)) == []


def test_a_driver_that_was_found_to_lie_is_not_believed_because_somebody_releases() -> None:
    lied = incident(
        "held", held_by="still-alive", fencing_since=NOW - 60, proof=PROOF, released_by="ann"
    )
    (move,) = next_steps(lied, facts(), NOW, POLICY).steps
    assert isinstance(move, Move)
    assert (move.to, move.fields["proof"]) == ("fencing", None)
