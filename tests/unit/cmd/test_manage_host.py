# SPDX-License-Identifier: Apache-2.0
"""vmha-manage host maintenance: leaving a host alone while somebody works on it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.unit.cmd.conftest import Machine
from vmha_remediator.effects import gnocchi
from vmha_remediator.errors import TelemetryUnavailable


@pytest.fixture(autouse=True)
def telemetry(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that have measures; empty: they cannot be asked for."""
    hosts = ["h1", "h2"]

    def known(_self: Any) -> list[str]:
        if not hosts:
            raise TelemetryUnavailable("Gnocchi cannot be reached")
        return hosts

    monkeypatch.setattr(gnocchi.Gnocchi, "hosts", known)
    monkeypatch.setattr("vmha_remediator.effects.session.make_session", lambda conf: None)
    monkeypatch.setattr(gnocchi.Gnocchi, "__init__", lambda self, session, conf: None)
    return hosts


def test_a_host_is_set_listed_and_unset(machine: Machine) -> None:
    status, out, _ = machine.manage("host", "maintenance", "set", "h1", "--reason", " new  memory")
    assert (status, out.splitlines()[0].split(". ")[0]) == (
        0,
        "h1 is left alone until it is unset",
    )
    assert "openstack compute service set --disable h1 nova-compute" in out

    flag = machine.store().maintenance()["h1"]
    assert (flag.who, flag.reason, flag.until) == ("ann@control-1", "new memory", None)
    assert "new memory" in machine.manage("host", "maintenance", "list")[1]

    status, out, _ = machine.manage("host", "maintenance", "unset", "h1")
    assert (status, out) == (0, "h1 is looked after again.\n")
    assert machine.manage("host", "maintenance", "list")[1] == "No host is in maintenance.\n"


def test_a_flag_may_end_by_itself(machine: Machine) -> None:
    before = time.time()
    machine.manage("host", "maintenance", "set", "h2", "--reason", "kernel", "--hours", "1.5")
    (flag,) = json.loads(machine.manage("host", "maintenance", "list", "--json")[1])
    assert before + 5400 <= flag["until"] <= time.time() + 5400


def test_a_misspelt_host_is_refused(machine: Machine, telemetry: list[str]) -> None:
    words = ("host", "maintenance", "set", "h11", "--reason", "kernel")
    status, _, err = machine.manage(*words)
    assert status == 1
    assert "no host named h11 has measures; known: h1, h2" in err
    assert machine.store().maintenance() == {}
    assert machine.manage(*words, "--unknown")[0] == 0

    telemetry.clear()  # then nobody can be asked, and the operator's word counts
    status, _, err = machine.manage("host", "maintenance", "set", "h12", "--reason", "kernel")
    assert status == 0
    assert "could not be checked" in err
    assert set(machine.store().maintenance()) == {"h11", "h12"}


def test_what_is_not_in_maintenance_cannot_be_unset(machine: Machine) -> None:
    status, _, err = machine.manage("host", "maintenance", "unset", "h1")
    assert status == 1
    assert "h1 is not in maintenance" in err


@pytest.mark.parametrize(
    "words",
    [
        ("--reason", "  "),
        (),
        ("--reason", "x", "--hours", "0"),
        ("--reason", "x", "--hours", "soon"),
    ],
)
def test_a_reason_and_a_sensible_time_are_wanted(machine: Machine, words: tuple[str, ...]) -> None:
    assert machine.manage("host", "maintenance", "set", "h1", *words)[0] == 2
