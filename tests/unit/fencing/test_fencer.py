# SPDX-License-Identifier: Apache-2.0
"""Which driver is asked, when the next one is, and what is said when none can prove it."""

from __future__ import annotations

import threading

import pytest

from tests.unit.fencing.conftest import Desk, Log, OutletDriver
from vmha_remediator.errors import ConfigError
from vmha_remediator.fencing import fencer as fencer_module
from vmha_remediator.fencing import inventory
from vmha_remediator.fencing.contract import Power, Proof

ONE = "hosts: {h1: {drivers: [outlet], outlet: {outlet: '1'}}}"
TWO_LEVELS = """
hosts:
  h1:
    drivers: [outlet, 'outlet:spare']
    outlet: {outlet: '1', does: %s}
    outlet:spare: {outlet: '2', does: %s}
"""
BOTH_NEEDED = """
hosts:
  h1:
    drivers: [[outlet, 'outlet:b'], manual]
    outlet: {outlet: '1', does: %s}
    outlet:b: {outlet: '2', does: %s}
"""


def never() -> bool:
    """Nobody hears the host."""
    return False


def always() -> bool:
    return True


class TestFence:
    def test_the_first_driver_with_a_proof_is_the_answer(self, desk: Desk, outlets: Log) -> None:
        result = desk.fencer(TWO_LEVELS % ("works", "works")).fence("h1", never)

        assert (result.driver, result.proof) == ("outlet", Proof.POWER_OFF)
        assert result.evidence == "outlet 1 is off"
        assert outlets == [("h1", "1")]

    def test_the_next_one_is_asked_when_it_fails_and_both_are_told(
        self, desk: Desk, outlets: Log
    ) -> None:
        result = desk.fencer(TWO_LEVELS % ("fails", "works")).fence("h1", never)

        assert (result.driver, result.proof) == ("outlet:spare", Proof.POWER_OFF)
        assert result.evidence == (
            "outlet: outlet 1 burnt out; then outlet:spare: outlet 2 is off"
        )
        assert outlets == [("h1", "1"), ("h1", "2")]

    def test_without_any_proof_everybody_s_reason_is_told(self, desk: Desk) -> None:
        result = desk.fencer(TWO_LEVELS % ("fails", "fails")).fence("h1", never)

        assert result.proof is None
        assert "outlet 1 burnt out" in result.evidence and "outlet 2 burnt out" in result.evidence

    def test_a_level_of_two_proves_only_when_both_do(self, desk: Desk, outlets: Log) -> None:
        both = desk.fencer(BOTH_NEEDED % ("works", "works")).fence("h1", never)
        half = desk.fencer(BOTH_NEEDED % ("works", "fails")).fence("h1", never)
        other = desk.fencer(BOTH_NEEDED % ("fails", "works")).fence("h1", never)

        assert (both.driver, both.proof) == ("outlet+outlet:b", Proof.POWER_OFF)
        assert half.proof is other.proof is None
        assert outlets == [("h1", "1"), ("h1", "2")] * 2 + [("h1", "1")]

    def test_a_host_that_is_heard_again_is_spared_by_whoever_is_next(
        self, desk: Desk, outlets: Log
    ) -> None:
        result = desk.fencer(TWO_LEVELS % ("fails", "works")).fence("h1", always)

        assert (result.driver, result.proof) == ("outlet:spare", None)
        assert result.given_up
        assert result.evidence == (
            "outlet: outlet 1 burnt out; then outlet:spare: outlet:spare was not asked: the host "
            "is heard again"
        )
        assert outlets == [("h1", "1")]

    def test_half_of_a_level_is_no_proof_when_the_host_is_heard_again_and_is_told(
        self, desk: Desk, outlets: Log
    ) -> None:
        result = desk.fencer(BOTH_NEEDED % ("works", "works")).fence("h1", always)

        assert result.proof is None and result.given_up
        assert result.evidence == (
            "outlet 1 is off; outlet:b was not asked: the host is heard again"
        )
        assert outlets == [("h1", "1")]

    def test_the_first_one_is_asked_whatever_is_heard_for_that_was_looked_at_before(
        self, desk: Desk
    ) -> None:
        assert desk.fencer(ONE).fence("h1", always).proof is Proof.POWER_OFF

    def test_a_person_s_word_is_looked_up_when_the_machine_cannot_tell(self, desk: Desk) -> None:
        fencer = desk.fencer(BOTH_NEEDED % ("works", "fails"))
        assert "nobody has confirmed" in fencer.fence("h1", never).evidence

        desk.words["h1"] = "ann confirmed that h1 is off"

        assert fencer.fence("h1", never).proof is Proof.POWER_OFF

    def test_a_host_without_an_entry_gets_advice_and_no_proof(
        self, desk: Desk, outlets: Log
    ) -> None:
        result = desk.fencer(ONE).fence("h2", never)

        assert (result.driver, result.proof) == ("none", None)
        assert f"{desk.file} has no entry for h2: add one under 'hosts'" in result.evidence
        assert outlets == []

    def test_a_missing_file_names_no_host(self, desk: Desk) -> None:
        assert "has no entry for h1" in desk.fencer().fence("h1", never).evidence

    def test_a_repaired_file_counts_without_a_restart(self, desk: Desk) -> None:
        fencer = desk.fencer()
        assert fencer.fence("h1", never).proof is None

        desk.write(ONE)

        assert fencer.fence("h1", never).proof is Proof.POWER_OFF

    def test_a_file_broken_later_holds_with_the_reason(self, desk: Desk, outlets: Log) -> None:
        fencer = desk.fencer(ONE)

        desk.write("hosts: [")
        result = fencer.fence("h1", never)

        assert result.proof is None and "is no YAML" in result.evidence
        assert outlets == []

    def test_a_driver_s_bug_is_no_proof_and_stops_nobody(self, desk: Desk) -> None:
        def bug() -> None:
            raise ZeroDivisionError("a secret")

        OutletDriver.behaviour["works"] = bug

        result = desk.fencer(TWO_LEVELS % ("works", "fine")).fence("h1", never)

        assert (result.driver, result.proof) == ("outlet:spare", Proof.POWER_OFF)
        assert "unexpected ZeroDivisionError" in result.evidence
        assert "secret" not in result.evidence


