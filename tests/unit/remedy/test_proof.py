# SPDX-License-Identifier: Apache-2.0
"""The one law, for everything that can be known of a host at once."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from tests.unit.remedy.build import NOW, facts, incident, no_measures, service
from vmha_remediator.remedy import proof
from vmha_remediator.remedy.facts import Facts
from vmha_remediator.remedy.incident import POWER_OFF, Incident, ProofRecord, StepRecord
from vmha_remediator.remedy.policy import Policy

POLICY = Policy()
YOUNG = ProofRecord("redfish", POWER_OFF, "power reads off", NOW - POLICY.proof_age)
PROOFS = {
    "none": None,
    "of something else": replace(YOUNG, proves="it was asked to"),
    "young": YOUNG,
    "old": replace(YOUNG, time=YOUNG.time - 0.1),
    "from the future": replace(YOUNG, time=NOW + 0.1),
}
MEASURES = {
    "failure": facts(),
    "well, but not heard": replace(facts(None), heartbeat_age=None, lease_age=None),
    "none": no_measures(),
    "failure, yet its lease is renewed": replace(facts(), lease_age=7.9),
    "failure, yet it is heard": replace(facts(), heartbeat_age=4.9),
}


def _lives_or_may(given: Incident, known: Facts, kind: str, measures: str) -> bool:
    """Tell, from scratch, whether it may run there for all that is known."""
    if kind in ("none", "of something else"):
        return True
    if "yet" in measures or known.power == "on":
        return True
    if known.power == "off":
        return False  # read just now: whatever was before
    if given.heard_since is not None or given.powered_since is not None:
        return True
    return kind != "young" and measures != "failure"


@pytest.mark.parametrize("kind", PROOFS)
@pytest.mark.parametrize("measures", MEASURES)
def test_nothing_is_started_while_it_may_run_there(kind: str, measures: str) -> None:
    for power, heard, powered in itertools.product(
        (None, "unknown", "off", "on"), (None, NOW - 9), (None, NOW - 9)
    ):
        given = incident(
            "evacuating", proof=PROOFS[kind], heard_since=heard, powered_since=powered
        )
        known = replace(MEASURES[measures], power=power)
        why = proof.may_not_start(given, known, NOW, POLICY)
        case = f"power {power}, heard since {heard}, powered since {powered}"
        assert bool(why) is _lives_or_may(given, known, kind, measures), f"{case}: {why!r}"


@pytest.mark.parametrize(
    ("reported", "said"),
    [
        (NOW - 61.0, ""),  # before it was proven off
        (NOW - 57.0, ""),  # clocks differ by a little
        (NOW - 30.0, ""),  # and has fallen silent since
        (NOW - 20.0, "its nova-compute has reported since the host was proven off"),
        (NOW + 20.0, ""),  # a clock that cannot be compared with ours
        (None, ""),
    ],
)
def test_a_host_whose_nova_compute_reports_after_an_old_proof_has_booted(
    reported: float | None, said: str
) -> None:
    """Its watchdog has reset it; RabbitMQ's network works, and its guests may be resumed."""
    given = incident("evacuating", proof=replace(YOUNG, driver="watchdog", time=NOW - 60))
    known = replace(facts(service=service(updated_at=reported)), power="unknown")
    assert proof.may_not_start(given, known, NOW, POLICY) == said
    assert proof.may_not_start(given, replace(known, power="off"), NOW, POLICY) == ""


def test_our_own_write_to_its_service_is_no_report() -> None:
    journal = (StepRecord(NOW - 21, "force-down", "", ok=True, finished=NOW - 20.5),)
    given = incident("evacuating", proof=replace(YOUNG, time=NOW - 60), steps=journal)
    known = replace(facts(service=service(updated_at=NOW - 20)), power="unknown")
    assert proof.may_not_start(given, known, NOW, POLICY) == ""
