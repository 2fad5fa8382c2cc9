# SPDX-License-Identifier: Apache-2.0
"""Every scenario ends as it must, and its story reads as it is written down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import FAULTS, Fault, played
from tests.scenarios.sim import script
from tests.scenarios.sim.many import spread


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


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.number))
def test_every_fault_has_a_scenario_that_ends_as_the_list_says(fault: Fault) -> None:
    sound = [scene for name in played()[fault.number] if not (scene := script.load(name)).xfail]
    incidents = [scene.expect.get("incidents", []) for scene in sound]
    rules = {incident.split()[1] for found in incidents for incident in found}
    assert sound and set(fault.verdicts) <= rules
    assert fault.verdicts or not all(incidents), "something comes of it in every scenario"


def test_no_scenario_names_a_fault_that_is_not_in_the_list() -> None:
    assert set(played()) <= {fault.number for fault in FAULTS}
