# SPDX-License-Identifier: Apache-2.0
"""A dead aodh-evaluator behind a live API: told once, cleared by itself, never by mistake."""

from __future__ import annotations

import pytest

from tests.unit.engine.sim import Sim
from vmha_remediator.errors import TelemetryUnavailable

NAME = "*aodh-evaluator"


def _stop(sim: Sim) -> None:
    """Let the evaluator end: times stand still, and no alarm changes any more."""
    sim.world.telemetry.evaluation = sim.world.clock.time
    sim.world.telemetry.mute = True


def _start(sim: Sim) -> None:
    sim.world.telemetry.evaluation, sim.world.telemetry.mute = None, False


def test_while_alarms_are_evaluated_nothing_is_told() -> None:
    sim = Sim()
    sim.run(600)
    assert sim.reports.told() == []


def test_it_is_told_once_with_advice_and_cleared_by_the_next_evaluation() -> None:
    sim = Sim()
    sim.run(60)
    _stop(sim)
    sim.run(80)
    assert sim.reports.told() == []
    sim.run(300)
    assert sim.reports.told() == [f"{NAME}:reported"]
    incident = sim.incident(NAME)
    assert (incident.rule, incident.action) == ("evaluator-silent", "report")
    assert "Start aodh-evaluator" in incident.evidence

    _start(sim)
    sim.run(40)
    assert sim.reports.told() == [f"{NAME}:reported", f"{NAME}:cleared"]


def test_an_engine_that_starts_later_tells_when_an_alarm_contradicts_the_measures() -> None:
    """It has never seen an evaluation, as with evaluators that share their work."""
    sim = Sim()
    _stop(sim)
    sim.run(300)
    assert sim.reports.told() == []
    sim.world.hosts["h1"].agent = False
    sim.run(130)
    assert sim.reports.told() == [f"{NAME}:reported"]
    said = sim.incident(NAME).evidence
    assert "the measures have said agent-down of h1 for" in said
    assert "alarm is 'ok'" in said

    _start(sim)
    sim.run(60)
    assert sim.reports.told()[:2] == [f"{NAME}:reported", "h1:reported"]
    assert f"{NAME}:cleared" in sim.reports.told()


@pytest.mark.parametrize("state", [None, "alarm"])
def test_a_host_without_an_alarm_tells_nothing_of_the_evaluator(state: str | None) -> None:
    sim = Sim()
    _stop(sim)
    sim.world.telemetry.otherwise = state
    sim.world.hosts["h1"].agent = False
    sim.run(300)
    assert sim.reports.told() == []


def test_while_aodh_is_away_its_evaluator_is_not_blamed() -> None:
    sim = Sim()
    sim.run(60)
    sim.world.telemetry.aodh_down = True
    sim.run(300)
    sim.world.telemetry.aodh_down = False
    sim.run(60)
    assert sim.reports.told() == ["*aodh:reported", "*aodh:cleared"]


def test_evaluations_that_cannot_be_looked_at_blame_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sim = Sim()
    sim.run(60)

    def refused() -> dict[str, str]:
        raise TelemetryUnavailable("no")

    monkeypatch.setattr(sim.world.telemetry, "evaluated", refused)
    sim.run(300)
    assert sim.reports.told() == []


def test_without_alarms_there_is_nothing_to_evaluate(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Sim()
    sim.run(60)
    monkeypatch.setattr(sim.world.telemetry, "evaluated", dict)
    sim.run(300)
    assert sim.reports.told() == []


def test_it_can_be_switched_off() -> None:
    sim = Sim()
    sim.engine.lookout.evaluator.after = 0.0
    sim.run(60)
    _stop(sim)
    sim.run(300)
    assert sim.reports.told() == []
