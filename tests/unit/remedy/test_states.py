# SPDX-License-Identifier: Apache-2.0
"""The state table: what may follow what, and that nothing else may."""

from __future__ import annotations

import itertools

import pytest

from vmha_remediator.errors import IllegalTransition
from vmha_remediator.fencing.contract import Proof
from vmha_remediator.remedy.incident import POWER_OFF
from vmha_remediator.remedy.states import FINAL, FIRST, TRANSITIONS, IncidentState, check

S = IncidentState
HAPPY = [S.DETECTED, S.CONFIRMED, S.FENCING, S.FENCED, S.EVACUATING, S.RECOVERED, S.READMITTED]


def test_a_failure_goes_all_the_way() -> None:
    for before, after in itertools.pairwise(HAPPY):
        check(before, after)


def test_a_report_begins_and_ends() -> None:
    check(FIRST["report"], S.CLEARED)
    assert TRANSITIONS[S.REPORTED] == {S.CLEARED}


@pytest.mark.parametrize("state", [S.FENCING, S.FENCED, S.EVACUATING])
def test_once_fencing_has_begun_nothing_is_cleared(state: IncidentState) -> None:
    with pytest.raises(IllegalTransition, match="cannot become cleared"):
        check(state, S.CLEARED)


def test_nothing_is_evacuated_that_was_not_fenced() -> None:
    before = {state for state, following in TRANSITIONS.items() if S.EVACUATING in following}
    assert before == {S.FENCED, S.HELD}


def test_every_state_that_does_something_can_be_held() -> None:
    able = {state for state, following in TRANSITIONS.items() if S.HELD in following}
    assert able == set(HAPPY) - {S.READMITTED}


@pytest.mark.parametrize("state", sorted(FINAL))
def test_what_is_over_stays_over(state: IncidentState) -> None:
    for after in S:
        with pytest.raises(IllegalTransition, match="it is over"):
            check(state, after)


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(S)
    assert {S.CLEARED, S.READMITTED} == FINAL


def test_the_proof_that_plans_ask_for_is_the_one_that_drivers_give() -> None:
    assert Proof.POWER_OFF.value == POWER_OFF
