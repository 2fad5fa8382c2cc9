# SPDX-License-Identifier: Apache-2.0
"""What the show draws and says, from snapshots made by hand."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.lab.snapshot import HostView, IncidentView, Snapshot, VmView
from tests.lab.view import Stage, screen, sentences
from tests.lab.watch import all_well, incident_state, run_elsewhere, runs_well, verdict

WELL = {"vmha.host.heartbeat.age": 0.4, "vmha.host.lease.age": 1.0, "vmha.host.reachable": 1.0}


def host(name: str, nova: str = "up", **alarms: str) -> HostView:
    return HostView(name, "on", WELL, alarms or {"failure": "ok"}, nova)


def vm(
    name: str, on: str, status: str = "ACTIVE", running: tuple[str, ...] | None = None
) -> VmView:
    places = (on,) if running is None else running
    return VmView(name, name, True, on, status, None, places, 0.1, on)


def shot(
    *hosts: HostView, vms: tuple[VmView, ...] = (), incidents: tuple[IncidentView, ...] = ()
) -> Snapshot:
    return Snapshot(0.0, hosts, vms, incidents)


@pytest.mark.parametrize(
    ("expected", "alarms"),
    [
        ("well", {"failure": "ok", "isolation": "ok"}),
        ("failure", {"failure": "alarm", "isolation": "ok"}),
        ("agent-down, failure", {"agent-down": "alarm", "failure": "alarm"}),
        ("no verdict", {"failure": "insufficient data", "isolation": "ok"}),
        ("no verdict", {}),
    ],
)
def test_a_verdict_is_what_aodh_says(expected: str, alarms: dict[str, str]) -> None:
    assert HostView("h1", "on", {}, alarms, "up").verdict == expected


def test_only_what_changed_is_said() -> None:
    before = shot(host("h1"), vms=(vm("a", "h1"),))
    after = shot(host("h1"), vms=(vm("a", "h2"),))
    assert sentences(before, before) == []
    assert sentences(before, after) == ["VM a: ACTIVE on h2, really runs on h2"]


def test_an_incident_says_its_state_and_its_new_steps() -> None:
    first = IncidentView("1", "h1", "failure", "fencing")
    later = IncidentView("1", "h1", "failure", "fenced", ((0.0, "fence", "power is off"),))
    said = sentences(shot(incidents=(first,)), shot(incidents=(later,)))
    assert said[0] == "incident h1 failure: fenced"
    assert said[1].endswith("power is off")
    assert len(said) == 2


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        (True, vm("a", "h1")),
        (False, vm("a", "h1", status="SHUTOFF")),
        (False, vm("a", "h1", running=())),
        (False, vm("a", "h1", running=("h1", "h2"))),
        (False, vm("a", "h1", running=("h2",))),
    ],
)
def test_a_vm_runs_well_only_once_and_where_nova_says(expected: bool, seen: VmView) -> None:
    assert runs_well(seen) is expected


def test_conditions_are_about_the_latest_incident_and_every_vm() -> None:
    old = IncidentView("1", "h1", "failure", "readmitted")
    new = IncidentView("2", "h1", "failure", "fenced")
    seen = shot(
        host("h1", failure="alarm"), host("h2"), vms=(vm("a", "h2"),), incidents=(old, new)
    )
    assert not incident_state("h1", "failure", "readmitted")(seen)
    assert incident_state("h1", "failure", "fenced")(seen)
    assert run_elsewhere(["a"], "h1")(seen)
    assert not run_elsewhere(["a"], "h2")(seen)
    assert not run_elsewhere(["a", "gone"], "h1")(seen)
    assert verdict("h1", "failure")(seen)
    assert not all_well(seen)
    assert all_well(shot(host("h1"), host("h2")))
    assert not all_well(shot(host("h1"), host("h2", nova="down")))


def test_the_screen_names_every_host_vm_and_step_and_what_it_cannot_see() -> None:
    incident = IncidentView("1", "h1", "failure", "fenced", ((0.0, "fence", "power is off"),))
    seen = Snapshot(
        0.0, (host("h1"), host("h2")), (vm("web", "h1"),), (incident,), ("measures: no answer",)
    )
    out = io.StringIO()
    Console(file=out, width=140).print(screen(seen, "h1 loses power"))
    for word in ("h1 loses power", "h2", "web", "power is off", "measures: no answer"):
        assert word in out.getvalue()


def test_a_terminal_gets_tables_and_a_pipe_gets_lines() -> None:
    pipe, terminal = io.StringIO(), io.StringIO()
    seen = shot(host("h1"), vms=(vm("web", "h1"),))
    with Stage(Console(file=pipe, width=140)) as stage:
        stage.show(seen)
        stage.show(seen)
    with Stage(Console(file=terminal, width=140, height=50, force_terminal=True)) as stage:
        stage.show(seen)
    assert len(pipe.getvalue().splitlines()) == 2
    assert "really runs on" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()
