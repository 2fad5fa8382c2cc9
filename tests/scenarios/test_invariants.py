# SPDX-License-Identifier: Apache-2.0
"""Every invariant can fail: a product with a mistake planted in it is caught by the right one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.scenarios.sim.faults import act
from tests.scenarios.sim.invariants import Violation
from tests.scenarios.sim.world import Cluster, World
from vmha_remediator.engine.crew import Crew
from vmha_remediator.engine.executor import Executor
from vmha_remediator.remedy import guards, proof, recovery, vm_leave, vms
from vmha_remediator.remedy.incident import POWER_OFF, Incident, ProofRecord
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.steps import Evacuate, Move, Plan
from vmha_remediator.rules import judge
from vmha_remediator.rules.judge import State

CLUSTER = Cluster(vms={"h1": ["a", "b"], "h2": ["c"]})


@pytest.fixture
def world() -> Iterator[World]:
    world = World(CLUSTER)
    with world.running():
        yield world


def play(world: World, *steps: str, until: float = 45.0) -> str:
    """Play a script and return what was violated, empty when nothing was."""
    for step in steps:
        when, line = step.split(maxsplit=1)
        world.clockwork.at(float(when), partial(act, world, line))
    try:
        world.run_until(until)
        world.invariants.at_the_end()
    except Violation as exc:
        return str(exc)
    return ""


def test_the_product_as_it_is_violates_nothing(world: World) -> None:
    assert play(world, "20 power-off h1") == ""
    assert sorted(world.invariants.evacuations) == ["a", "b"]


def test_evacuating_without_a_stored_proof(world: World, monkeypatch: Any) -> None:
    def at_once(incident: Incident, *_: object) -> Plan:
        return Plan((Move(S.FENCING, "is as good as off"),), "no fence")

    def believed(incident: Incident, *_: object) -> Plan:
        return Plan((Move(S.FENCED, "is as good as off"),), "no fence")

    planners = dict(_planners())
    monkeypatch.setitem(_planners(), S.CONFIRMED, at_once)
    monkeypatch.setitem(_planners(), S.FENCING, believed)
    monkeypatch.setattr(Incident, "proven_off", property(lambda self: True))
    monkeypatch.setattr(proof, "may_not_start", lambda *_: "")
    monkeypatch.setattr(proof, "wants_power", lambda *_: False)
    monkeypatch.setattr(proof, "proof_is_void", lambda *_: False)
    assert planners[S.FENCED] is recovery.fenced
    assert play(world, "20 power-off h1").startswith("proof first: ")


def test_evacuating_elsewhere_what_was_half_begun(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(vm_leave, "_once_more", lambda case, *_: Evacuate(case.vm))
    told = play(world, "19 spoil-vm a", "20 power-off h1", until=70.0)
    assert told.startswith("at most once: ") and "half begun on" in told


def test_believing_a_controller_that_was_not_asked(world: World, monkeypatch: Any) -> None:
    def pretend(self: Executor, incident: Incident, step: object, epoch: int) -> Incident:
        made_up = ProofRecord("none", POWER_OFF, "surely off", self.clock.now())
        return self.store.move(incident, S.FENCED, "surely off", epoch=epoch, proof=made_up)

    _replace_handler(monkeypatch, "Fence", pretend)
    found = play(world, "20 cut h1", "20 storage stalls h1")
    assert found.startswith("proof first: ")


def test_starting_a_vm_where_it_already_runs(world: World) -> None:
    with pytest.raises(Violation, match="single writer"):
        world.guest_starts("a", world.hosts["h2"])


def test_two_copies_that_came_about_unseen(world: World) -> None:
    world.hosts["h2"].guests.add("a")
    assert play(world).startswith("single writer: ")


def test_a_controller_that_lies_about_a_host_that_is_cut_off(world: World) -> None:
    steps = ("19 bmc lies h1", "20 cut h1", "20 storage stalls h1")
    assert play(world, *steps).startswith("proof first: ")


def test_fencing_what_is_only_isolated(world: World) -> None:
    world.rules = tuple(
        replace(t, action="recover") if t.name == "isolation" else t for t in world.rules
    )
    found = play(world, "20 cut h4")
    assert found.startswith("only failures: ")


def test_switching_off_a_host_whose_agent_alone_is_dead(world: World) -> None:
    beat = {"and": [leaf for leaf in _failure(world) if "heartbeat" in leaf["metric"]]}
    world.rules = tuple(replace(t, rule=beat) for t in world.rules if t.name == "failure")
    found = play(world, "20 kill agent h1")
    assert found.startswith("no kill: ")


def test_fencing_more_hosts_than_the_limit(monkeypatch: Any) -> None:
    monkeypatch.setattr(guards, "GUARDS", {})
    world = World(replace(CLUSTER, hosts=("h1", "h2", "h3", "h4", "h5")))
    with world.running():
        found = play(world, "20 power-off h1 h2 h3")
    assert found.startswith("storm: ")


def test_evacuating_a_vm_twice(world: World) -> None:
    world.invariants.evacuated("a", "h1", "h2")
    with pytest.raises(Violation, match="at most once"):
        world.invariants.evacuated("a", "h1", "h3")


def test_a_verdict_on_a_host_without_measures(world: World, monkeypatch: Any) -> None:
    def jump(verdicts: Any) -> Any:
        return replace(next(v for v in verdicts if v.rule == "failure"), state=State.ALARM)

    monkeypatch.setattr(judge, "standing", jump)
    found = play(world, "12 silence h4", "52 ring failure h4", until=60.0)
    assert found.startswith("no verdict from silence: ")


def test_telling_a_change_twice(world: World, monkeypatch: Any) -> None:
    for name in ("mark_reported", "mark_told"):
        monkeypatch.setattr(world.control.store, name, lambda *_, **__: True)
    assert play(world, "20 kill agent h1").startswith("one report: ")


def test_telling_nobody(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(Crew, "report", lambda *_: None)
    assert "nobody was told" in play(world, "20 kill agent h1")


def test_forgetting_the_vms_of_a_failed_host(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(vms, "journal", lambda *_: ())
    assert play(world, "20 power-off h1").startswith("liveness: ")


def test_a_cycle_that_fails(world: World, monkeypatch: Any) -> None:
    def fail(*_: object) -> Plan:
        raise KeyError("h1")

    monkeypatch.setitem(_planners(), S.DETECTED, fail)
    assert play(world, "20 power-off h1").startswith("no failed cycle: ")


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ("20 power-off h1", "h1 has no agent"),
        ("20 storage stalls h1", "is not qualified"),
        ("20 force-down h2", "still forced down"),
    ],
)
def test_a_cloud_that_is_not_healed(world: World, step: str, what: str) -> None:
    assert play(world, step) == ""
    with pytest.raises(Violation, match=f"healed: .*{what}"):
        world.invariants.healed()


def test_a_host_that_is_never_taken_back(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(recovery, "readmit", lambda *_: Plan((), "not today"))
    assert play(world, "20 power-off h1", "60 power-on h1", until=120) == ""
    with pytest.raises(Violation, match=r"healed: .*incident 1 of h1 is open"):
        world.invariants.healed()


def _planners() -> Any:
    from vmha_remediator.remedy import plan

    return plan._PLANNERS


def _replace_handler(monkeypatch: Any, step: str, handler: Any) -> None:
    from vmha_remediator.engine import executor

    kind = next(k for k in executor._HANDLERS if k.__name__ == step)
    monkeypatch.setitem(executor._HANDLERS, kind, handler)


def _failure(world: World) -> list[dict[str, Any]]:
    template = next(t for t in world.rules if t.name == "failure")
    return list(template.rule["and"])
