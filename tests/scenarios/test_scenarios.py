# SPDX-License-Identifier: Apache-2.0
"""Every scenario ends as it must, and its story reads as it is written down."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.scenarios.sim import script
from tests.scenarios.sim.many import spread

#: Everything that can go wrong, by number; see the table in README.rst.
FAULTS = frozenset(range(1, 53))


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[dict[str, script.Outcome]]:
    """The outcomes of all scenarios that this run asks for, played on all cores."""
    wanted = sorted(
        item.callspec.params["name"]  # type: ignore[attr-defined]
        for item in request.session.items
        if getattr(item, "originalname", "") == test_scenario.__name__
    )
    yield dict(zip(wanted, spread(script.play, wanted), strict=True))


@pytest.mark.parametrize("name", script.names())
def test_scenario(name: str, outcomes: dict[str, script.Outcome]) -> None:
    outcome, reason = outcomes[name], script.load(name).xfail
    if reason:
        assert outcome.problems, f"it works now: take xfail out of {name}/script.yaml"
        pytest.xfail(reason)
    assert not outcome.problems, f"{'; '.join(outcome.problems)}\n{outcome.log}"
    assert not script.difference(name, outcome.log), script.difference(name, outcome.log)


@pytest.mark.parametrize("name", script.names())
def test_a_scenario_is_complete(name: str) -> None:
    folder = script.ROOT / name
    # What is known to end wrong has no log that it should end like.
    files = set(script.FILES) - ({"log.expect"} if script.load(name).xfail else set())
    assert files == {path.name for path in folder.iterdir()}
    readme = (folder / "README").read_text(encoding="utf-8").strip().splitlines()
    assert 2 <= len(readme) <= 8


def faults_told() -> dict[int, set[str]]:
    """Return the numbers that the READMEs name as "(fault N)", each with its scenarios."""
    told: dict[int, set[str]] = {}
    for name in script.names():
        text = (script.ROOT / name / "README").read_text(encoding="utf-8")
        for number in re.findall(r"\(fault (\d+)\)", text):
            told.setdefault(int(number), set()).add(name)
    return told


def faults_listed() -> dict[int, set[str]]:
    """Return the table "number  scenario ..." in README.rst."""
    text = (script.ROOT / "README.rst").read_text(encoding="utf-8")
    rows = re.findall(r"^ {3}(\d+) {2,}(\S.*)$", text, re.MULTILINE)
    return {int(number): set(names.split()) for number, names in rows}


def test_every_fault_has_a_scenario_that_is_not_known_to_end_wrong() -> None:
    told = faults_told()
    assert set(told) >= FAULTS
    for number in FAULTS:
        assert any(not script.load(name).xfail for name in told[number]), number


def test_the_table_of_faults_is_what_the_readmes_say() -> None:
    assert faults_listed() == faults_told()
