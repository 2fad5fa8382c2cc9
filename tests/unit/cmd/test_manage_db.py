# SPDX-License-Identifier: Apache-2.0
"""vmha-manage db: making, checking and tidying the tables."""

from __future__ import annotations

import time

import pytest

from tests.unit.cmd.conftest import Machine
from vmha_remediator.errors import IncidentError
from vmha_remediator.remedy.states import IncidentState

DAY = 86400.0


def test_upgrade_makes_the_tables_and_check_agrees(machine: Machine) -> None:
    status, out, _ = machine.manage("db", "upgrade")
    assert status == 0 and out.startswith("The database is at revision ")

    assert machine.manage("db", "upgrade")[:2] == (0, out)
    assert machine.manage("db", "check")[0] == 0


def test_check_of_a_database_that_is_not_there_names_the_command(machine: Machine) -> None:
    status, _, err = machine.manage("db", "check")

    assert (status, machine.database.exists()) == (1, False)
    assert err.endswith("run: vmha-manage db upgrade\n")


def test_check_of_an_empty_database_names_the_command(machine: Machine) -> None:
    machine.database.touch()

    status, out, _ = machine.manage("db", "check")

    assert status == 1
    assert "The tables are at revision none" in out and "Run: vmha-manage db upgrade" in out


@pytest.mark.parametrize("days", ["0", "-1", "soon"])
def test_purge_wants_whole_days(machine: Machine, days: str) -> None:
    assert machine.manage("incident", "purge", "--older-than", days)[0] == 2


def test_purge_removes_what_is_long_over_and_reported_and_nothing_else(machine: Machine) -> None:
    now = [0.0]
    store = machine.store(clock=lambda: now[0])
    epoch = store.claim_epoch("engine")

    def incident(host: str, *, over: bool, reported: bool) -> int:
        opened = store.open_incident(host, "isolation", "report", "moderate", "x", epoch=epoch)
        store.begin_step(opened, "report", "told", epoch=epoch)
        if over:
            store.move(opened, IncidentState.CLEARED, "heard again", epoch=epoch)
        for change in store.changes(opened.id) if reported else []:
            store.mark_told(change.id)
        return opened.id

    old = incident("h1", over=True, reported=True)
    untold = incident("h2", over=True, reported=False)
    active = incident("h3", over=False, reported=True)
    now[0] = time.time() - 5 * DAY
    young = incident("h4", over=True, reported=True)

    purge = ("incident", "purge", "--older-than", "10")
    told = "1 incident(s) over for more than 10 day(s)\n"
    status, out, _ = machine.manage(*purge, "--dry-run")
    assert (status, out.partition("(1 steps")[0]) == (0, f"Would remove {told}")
    assert len(machine.store().incidents()) == 4
    status, out, _ = machine.manage(*purge)
    assert (status, out.partition("(1 steps")[0]) == (0, f"Removed {told}")
    assert {incident.id for incident in machine.store().incidents()} == {untold, active, young}
    with pytest.raises(IncidentError):
        machine.store().incident(old)


def test_a_url_that_is_none_is_named_without_its_password(machine: Machine) -> None:
    machine.config_file.write_text("[database]\nconnection = mysql:pw123@db\n")

    status, _, err = machine.manage("db", "upgrade")

    assert status == 1
    assert "[database] connection is not a database URL" in err and "pw123" not in err
