# SPDX-License-Identifier: Apache-2.0
"""A clock that steps back, or is not Nova's, makes nothing young, and nothing wait for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.remedy.build import NOW, facts, incident, no_measures, server
from vmha_remediator.remedy import proof, vms
from vmha_remediator.remedy.facts import Facts, Migration
from vmha_remediator.remedy.incident import (
    POWER_OFF,
    Incident,
    ProofRecord,
    StepRecord,
    VmRecord,
    VmStatus,
)
from vmha_remediator.remedy.plan import next_steps
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import Evacuate, Fence, Note, ResetState, Step

HOUR = 3600.0
POLICY = Policy()
VM = VmRecord("id-a", "a", "h1", vm_state="active")
LATER = ProofRecord("redfish", POWER_OFF, "power reads off", NOW + HOUR)


def _steps(known: Facts, *records: VmRecord, **fields: object) -> tuple[Step, ...]:
    given = incident("evacuating", vms=records, **fields)
    return vms.steps_for(given, known, NOW, POLICY, may_start="")


def test_a_proof_from_the_future_is_an_old_one() -> None:
    given = incident("evacuating", vms=(VM,), proof=LATER)

    assert proof.may_not_start(given, no_measures(), NOW, POLICY) != ""
    assert proof.wants_power(given, no_measures(), NOW, POLICY)
    assert proof.may_not_start(given, no_measures(power="off"), NOW, POLICY) == ""


@pytest.mark.parametrize(
    "record",
    [
        replace(VM, not_before=NOW + HOUR),
        replace(VM, status=VmStatus.PENDING, attempts=3, not_before=NOW + HOUR),
        replace(VM, status=VmStatus.REQUESTED, attempts=1, not_before=NOW + HOUR),
    ],
)
def test_no_vm_waits_until_a_clock_that_stepped_back_has_caught_up(record: VmRecord) -> None:
    assert _steps(facts(servers=(server("a"),)), record) == (Evacuate(record),)


def test_a_pause_that_is_one_is_kept() -> None:
    record = replace(VM, attempts=2, not_before=NOW + POLICY.retry_limit)
    assert _steps(facts(servers=(server("a"),)), record) == ()


def test_a_fencing_that_was_tried_in_the_future_is_tried_again() -> None:
    tried = StepRecord(NOW + HOUR, "fence", "the BMC does not answer", ok=False)
    given = incident("held", held_by="no-proof", fencing_since=NOW + HOUR, steps=(tried,))

    assert next_steps(given, facts(), NOW).steps == (Fence("h1"),)


@pytest.mark.parametrize(
    ("given", "known"),
    [
        (incident("reported", rule="isolation", well_since=NOW + HOUR), facts(None)),
        (incident("held", held_by="storm", well_since=NOW + HOUR), facts()),
        (incident("evacuating", heard_since=NOW + HOUR), facts(None, power="on")),
        (incident("recovered", powered_since=NOW + HOUR), facts(power="on")),
    ],
    ids=["a report is over", "a guard is gone", "a host is heard", "a host boots"],
)
def test_what_must_last_is_counted_anew_by_a_clock_that_stepped_back(
    given: Incident, known: Facts
) -> None:
    (note,) = next_steps(given, known, NOW).steps

    assert isinstance(note, Note)
    assert list(note.fields.values()) == [NOW]


def test_a_half_way_failure_counts_whatever_the_clock_that_stamped_it() -> None:
    """The engine's clock was an hour ahead of Nova's: its own evacuation looks like an old one."""
    failed = Migration("m1", "id-a", "h1", "h2", "failed", NOW)
    broken = server("a", vm_state="error")
    record = replace(VM, status=VmStatus.REQUESTED, attempts=1, not_before=NOW + HOUR)

    (reset,) = _steps(
        facts(servers=(broken,), migrations=(failed,)), record, fencing_since=NOW + HOUR
    )
    assert isinstance(reset, ResetState)
    assert reset.record == replace(record, may_run_on="h2")
    found = _steps(
        facts(servers=(server("a"),), migrations=(failed,)), reset.record, fencing_since=NOW + HOUR
    )
    assert found == (Evacuate(reset.record, "h2"),)
