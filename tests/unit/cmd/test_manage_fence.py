# SPDX-License-Identifier: Apache-2.0
"""vmha-manage fence: reading, trying, and a person's word."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from tests.unit.cmd.conftest import Machine
from vmha_remediator.cmd import fence_rows
from vmha_remediator.fencing.contract import Power
from vmha_remediator.fencing.fencer import Fencer, Reading, Rehearsal
from vmha_remediator.remedy.facts import Server, Service


def failure(machine: Machine, host: str = "h1") -> int:
    """Open a failure of `host`, as the engine does; return its number."""
    store = machine.store()
    epoch = store.claim_epoch("engine")
    return store.open_incident(host, "failure", "recover", "critical", "gone", epoch=epoch).id


def reads_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a BMC read that every host is on."""
    reading = Reading("redfish", Power.ON, "reads on", ok=True, pinned=True)
    monkeypatch.setattr(Fencer, "powers", lambda self, host: [reading])


class TestStatus:
    def test_shows_every_host_of_the_file(self, machine: Machine) -> None:
        machine.hosts("defaults: {drivers: [manual]}\nhosts: {h1: , h2: }")

        assert machine.manage("fence", "status") == (
            0,
            "HOST  DRIVER  POWER    SAYS\nh1    manual  unknown\nh2    manual  unknown\n",
            "",
        )

    def test_names_what_is_wrong_with_an_entry_and_fails(self, machine: Machine) -> None:
        status, out, _ = machine.manage("fence", "status", "h7", "--json")

        (row,) = json.loads(out)
        assert status == 1
        assert (row["host"], row["driver"], row["power"]) == ("h7", None, "unknown")
        assert "has no entry for h7" in row["says"]

    def test_names_a_bmc_that_does_not_answer_and_fails(self, machine: Machine) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
            machine.hosts(f"hosts: {{h1: {{drivers: [redfish], redfish: {{url: '{url}'}}}}}}")

            status, out, _ = machine.manage("fence", "status", "h1")

        assert status == 1
        assert f"the BMC at {url}: no connection (Connection refused)" in out

    def test_of_an_empty_file_says_where_to_begin(self, machine: Machine) -> None:
        machine.hosts("")

        status, _, err = machine.manage("fence", "status")

        assert status == 1 and "fencing.yaml names no host; add them under 'hosts'" in err


class TestTest:
    def test_of_a_good_host_says_that_nothing_was_powered_off(self, machine: Machine) -> None:
        status, out, _ = machine.manage("fence", "test", "h1")

        assert status == 0
        assert out.endswith(
            "Nothing was powered off. Every driver answered as fencing needs it.\n"
        )

    def test_of_a_bad_entry_names_the_host(self, machine: Machine) -> None:
        machine.hosts("hosts: {h1: {drivers: [pdu]}, h2: {drivers: [manual]}}")

        status, out, _ = machine.manage("fence", "test")

        assert status == 1
        assert "no driver 'pdu' is installed" in out
        assert out.endswith("A failure of h1 could not be fenced as configured.\n")


class TestList:
    def test_shows_levels_in_order_and_what_they_prove(self, machine: Machine) -> None:
        machine.hosts("hosts: {h1: {drivers: [[watchdog, manual], 'manual:ann']}}")

        status, out, _ = machine.manage("fence", "list", "--json")

        levels = json.loads(out)["levels"]
        assert status == 0
        assert [(row["level"], row["drivers"]) for row in levels] == [
            (1, ["watchdog", "manual"]),
            (2, ["manual:ann"]),
        ]
        assert levels[1]["proves"] == "power is off, by a person's word"

    def test_names_file_and_line_of_each_mistake(self, machine: Machine) -> None:
        machine.hosts(
            "defaults:\n"
            "  redfsh: {url: 'https://b'}\n"
            "hosts:\n"
            "  h1: {drivers: [manual]}\n"
            "  h2:\n"
            "    drivers: [redfish]\n"
            "    redfish:\n"
            "      url: bmc\n"
        )

        status, out, _ = machine.manage("fence", "list")

        assert status == 1
        assert "fencing.yaml:8: host h2, redfish.url: must look like https://" in out
        assert "fencing.yaml:2: defaults, redfsh: no driver of that name is installed" in out


