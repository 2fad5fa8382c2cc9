# SPDX-License-Identifier: Apache-2.0
"""vmha-manage vm: what an operator sees of VMs that were restarted in place."""

from __future__ import annotations

import json

import pytest

from tests.unit.cmd.conftest import Machine


def test_restarts_are_listed_the_latest_first(machine: Machine) -> None:
    store = machine.store()
    epoch = store.claim_epoch("engine")
    for name in ("web", "db"):
        number = store.begin_restart(f"id-{name}", name, "h1", f"{name} was off", epoch=epoch)
        store.finish_restart(number, name == "web", f"{name} was off")
    status, out, err = machine.manage("vm", "restarts")
    assert (status, err) == (0, "")
    head, *rows = [line.split() for line in out.splitlines()]
    assert head == ["TIME", "VM", "HOST", "NOVA", "SERVER", "WHY"]
    assert [row[-7:-3] for row in rows] == [
        ["db", "h1", "refused", "id-db"],
        ["web", "h1", "accepted", "id-web"],
    ]
    _, out, _ = machine.manage("vm", "restarts", "--json")
    assert [(r["name"], r["ok"]) for r in json.loads(out)] == [("db", False), ("web", True)]


def test_old_ones_are_not_and_none_is_said(machine: Machine) -> None:
    store = machine.store(lambda: 1000.0)
    store.begin_restart("id-web", "web", "h1", "off", epoch=store.claim_epoch("engine"))
    assert machine.manage("vm", "restarts")[1] == (
        "No VM was restarted in place within 24 hours.\n"
    )


@pytest.mark.parametrize("hours", ["0", "-1", "inf", "x"])
def test_hours_must_be_some(machine: Machine, hours: str) -> None:
    assert machine.manage("vm", "restarts", "--hours", hours)[0] == 2
