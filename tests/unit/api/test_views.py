# SPDX-License-Identifier: Apache-2.0
"""What is said of a host of which the rules say nothing."""

from __future__ import annotations

from tests.unit.api.cloud import DEAD, WELL, sight
from vmha_remediator.api import views
from vmha_remediator.remedy.look import Look
from vmha_remediator.rules import metrics


def test_a_dead_host_with_one_witness_is_not_called_well() -> None:
    found = sight("h2", {**DEAD, metrics.WITNESSES.name: 1})
    look = Look(sights={"h2": found}, services={}, trouble=(), time=0.0)

    assert found.standing is None
    assert views.state_of(found) == views.UNKNOWN
    said = views.says("h2", found, look)
    assert said.startswith("No verdict, and nothing shows that it lives: failure does not hold")
    assert "vmha.host.witnesses is 1 (>= 2 does not hold)" in said


def test_a_host_that_is_heard_is_well_whoever_hears_it() -> None:
    assert views.state_of(sight("h1", {**WELL, metrics.WITNESSES.name: 1})) == views.WELL