class FakeNova:
    """What Nova would say of the hosts."""

    def __init__(self, enabled: bool = False, servers: int = 0, host: str = "h1") -> None:
        self._service = Service("s1", host, up=True, enabled=enabled, forced_down=False)
        self._servers = [
            Server(f"id{n}", f"vm{n}", host, "ACTIVE", "active") for n in range(servers)
        ]

    def services(self) -> list[Service]:
        return [self._service]

    def servers(self, host: str) -> list[Server]:
        return self._servers


class TestReally:
    @pytest.fixture(autouse=True)
    def cycled(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        asked: list[str] = []

        def rehearse(self: Fencer, host: str) -> list[Rehearsal]:
            asked.append(host)
            return [Rehearsal("redfish", True, "off and on"), Rehearsal("manual", None, "no")]

        monkeypatch.setattr(Fencer, "rehearse", rehearse)
        return asked

    def nova(self, monkeypatch: pytest.MonkeyPatch, nova: FakeNova) -> None:
        monkeypatch.setattr("vmha_remediator.effects.nova.make_nova", lambda conf: nova)

    def test_an_empty_disabled_host_is_cycled(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, cycled: list[str]
    ) -> None:
        self.nova(monkeypatch, FakeNova())

        status, out, _ = machine.manage("fence", "test", "h1", "--really", "--yes")

        assert (status, cycled) == (0, ["h1"])
        assert out.endswith("Powered off and asked to go on again.\n")

    @pytest.mark.parametrize(
        ("nova", "says"),
        [
            (FakeNova(enabled=True), "nova-compute on h1 is enabled, so VMs may come"),
            (FakeNova(servers=7), "7 VMs are on h1 (vm0, vm1, vm2, vm3, vm4, ...); move them"),
            (FakeNova(host="h2"), "Nova knows no nova-compute on h1; it is left alone"),
        ],
        ids=["enabled", "has VMs", "unknown to Nova"],
    )
    def test_a_host_that_may_be_used_is_left_alone(
        self,
        machine: Machine,
        monkeypatch: pytest.MonkeyPatch,
        cycled: list[str],
        nova: FakeNova,
        says: str,
    ) -> None:
        self.nova(monkeypatch, nova)

        status, _, err = machine.manage("fence", "test", "h1", "--really", "--yes")

        assert (status, cycled) == (1, [])
        assert says in err

    def test_a_host_with_an_incident_is_left_alone(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, cycled: list[str]
    ) -> None:
        self.nova(monkeypatch, FakeNova())
        incident = failure(machine)

        status, _, err = machine.manage("fence", "test", "h1", "--really", "--yes")

        assert (status, cycled) == (1, [])
        assert f"h1 has incident {incident} under way" in err

    @pytest.mark.parametrize("hosts", [(), ("h1", "h2")])
    def test_it_takes_one_host(
        self, machine: Machine, cycled: list[str], hosts: tuple[str, ...]
    ) -> None:
        status, _, err = machine.manage("fence", "test", *hosts, "--really", "--yes")

        assert (status, cycled) == (1, [])
        assert "--really takes exactly one host" in err

    def test_where_nobody_can_be_asked_it_wants_yes(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, cycled: list[str]
    ) -> None:
        self.nova(monkeypatch, FakeNova())

        status, _, err = machine.manage("fence", "test", "h1", "--really")

        assert (status, cycled) == (1, [])
        assert "add --yes; nothing was done" in err


class TestGather:
    def test_a_host_without_end_is_told_and_holds_up_no_other(self) -> None:
        go_on = threading.Event()

        def look(host: str) -> list[fence_rows.Row]:
            if host == "h1":
                go_on.wait(60)
            return [{"host": host, "says": ""}]

        rows = fence_rows.gather(
            ["h1", "h2"], 0.2, look, lambda host, why: {"host": host, "says": why}
        )
        go_on.set()

        assert [row["host"] for row in rows] == ["h1", "h2"]
        assert [row["says"] for row in rows] == ["no end after 0.2 s; given up", ""]


class TestConfirm:
    def test_counts_for_the_active_failure_and_names_the_person(self, machine: Machine) -> None:
        incident = failure(machine)

        status, out, _ = machine.manage("fence", "confirm", "h1", "--yes")

        assert status == 0
        assert "its VMs can run twice and destroy their disks" in out
        assert f"Noted for incident {incident}: ann@control-1 confirms that h1 is off." in out
        assert machine.store().confirmation("h1") == "ann@control-1 confirmed that h1 is off"

    def test_in_advance_is_refused(self, machine: Machine) -> None:
        status, _, err = machine.manage("fence", "confirm", "h1", "--yes")

        assert (status, machine.store().confirmation("h1")) == (1, None)
        assert "h1 has no active failure" in err

    @pytest.mark.parametrize(("typed", "accepted"), [("h1", True), ("h2", False), ("", False)])
    def test_without_yes_the_name_must_be_typed(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, typed: str, accepted: bool
    ) -> None:
        failure(machine)
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda question: typed)

        status, _, err = machine.manage("fence", "confirm", "h1")

        assert (status == 0) is accepted
        assert (machine.store().confirmation("h1") is not None) is accepted
        assert accepted or "nothing was done" in err

    def test_where_nobody_can_be_asked_it_wants_yes(self, machine: Machine) -> None:
        failure(machine)

        status, _, err = machine.manage("fence", "confirm", "h1")

        assert status == 1 and "add --yes; nothing was done" in err

    def test_a_host_that_reads_on_is_refused_unless_the_person_insists(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failure(machine)
        reads_on(monkeypatch)

        status, _, err = machine.manage("fence", "confirm", "h1", "--yes")
        assert status == 1 and "redfish reads that h1 is ON; power it off first" in err
        assert machine.store().confirmation("h1") is None

        status, _, _ = machine.manage("fence", "confirm", "h1", "--yes", "--although-it-reads-on")
        assert status == 0
        assert machine.store().confirmation("h1") is not None

    def test_a_host_whose_drivers_would_not_look_at_it_is_refused(self, machine: Machine) -> None:
        failure(machine)
        machine.hosts("hosts: {h1: {drivers: [redfish], redfish: {url: 'https://bmc'}}}")

        status, _, err = machine.manage("fence", "confirm", "h1", "--yes")

        assert status == 1 and "add 'manual' to them and confirm again" in err
        assert machine.store().confirmation("h1") is None


class TestTiming:
    def test_every_term_is_shown_with_its_reason(self, machine: Machine) -> None:
        status, out, _ = machine.manage("fence", "timing")

        assert status == 0
        amounts = [line[: line.index(" s ")].rsplit(None, 1) for line in out.splitlines()[1:]]
        assert [(name.strip(), seconds) for name, seconds in amounts] == [
            ("lease interval", "2.0"),
            ("renewal I/O time-out", "6.0"),
            ("unseen word", "8.5"),
            ("watchdog time-out", "10.0"),
            ("late feed", "10.0"),
            ("= promise", "36.5"),
            ("clock rates", "0.4"),
            ("margin", "5.0"),
            ("= wait", "41.9"),
        ]

    def test_a_wait_that_is_too_short_is_refused_with_the_sum(self, machine: Machine) -> None:
        status, _, err = machine.manage("fence", "timing", "--wait", "30")

        assert status == 1
        assert "30 s is too short to prove anything: it takes 41.9 s" in err
