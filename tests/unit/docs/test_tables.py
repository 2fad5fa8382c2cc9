# SPDX-License-Identifier: Apache-2.0
"""Tables that say what code says, say it as it is now."""

from __future__ import annotations

import pytest

from tests.faults import FAULTS, GROUPS
from tests.lab.drill.table import FAULTS as LAB
from tests.lab.drill.table import Fault as Drill
from tests.unit.docs import tables
from vmha_remediator.remedy.states import IncidentState


@pytest.mark.parametrize("page", sorted({page for page, _ in tables.TABLES}))
def test_a_page_shows_what_is_so_now(page: str) -> None:
    stale = (tables.DOC / page).read_text(encoding="utf-8") != tables.fresh(page)
    assert not stale, "run: python -m tests.unit.docs.tables"


def test_every_state_is_explained() -> None:
    assert set(tables.MEANING) == set(IncidentState)


def test_faults_are_numbered_without_a_gap() -> None:
    assert [fault.number for fault in FAULTS] == list(range(1, len(FAULTS) + 1))
    assert min(GROUPS) == 1


@pytest.mark.parametrize("drill", LAB, ids=lambda drill: drill.name)
def test_the_lab_expects_no_other_verdict_than_the_list(drill: Drill) -> None:
    (listed,) = [fault for fault in FAULTS if fault.number == drill.number]
    assert drill.expected.rule is None or drill.expected.rule in listed.verdicts


def test_the_readme_counts_the_faults_of_the_soak() -> None:
    readme = (tables.DOC.parents[1] / "README.rst").read_text(encoding="utf-8")
    assert f"make soak     # {len(LAB)} faults on that cloud" in readme
