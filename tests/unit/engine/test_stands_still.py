# SPDX-License-Identifier: Apache-2.0
"""An engine that stands still between writing a step down and doing it looks again first.

It may have been stopped, swapped out or moved, and another one leads since: what it had read is
worth nothing, and its epoch, which was good when the step was written down, may be over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.engine.sim import Sim


@pytest.fixture
def sim() -> Sim:
    sim = Sim()
    sim.world.nova.boot("a", "h1")
    sim.run(2)
    return sim


def _stand_still(sim: Sim, name: str, step: str, meanwhile: Callable[[], None]) -> None:
    """Let a minute pass after the first `step` has been written down by the store's `name`."""
    write_down = getattr(sim.store, name)
    due = [True]

    def slow(incident: Any, what: str, *rest: Any, **options: Any) -> Any:
        written = write_down(incident, what, *rest, **options)
        if what == step and due:
            due.clear()
            meanwhile()
            sim.world.pass_time(60)
        return written

    setattr(sim.store, name, slow)


def test_a_host_that_has_healed_meanwhile_is_not_switched_off(sim: Sim) -> None:
    _stand_still(sim, "begin_step", "fence", lambda: sim.world.heal("h1"))
    sim.world.cut_off("h1")
    sim.run(60)

    assert sim.world.noted("fence") == []
    assert sim.world.runs_on("id-a") == ["h1"]
    assert any("stood still for 60 s" in step.sentence for step in sim.incident("h1").steps)


def test_nothing_is_evacuated_before_the_host_has_been_looked_at_again(sim: Sim) -> None:
    def returns() -> None:
        sim.world.power_on("h1")
        sim.world.run_guest("id-a", "h1")  # somebody starts it there

    _stand_still(sim, "begin_steps", "evacuate", returns)
    sim.world.power_off("h1")
    sim.run(120)

    assert sim.world.noted("evacuate") == []
    assert sim.world.runs_on("id-a") == ["h1"]


@pytest.mark.parametrize("between", ["looking and planning", "planning and doing"])
def test_a_plan_is_not_carried_out_long_after_the_look_on_which_it_rests(
    sim: Sim, between: str
) -> None:
    crew, due = sim.engine.crew, [True]
    look, tell = crew.observer.facts, crew._tell

    def pause() -> None:
        if due and sim.world.noted("fence"):
            due.clear()
            sim.world.power_on("h1")
            sim.world.run_guest("id-a", "h1")
            sim.world.pass_time(60)

    def slow_look(incident: Any) -> Any:
        facts = look(incident)
        if between == "looking and planning":
            pause()
        return facts

    def slow_tell(*said: Any) -> None:
        tell(*said)
        if between == "planning and doing":
            pause()

    crew.observer.facts = slow_look  # type: ignore[method-assign]
    crew._tell = slow_tell  # type: ignore[method-assign, assignment]
    sim.world.power_off("h1")
    sim.run(120)

    assert sim.world.noted("evacuate") == []
    assert sim.world.runs_on("id-a") == ["h1"]


def test_services_that_are_slow_every_time_stop_nothing(sim: Sim) -> None:
    look = sim.engine.crew.observer.facts

    def slow_look(incident: Any) -> Any:
        facts = look(incident)
        sim.world.pass_time(40)
        return facts

    sim.engine.crew.observer.facts = slow_look  # type: ignore[method-assign]
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.world.runs_on("id-a") not in ([], ["h1"]), 900)


def test_a_service_is_not_forced_down_after_a_pause(sim: Sim) -> None:
    _stand_still(sim, "begin_step", "force-down", lambda: sim.world.power_on("h1"))
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") in ("held", "readmitted", "recovered"))

    assert sim.world.noted("force-down") == []


def test_what_was_only_put_off_is_done_by_the_next_plan(sim: Sim) -> None:
    _stand_still(sim, "begin_steps", "evacuate", lambda: None)
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")

    assert sim.world.noted("evacuate") == ["a"]
