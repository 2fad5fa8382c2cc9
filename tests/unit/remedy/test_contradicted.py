# SPDX-License-Identifier: Apache-2.0
"""A driver that says off while the host lives: the proof is void and the sentence says why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmha_remediator.remedy import pieces, proof
from vmha_remediator.remedy.facts import Facts
from vmha_remediator.remedy.incident import Incident, ProofRecord
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.steps import Hold

PROOF = ProofRecord("redfish", "power is off", "power read off 2 times", 100.0)
INCIDENT = Incident(
    id=7,
    host="h1",
    rule="failure",
    action="recover",
    severity="critical",
    state=S.FENCED,
    evidence="",
    reason="",
    advice="",
    opened=90.0,
    updated=100.0,
    epoch=1,
    version=1,
    proof=PROOF,
    heard_since=105.0,
)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (Facts("h1", lease_age=1.25, heartbeat_age=0.5), "its lease was renewed 1.2 s ago"),
        (Facts("h1", lease_age=60.0, heartbeat_age=0.5), "it was heard 0.5 s ago"),
    ],
)
def test_the_driver_and_the_sign_of_life_are_named_and_the_proof_is_gone(
    facts: Facts, says: str
) -> None:
    plan = proof.contradicted(INCIDENT, replace(facts, power="off"), 117.0)

    (hold,) = plan.steps
    assert isinstance(hold, Hold)
    assert hold.by == pieces.STILL_ALIVE and hold.fields == {"proof": None}
    assert hold.reason.startswith("redfish proved h1 off (power read off 2 times), yet ")
    assert says in hold.reason
    assert "heard since 12 s; power: off; the proof is void" in hold.reason
    assert "vmha-manage fence test h1" in hold.advice
    assert "vmha-manage incident release 7" in hold.advice
