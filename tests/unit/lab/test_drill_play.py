# SPDX-License-Identifier: Apache-2.0
"""The driver: whatever happens a fault is undone, and every obstacle is part of the result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab import layout
from tests.lab.drill import play
from tests.lab.drill.ground import Ground
from tests.lab.drill.outcome import nothing, told
from tests.lab.drill.play import Player
from tests.lab.drill.table import Fault
from tests.lab.errors import LabError
from tests.lab.snapshot import HostView, IncidentView, Snapshot, VmView

HOSTS = tuple(HostView(h, "on", {}, {"failure": "ok"}, "up") for h in layout.HOSTS)
VMS = tuple(VmView(h, h, True, h, "ACTIVE", None, (h,), 0.1, h) for h in layout.HOSTS)
WELL = Snapshot(0.0, HOSTS, VMS)


@dataclass
class FakeObserver:
    """A cloud in which `told` has been reported."""

    told: list[IncidentView] = field(default_factory=list)
    since: float = 0.0

    def look(self) -> Snapshot:
        return replace(WELL, incidents=tuple(self.told))

    begin = look

    def incidents(self) -> tuple[IncidentView, ...]:
        return tuple(self.told)


class FakeRules:
    def verdict(self, host: str, values: Any) -> tuple[str, str]:
        return ("well", "every rule is ok")


@pytest.fixture
def observer(lab: Path, monkeypatch: pytest.MonkeyPatch) -> FakeObserver:
    monkeypatch.setattr(layout, "EVENTS", lab / "events.jsonl")
    monkeypatch.setattr(play, "calm", lambda observer, closed: observer.look())
    monkeypatch.setattr(play, "violations", list)
    monkeypatch.setattr(play, "STEADY", 0.0)
    monkeypatch.setattr(play, "BACK", 0.0)
    return FakeObserver()


@pytest.fixture
def player(observer: FakeObserver) -> Player:
    return Player(observer, FakeRules(), strict=False)  # type: ignore[arg-type]


def fault(done: list[str], expected: Any = None, **more: Any) -> Fault:
    def note(what: str) -> Any:
        return lambda ground: done.append(f"{what} {ground.victim}")

    made = Fault(
        99, "rain", "it rains", note("do"), note("undo"), expected or nothing(), "-", outlast=0.0
    )
    return replace(made, within=0.0, **more)


def test_a_fault_is_done_and_undone_on_one_host_and_the_next_on_another(player: Player) -> None:
    done: list[str] = []
    assert player.play(fault(done)).right
    assert player.play(fault(done)).right
    assert done == ["do h1", "undo h1", "do h2", "undo h2"]


def test_a_host_that_an_incident_is_open_of_is_left_alone(
    player: Player, observer: FakeObserver
) -> None:
    observer.told = [IncidentView("1", "h1", "isolation", "reported")]
    done: list[str] = []
    player.play(fault(done))
    assert done == ["do h2", "undo h2"]


def test_what_had_to_come_and_came_is_timed(player: Player, observer: FakeObserver) -> None:
    def report(ground: Ground) -> None:
        observer.told = [IncidentView("1", ground.victim, "isolation", "reported")]

    played = player.play(fault([], told("isolation"), do=report))
    assert played.right
    assert played.after is not None
    assert played.incidents == ("h1 isolation reported",)


def test_what_did_not_come_is_a_problem_and_the_fault_is_undone(player: Player) -> None:
    done: list[str] = []
    played = player.play(fault(done, told("isolation")))
    assert "missed: no isolation" in played.problems
    assert done == ["do h1", "undo h1"]


def test_a_fault_that_cannot_be_done_is_undone_and_told(player: Player) -> None:
    def refuse(ground: Ground) -> None:
        raise LabError("no cable to cut")

    done: list[str] = []
    assert player.play(fault(done, do=refuse)).problems == ("no cable to cut",)
    assert done == ["undo h1"]


def test_a_fault_that_cannot_be_undone_is_told_and_the_soak_goes_on(player: Player) -> None:
    def stuck(ground: Ground) -> None:
        raise LabError("the cable is stuck")

    assert player.play(fault([], undo=stuck)).problems == ("the cable is stuck",)
    assert player.play(fault([])).right


def test_a_violation_is_told_once(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "violations", lambda: ["a runs twice"])
    assert player.play(fault([])).problems == ("invariant: a runs twice",)
    assert player.play(fault([])).right


def test_a_lab_that_does_not_calm_down_is_told(
    player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    def restless(observer: Any, closed: Any) -> Snapshot:
        raise LabError("waited in vain")

    monkeypatch.setattr(play, "calm", restless)
    played = player.play(fault([]))
    assert played.problems == ("the lab was not calm: waited in vain",)
    assert played.victim == "-"