class TestADriverThatHangs:
    def test_is_given_up_and_the_next_is_asked_and_no_second_thread_is_spent_on_it(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fencer_module, "GRACE", 0.0)
        desk.conf.set_override("timeout", 1, group="fencing")
        go_on = threading.Event()
        waited = []
        OutletDriver.behaviour["hangs"] = lambda: waited.append(go_on.wait(60))
        fencer = desk.fencer(TWO_LEVELS % ("hangs", "works"))

        first, second = fencer.fence("h1", never), fencer.fence("h1", never)
        go_on.set()

        assert first.proof is second.proof is Proof.POWER_OFF
        assert "outlet: no end after 1 s; given up" in first.evidence
        assert "an earlier attempt is still under way" in second.evidence
        assert [where for _, where in OutletDriver.asked].count("1") == 1


class TestPower:
    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            ("works", "dark", Power.ON),
            ("dark", "works", Power.OFF),
            ("fails", "dark", Power.OFF),
            ("unsure", "works", Power.ON),
            ("fails", "fails", Power.UNKNOWN),
        ],
    )
    def test_comes_from_the_first_that_knows(
        self, desk: Desk, first: str, second: str, expected: Power
    ) -> None:
        assert desk.fencer(TWO_LEVELS % (first, second)).power("h1") is expected

    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            ("dark", "dark", Power.OFF),
            ("dark", "works", Power.ON),
            ("dark", "fails", Power.UNKNOWN),
        ],
    )
    def test_a_level_of_two_is_off_only_when_both_are(
        self, desk: Desk, first: str, second: str, expected: Power
    ) -> None:
        assert desk.fencer(BOTH_NEEDED % (first, second)).power("h1") is expected

    @pytest.mark.parametrize(
        ("reads", "expected"),
        [
            ([Power.OFF, Power.ON], Power.ON),
            ([Power.OFF, Power.UNKNOWN], Power.UNKNOWN),
            ([Power.OFF, Power.OFF], Power.OFF),
        ],
    )
    def test_is_off_only_when_it_reads_so_twice(
        self, desk: Desk, reads: list[Power], expected: Power, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It renews an old proof; the answers of a BMC in trouble flap."""
        left = list(reads)
        monkeypatch.setattr(OutletDriver, "power", lambda driver: left.pop(0))

        assert desk.fencer(ONE).power("h1") is expected

    def test_of_an_unknown_host_is_unknown(self, desk: Desk) -> None:
        assert desk.fencer(ONE).power("h2") is Power.UNKNOWN


class TestCheck:
    def test_asks_every_driver_and_switches_nothing(self, desk: Desk, outlets: Log) -> None:
        findings = desk.fencer(BOTH_NEEDED % ("works", "fails")).check("h1")

        assert [finding.ok for finding in findings["outlet"]] == [True]
        assert [finding.what for finding in findings["outlet:b"]] == ["outlet 2 burnt out"]
        assert "manual" in findings
        assert outlets == []


class TestRehearse:
    def test_each_level_that_can_is_switched_off_and_on(self, desk: Desk, outlets: Log) -> None:
        found = desk.fencer(BOTH_NEEDED % ("works", "works")).rehearse("h1")

        assert [(level.level, level.ok) for level in found] == [
            ("outlet+outlet:b", True),
            ("manual", None),
        ]
        assert [where for _, where in outlets] == ["1", "2", "1 on", "2 on"]

    def test_a_level_that_fails_is_switched_on_all_the_same_and_told(
        self, desk: Desk, outlets: Log
    ) -> None:
        (first, _) = desk.fencer(BOTH_NEEDED % ("works", "fails")).rehearse("h1")

        assert first.ok is False
        assert "outlet 2 burnt out" in first.sentence
        assert [where for _, where in outlets] == ["1", "2", "1 on", "2 on"]


class TestTheHostsFile:
    BAD = (
        ("hosts: {h1: {drivers: [pdu]}}", "h1, drivers: no driver 'pdu' is installed"),
        ("hosts: {h1: {}}", "h1, drivers: name at least one"),
        ("hosts: {h1: {drivers: []}}", "h1, drivers: name at least one"),
        ("hosts: {h1: {drivers: [[]]}}", "h1, drivers: must hold driver names"),
        ("hosts: {h1: {drivers: [7]}}", "h1, drivers: must hold driver names"),
        ("hosts: {h1: [outlet]}", "h1, drivers: the host's entry must hold keys and values"),
        ("hosts: {h1: {drivers: [outlet]}}", "h1, outlet.outlet: missing; it is its number"),
        ("hosts: {h1: {drivers: [outlet], outlet: 7}}", "h1, outlet: must hold keys and values"),
        (
            "hosts: {h1: {drivers: [outlet], outlet: {outlet: 1}}}",
            "h1, outlet.outlet: must be text, not 1",
        ),
        (
            "hosts: {h1: {drivers: [outlet], outlet: {outlet: '1', socket: 2}}}",
            "h1, outlet.socket: unknown; known are outlet, does",
        ),
        (
            "hosts: {h1: {drivers: [manual], outlet: {outlet: '1'}}}",
            "h1, outlet: is not among this host's drivers",
        ),
        (
            "hosts: {h1: {drivers: [redfish], redfish: {url: 'https://u:pw123@bmc'}}}",
            "h1, redfish.url: must not hold credentials",
        ),
        (
            "hosts: {h1: {drivers: [redfish], redfish: {url: bmc}}}",
            "h1, redfish.url: must look like https://bmc.example.org",
        ),
        (
            "hosts: {h1: {drivers: [redfish], redfish: {url: 'https://b', password: pw123}}}",
            "h1, redfish.password: a password does not belong in this file",
        ),
        (
            "hosts: {h1: {drivers: [redfish], redfish: {url: 'https://b', username: a}}}",
            "h1, redfish.password_file: give it, or password_env, and not both",
        ),
        (
            "hosts: {h1: {drivers: [redfish], redfish: {url: 'https://b', verify: /none.pem}}}",
            "h1, redfish.verify: no CA bundle at /none.pem",
        ),
        (
            "hosts: {h1: {drivers: [redfish], redfish: {url: 'https://b', call_timeout: 0}}}",
            "h1, redfish.call_timeout: must be a number of seconds above 0",
        ),
        (
            "hosts: {h1: {drivers: [redfish], redfish: {url: 'https://b', auth: digest}}}",
            "h1, redfish.auth: must be one of auto, basic, session",
        ),
    )

    @pytest.mark.parametrize(("text", "expected"), BAD, ids=[expected for _, expected in BAD])
    def test_a_wrong_entry_is_named_by_file_host_and_key_and_never_fences(
        self, desk: Desk, outlets: Log, text: str, expected: str
    ) -> None:
        result = desk.fencer(text).fence("h1", never)

        assert result.proof is None
        assert result.evidence.startswith(f"{desk.file}:1: host {expected}")
        assert "pw123" not in result.evidence
        assert outlets == []

    def test_one_host_s_mistake_is_no_other_s(self, desk: Desk) -> None:
        fencer = desk.fencer(
            "hosts: {h1: {drivers: [outlet], outlet: {outlet: '1'}}, h2: {drivers: [pdu]}}"
        )

        assert fencer.fence("h1", never).proof is Proof.POWER_OFF
        assert fencer.fence("h2", never).proof is None
        assert fencer.hosts() == ["h1", "h2"]

    def test_two_hosts_on_one_outlet_are_both_left_alone(self, desk: Desk, outlets: Log) -> None:
        fencer = desk.fencer(
            "defaults: {drivers: [outlet], outlet: {outlet: '1'}}\n"
            "hosts: {h1: , h2: , h3: {outlet: {outlet: '3'}}}"
        )

        for host in ("h1", "h2"):
            result = fencer.fence(host, never)
            assert result.proof is None
            assert "hosts h1, h2 all switch off outlet 1" in result.evidence
        assert fencer.fence("h3", never).proof is Proof.POWER_OFF
        assert outlets == [("h3", "3")]

    def test_defaults_hold_for_every_host_and_a_host_s_own_word_wins(
        self, desk: Desk, outlets: Log
    ) -> None:
        fencer = desk.fencer(
            "defaults: {drivers: [outlet], outlet: {outlet: 'rack-{host}'}}\n"
            "hosts: {h1: , h2: {outlet: {outlet: special}}, h3: {drivers: [manual]}}"
        )

        fencer.fence("h1", never)
        fencer.fence("h2", never)

        assert outlets == [("h1", "rack-h1"), ("h2", "special")]
        assert fencer.drivers("h3") == ["manual"]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("hosts: [", r"fencing\.yaml: line \d+ is no YAML"),
            ("hosts: {h1: , h1: }", r"line 1 is no YAML: 'h1' is written twice"),
            ("? [a]\n: b", r"is no YAML"),
            ("- h1", r"fencing\.yaml: must hold keys and values, not list"),
            ("hosts: [h1]", r"fencing\.yaml:1: hosts: must hold keys and values, not list"),
            ("host: {}", r"fencing\.yaml:1: unknown key 'host'; known are defaults, hosts"),
            ("a: !!python/object/apply:os.system ['x']", r"fencing\.yaml: line \d+ is no YAML"),
        ],
    )
    def test_what_is_no_hosts_file_stops_the_start(
        self, desk: Desk, text: str, expected: str
    ) -> None:
        with pytest.raises(ConfigError, match=expected):
            desk.fencer(text)

    def test_a_file_that_cannot_be_read_is_named(self, desk: Desk) -> None:
        desk.file.mkdir()

        with pytest.raises(ConfigError, match=r"hosts_file .*fencing\.yaml: Is a directory"):
            desk.fencer()


class TestSecretFiles:
    def test_a_password_that_others_can_read_is_refused_with_the_remedy(self, desk: Desk) -> None:
        secret = desk.file.parent / "bmc.password"
        secret.write_text("pw123")
        secret.chmod(0o640)

        trouble = desk.fencer(
            "hosts: {h1: {drivers: [redfish], redfish: {url: 'https://b', username: a, "
            f"password_file: {secret}}}}}}}"
        ).trouble("h1")

        assert trouble is not None and "has mode 0640" in trouble
        assert f"chmod 600 {secret}" in trouble and "pw123" not in trouble


def test_every_driver_is_installed_under_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    assert {name: cls.name for name, cls in inventory.driver_classes().items()} == {
        "ipmi": "ipmi",
        "ironic": "ironic",
        "manual": "manual",
        "redfish": "redfish",
        "watchdog": "watchdog",
    }
