# SPDX-License-Identifier: Apache-2.0
"""The engine is killed before and after everything it does, and the story ends the same.

A part of the scenarios; `python -m tests.scenarios crash --all` plays the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.sim import crash, endings, reaper, script
from tests.scenarios.sim.many import spread
from tests.scenarios.sim.reaper import Trial
from vmha_remediator.store.people import People


@pytest.fixture(scope="module")
def fates() -> Iterator[dict[str, crash.Fate]]:
    """What came of each scenario, played on all cores."""
    yield {fate.trial.name: fate for fate in spread(crash.run, crash.everyday())}


@pytest.mark.parametrize("name", crash.EVERY_DAY)
def test_an_engine_killed_anywhere_ends_the_story_the_same(
    name: str, fates: dict[str, crash.Fate]
) -> None:
    fate = fates[name]
    assert len(fate.deaths) > 10  # or it has gone blind
    wrong = [f"{d.number} {d.place}: {d.problem}" for d in fate.bad]
    assert not wrong, "\n".join(wrong) + f"\n{fate.bad[0].log}"


def test_a_report_that_is_lost_with_its_engine_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def claim_for_good(self: People, change_id: int, *, epoch: int) -> bool:
        self.mark_told(change_id)
        return True

    monkeypatch.setattr(People, "mark_reported", claim_for_good)
    fate = crash.run(Trial("aodh-down", brief=True, where="after store mark_told", width=2))
    assert any("nobody was told" in death.problem for death in fate.bad)


def test_what_is_named_is_a_scenario() -> None:
    assert {*crash.EVERY_DAY} <= {*crash.playable()}


def test_every_call_that_changes_nova_is_a_place_to_die_at() -> None:
    assert {"evacuate", "force_down", "reset_state"} <= {*reaper.TO_NOVA}


@pytest.mark.parametrize("name", [name for name in script.names() if script.load(name).if_killed])
def test_another_end_is_declared_with_its_reason_and_differs(name: str) -> None:
    scenario = script.load(name)
    for other in scenario.if_killed:
        assert other.why
        assert other.expect.keys() <= {*endings.COMPARED, *script.OTHERS}
        assert any(scenario.expect.get(key) != value for key, value in other.expect.items())
