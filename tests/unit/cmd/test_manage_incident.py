# SPDX-License-Identifier: Apache-2.0
"""vmha-manage incident: what an operator sees of an incident, and letting one go on."""

from __future__ import annotations

import json

import pytest

from tests.unit.cmd.conftest import Machine
from vmha_remediator.remedy.incident import POWER_OFF, ProofRecord, VmRecord, VmStatus
from vmha_remediator.remedy.states import IncidentState

START = 1_700_000_000.0


@pytest.fixture
def held(machine: Machine) -> int:
    """A failure that is held because its host could not be fenced."""
    now = [START]
    store = machine.store(clock=lambda: now[0])
    epoch = store.claim_epoch("engine")
    opened = store.open_incident(
        "h1", "failure", "recover", "critical", "no heartbeat for 7 s", epoch=epoch
    )
    now[0] += 1.5
    opened = store.move(opened, IncidentState.CONFIRMED, "measures agree", epoch=epoch)
    now[0] += 1.0
    step = store.begin_step(opened, "fence", "powering h1 off", epoch=epoch)
    store.finish_step(step, False, "the BMC did not answer")
    opened = store.move(
        opened,
        IncidentState.HELD,
        "h1 could not be fenced",
        epoch=epoch,
        advice="make sure that h1 is off",
        held_by="no-proof",
        held_from=IncidentState.CONFIRMED,
    )
    return opened.id


@pytest.fixture
def recovering(machine: Machine) -> int:
    """A failure whose first VM runs again and whose second waits for room."""
    store = machine.store(clock=lambda: START)
    epoch = store.claim_epoch("engine")
    opened = store.open_incident("h2", "failure", "recover", "critical", "gone", epoch=epoch)
    proof = ProofRecord("redfish", POWER_OFF, "the BMC reads Off", START)
    for state in ("confirmed", "fencing", "fenced", "evacuating"):
        opened = store.move(
            opened, IncidentState(state), f"it is {state}", epoch=epoch, proof=proof
        )
    done = VmRecord("id-1", "web", "h2", VmStatus.DONE, "active", dest="h3", started=START + 3)
    waits = VmRecord("id-2", "db", "h2", VmStatus.PENDING, "active", reason="no valid host")
    store.save_vms(opened, [done, waits], epoch=epoch)
    return opened.id


class TestList:
    def test_where_none_can_be_the_way_to_a_database_is_said(self, machine: Machine) -> None:
        status, _, err = machine.manage("incident", "list")
        said = f"vmha-manage: there is no {machine.database}; run: vmha-manage db upgrade\n"
        assert (status, err) == (1, said)
        assert not machine.database.exists(), "root's would be one that the service cannot write"

    def test_without_any_says_so(self, machine: Machine) -> None:
        machine.store().close()
        assert machine.manage("incident", "list")[1] == (
            "No active incidents; --all shows earlier ones.\n"
        )
        assert machine.manage("incident", "list", "--all")[1] == "No incidents.\n"

    def test_shows_where_each_stands_and_why(
        self, machine: Machine, held: int, recovering: int
    ) -> None:
        status, out, _ = machine.manage("incident", "list")

        lines = [line.split(maxsplit=7) for line in out.splitlines()]
        assert status == 0
        assert lines[1] == [str(recovering), "h2", "failure", "evacuating", "2023-11-14",
                            "22:13:20Z", "1/2", "it is evacuating"]  # fmt: skip
        assert lines[2] == [str(held), "h1", "failure", "held", "2023-11-14",
                            "22:13:20Z", "-", "h1 could not be fenced"]  # fmt: skip

    def test_speaks_json(self, machine: Machine, held: int) -> None:
        (incident,) = json.loads(machine.manage("incident", "list", "--json")[1])

        assert (incident["id"], incident["state"], incident["active"]) == (held, "held", True)


class TestShow:
    def test_tells_the_story_of_a_held_one(self, machine: Machine, held: int) -> None:
        out = machine.manage("incident", "show", str(held))[1]

        assert f"Incident:  {held}, failure of h1 (critical)" in out
        assert "Why:       h1 could not be fenced" in out
        assert "To do:     make sure that h1 is off" in out
        assert "Held by:   no-proof" in out  # the name under which held.rst explains it
        assert "+2.5 s  fence  NO  the BMC did not answer" in out

    def test_tells_the_proof_and_each_vm_s_way(self, machine: Machine, recovering: int) -> None:
        out = machine.manage("incident", "show", str(recovering))[1]

        rows = [line.split() for line in out.splitlines()]
        assert "Proof:     power is off (redfish): the BMC reads Off" in out
        assert ["web", "active", "done", "h2", "h3", "+3.0", "s"] in rows
        assert ["db", "active", "pending", "h2", "no", "valid", "host"] in rows

    def test_speaks_json_with_steps_and_vms(self, machine: Machine, recovering: int) -> None:
        incident = json.loads(machine.manage("incident", "show", str(recovering), "--json")[1])

        assert incident["proof"]["driver"] == "redfish"
        assert [vm["dest"] for vm in incident["vms"]] == ["h3", None]

    def test_of_an_unknown_one_is_one_clear_line(self, machine: Machine) -> None:
        machine.store().close()
        assert machine.manage("incident", "show", "7") == (
            1,
            "",
            "vmha-manage: there is no incident 7\n",
        )


class TestRelease:
    def test_names_who_and_what_was_overruled(self, machine: Machine, held: int) -> None:
        status, out, _ = machine.manage("incident", "release", str(held), "--yes")

        released = machine.store().incident(held)
        assert (status, released.released_by) == (0, "ann@control-1")
        assert released.waived == {"no-proof"}
        assert "Released by ann@control-1" in out

    def test_asks_first(
        self, machine: Machine, held: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda question: "no")

        status, out, err = machine.manage("incident", "release", str(held))

        assert status == 1 and "h1 could not be fenced" in out and "nothing was done" in err
        assert machine.store().incident(held).released_by == ""

    def test_of_one_that_is_not_held_is_refused(self, machine: Machine, recovering: int) -> None:
        status, _, err = machine.manage("incident", "release", str(recovering), "--yes")

        assert status == 1 and "is evacuating, not held" in err


def test_a_terminal_gets_frames_and_markup_in_names_is_shown_as_it_is(
    machine: Machine, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmha_remediator.cmd import output

    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)

    output.print_table(("VM",), [("[red]web[/red]",)])

    text = machine.capture.readouterr().out
    assert "[red]web[/red]" in text and "┃" in text
