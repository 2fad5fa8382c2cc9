# SPDX-License-Identifier: Apache-2.0
"""What every fencing driver must do, and how Redfish BMCs fail, on real emulators."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract import bmc, ipmi_bmc, ironic_service
from vmha_remediator.errors import FencingError, StoreUnavailable, TelemetryUnavailable
from vmha_remediator.fencing.contract import FencingDriver, Power, Proof
from vmha_remediator.fencing.ipmi import IpmiDriver
from vmha_remediator.fencing.ironic import IronicDriver
from vmha_remediator.fencing.manual import ManualDriver
from vmha_remediator.fencing.redfish import RedfishDriver
from vmha_remediator.fencing.settings import SettingError, parse_all
from vmha_remediator.fencing.watchdog import WatchdogDriver
from vmha_remediator.rules.starved import Step


def redfish(timeout: float = 20.0, **given: Any) -> RedfishDriver:
    given = {"username": bmc.USER, "call_timeout": 3.0} | given
    settings = parse_all(RedfishDriver.SETTINGS, given)
    return RedfishDriver("h1", settings | {"timeout": timeout, "confirmed": lambda host: None})


def manual(confirmed: Callable[[str], str | None]) -> ManualDriver:
    return ManualDriver("h1", {"timeout": 5.0, "confirmed": confirmed})


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bmc.Emulator]:
    with bmc.emulator(tmp_path_factory.mktemp("good"), systems=32) as running:
        yield running


@pytest.fixture(scope="module")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bmc.Emulator]:
    with bmc.emulator(tmp_path_factory.mktemp("liar"), extra=bmc.LIAR) as running:
        yield running


@pytest.fixture
def password(tmp_path: Path) -> str:
    path = tmp_path / "bmc.password"
    path.write_text(f"{bmc.PASSWORD}\n")
    path.chmod(0o600)
    return str(path)


@dataclass
class Rig:
    """A driver that can succeed, one of the same kind that cannot, and the true state."""

    able: FencingDriver
    unable: FencingDriver
    is_off: Callable[[], bool] | None  # None: this driver switches nothing itself


class Story:
    """What is published of a host as the driver waits: it falls silent at once, or lives on."""

    def __init__(self, armed: float = 36.5, dies: bool = True) -> None:
        self.now = self.begun = 1_000_000.0
        self.armed, self.dies = armed, dies
        self.looks = 0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def evidence(self, host: str, seconds: float) -> list[Step]:
        self.looks += 1
        first = self.begun - 30.0
        return [self._step(first + 10 * n) for n in range(1 + int((self.now - first) // 10))]

    def _step(self, at: float) -> Step:
        armed = (self.armed, self.armed)
        if not self.dies or at < self.begun:
            return Step(at, 0.4, 1.2, 1.0, armed, most_renew=True)
        return Step(at, at - self.begun + 9, at - self.begun + 9, 0.0, armed, most_renew=True)


def watchdog(story: Story, **given: Any) -> WatchdogDriver:
    settings = parse_all(WatchdogDriver.SETTINGS, given)
    times = {"clock": lambda: story.now, "sleep": story.sleep, "evidence": story.evidence}
    return WatchdogDriver("h1", settings | {"timeout": 5.0, "confirmed": lambda h: None} | times)


@pytest.fixture(scope="module")
def able_ipmi() -> Iterator[ipmi_bmc.IpmiBmc]:
    with ipmi_bmc.ipmi_bmc() as running:
        yield running


@pytest.fixture(scope="module")
def unable_ipmi() -> Iterator[ipmi_bmc.IpmiBmc]:
    with ipmi_bmc.ipmi_bmc() as running:
        yield running.fresh("lies")


def ipmi(port: int, password: str, timeout: float = 20.0) -> IpmiDriver:
    given = {
        "address": "127.0.0.1",
        "port": port,
        "username": bmc.USER,
        "password_file": password,
    }
    return IpmiDriver("h1", parse_all(IpmiDriver.SETTINGS, given) | {"timeout": timeout})


@pytest.fixture(scope="module")
def metal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ironic_service.Ironic]:
    with ironic_service.ironic(tmp_path_factory.mktemp("ironic")) as running:
        yield running


def ironic_rig(service: ironic_service.Ironic, password: str) -> Rig:
    def driver(node: str) -> IronicDriver:
        given = {
            "endpoint": service.url,
            "username": bmc.USER,
            "password_file": password,
            "node": node,
        }
        return IronicDriver("h1", parse_all(IronicDriver.SETTINGS, given) | {"timeout": 60.0})

    node = service.node(f"rig-{uuid.uuid4()}")
    return Rig(driver(node), driver("nowhere"), lambda: service.power(node) == "power off")


@pytest.fixture(params=["redfish", "ipmi", "ironic", "manual", "watchdog"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    if request.param == "ipmi":
        able: ipmi_bmc.IpmiBmc = request.getfixturevalue("able_ipmi")
        unable: ipmi_bmc.IpmiBmc = request.getfixturevalue("unable_ipmi")
        secret = tmp_path / "ipmi.password"
        secret.write_text(ipmi_bmc.PASSWORD)
        secret.chmod(0o600)
        return Rig(
            ipmi(able.fresh().port, str(secret)),
            ipmi(unable.port, str(secret), timeout=5),
            lambda: able.power() == "off",
        )
    if request.param == "ironic":
        return ironic_rig(request.getfixturevalue("metal"), request.getfixturevalue("password"))
    if request.param == "watchdog":
        return Rig(watchdog(Story(), patience=600), watchdog(Story(armed=0.0)), None)
    if request.param == "manual":
        return Rig(
            manual(lambda host: f"ann confirmed that {host} is off"),
            manual(lambda host: None),
            None,
        )
    emulator: bmc.Emulator = request.getfixturevalue("good")
    file: str = request.getfixturevalue("password")
    lying: bmc.Emulator = request.getfixturevalue("liar")
    system = emulator.fresh()
    return Rig(
        redfish(url=emulator.url, system=system, password_file=file),
        redfish(url=lying.url, system=lying.fresh(), password_file=file, timeout=4),
        lambda: emulator.power(system) == "Off",
    )


class TestEveryDriver:
    def test_a_success_proves_that_the_power_is_off_and_says_how(self, rig: Rig) -> None:
        result = rig.able.fence()

        assert (result.driver, result.proof) == (rig.able.name, Proof.POWER_OFF)
        assert result.evidence.strip() and "\n" not in result.evidence
        assert rig.is_off is None or rig.is_off()

    def test_fencing_again_proves_it_again(self, rig: Rig) -> None:
        assert rig.able.fence().proof is rig.able.fence().proof is Proof.POWER_OFF

    def test_a_failure_proves_nothing_and_says_why(self, rig: Rig) -> None:
        try:
            result = rig.unable.fence()
        except FencingError as exc:
            reason = str(exc)
        else:
            assert result.proof is None
            reason = result.evidence
        assert reason.strip() and "\n" not in reason

    def test_looking_and_checking_change_nothing(self, rig: Rig) -> None:
        before = rig.able.power()

        findings = rig.able.check()

        assert rig.able.power() is before is not Power.OFF
        assert findings and all(finding.ok for finding in findings)
        assert rig.is_off is None or not rig.is_off()


class TestManual:
    def test_unconfirmed_names_the_command_that_confirms(self) -> None:
        result = manual(lambda host: None).fence()

        assert result.proof is None
        assert "vmha-manage fence confirm h1" in result.evidence

    def test_the_word_of_a_person_about_this_host_is_the_evidence(self) -> None:
        result = manual({"h1": "ann confirmed that h1 is off"}.get).fence()

        assert (result.proof, result.evidence) == (Proof.POWER_OFF, "ann confirmed that h1 is off")

    def test_a_database_that_is_away_proves_nothing_and_is_named(self) -> None:
        def away(host: str) -> str | None:
            raise StoreUnavailable("the database cannot be used now")

        with pytest.raises(FencingError, match="the database cannot be used now"):
            manual(away).fence()

    def test_a_word_about_another_host_proves_nothing(self) -> None:
        assert manual({"h2": "ann confirmed that h2 is off"}.get).fence().proof is None


class TestWatchdog:
    def test_it_waits_until_the_silence_is_long_enough_and_shows_the_sum(self) -> None:
        story = Story()
        result = watchdog(story).fence()

        assert result.proof is Proof.POWER_OFF
        assert "promise 36.5 s + clock rates 0.4 s + margin 5.0 s" in result.evidence
        assert 41.9 <= story.now - story.begun <= 41.9 + 3 * 10

    def test_a_longer_wait_of_the_operator_is_kept(self) -> None:
        story = Story()
        assert watchdog(story, wait=90).fence().proof is Proof.POWER_OFF
        assert story.now - story.begun >= 90

    def test_a_shorter_one_is_refused_with_the_sum(self) -> None:
        with pytest.raises(FencingError, match=r"30 s is too short .* 41\.9 s \(promise 36\.5 s"):
            watchdog(Story(), wait=30).fence()
        with pytest.raises(SettingError, match="margin: a margin of 2 s is below the least"):
            watchdog(Story(), margin=2)

    def test_a_host_without_an_armed_watchdog_is_not_waited_for(self) -> None:
        story = Story(armed=0.0)
        assert watchdog(story).fence().proof is None
        assert story.now == story.begun

    def test_a_host_that_lives_is_given_up_at_once(self) -> None:
        story = Story(dies=False)
        result = watchdog(story).fence()
        assert (result.proof, result.evidence) == (None, "h1 is heard, or renews its lease")
        assert story.looks == 1

    def test_patience_ends(self) -> None:
        story = Story()
        result = watchdog(story, patience=20).fence()
        assert result.proof is None
        assert "has reset it for certain after 41.9 s" in result.evidence
        assert story.now - story.begun <= 21

    def test_readings_that_cannot_be_had_prove_nothing_and_are_asked_for_again(self) -> None:
        story = Story()
        real = story.evidence

        def away(host: str, seconds: float) -> list[Step]:
            if story.looks < 3:
                story.looks += 1
                raise TelemetryUnavailable("Gnocchi cannot be reached")
            return real(host, seconds)

        driver = watchdog(story)
        driver._evidence = away
        assert driver.fence().proof is Proof.POWER_OFF
        assert story.looks > 3

    def test_a_check_says_how_long_it_would_take(self) -> None:
        findings = watchdog(Story()).check()
        assert all(finding.ok for finding in findings)
        assert "proven after 41.9 s of silence" in findings[1].what
        assert not watchdog(Story(), patience=50).check()[1].ok


class TestRedfish:
    def test_it_reads_on_before_and_off_after(self, good: bmc.Emulator, password: str) -> None:
        driver = redfish(url=good.url, system=good.fresh(), password_file=password)

        assert driver.power() is Power.ON
        driver.fence()
        assert driver.power() is Power.OFF

    @pytest.mark.parametrize("auth", ["auto", "basic"])
    def test_it_logs_in_as_told(self, good: bmc.Emulator, password: str, auth: str) -> None:
        driver = redfish(url=good.url, system=good.fresh(), password_file=password, auth=auth)

        assert driver.power() is Power.ON

    def test_the_password_may_come_from_the_environment(
        self, good: bmc.Emulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BMC_PASSWORD", bmc.PASSWORD)

        driver = redfish(url=good.url, system=good.fresh(), password_env="BMC_PASSWORD")

        assert driver.power() is Power.ON

    def test_a_full_path_names_a_system_too(self, good: bmc.Emulator, password: str) -> None:
        path = f"/redfish/v1/Systems/{good.fresh()}"

        assert redfish(url=good.url, system=path, password_file=password).power() is Power.ON

    def test_a_pinned_machine_is_fenced(self, good: bmc.Emulator, password: str) -> None:
        system = good.fresh()
        driver = redfish(url=good.url, system=system, password_file=password, uuid=system.upper())

        assert driver.fence().proof is Proof.POWER_OFF

    def test_another_machine_than_the_pinned_one_is_left_alone(
        self, good: bmc.Emulator, password: str
    ) -> None:
        system, pinned = good.fresh(), "00000000-0000-0000-0000-000000000001"
        driver = redfish(url=good.url, system=system, password_file=password, uuid=pinned)

        with pytest.raises(FencingError, match="belongs to another machine"):
            driver.fence()

        assert good.power(system) == "On"
        assert [finding.ok for finding in driver.check()].count(False) == 1

    def test_a_bmc_that_says_yes_and_stays_on_proves_nothing(
        self, liar: bmc.Emulator, password: str
    ) -> None:
        driver = redfish(url=liar.url, system=liar.fresh(), password_file=password, timeout=4)

        with pytest.raises(
            FencingError, match=r"still reads on.* given up after 1 ForceOff request"
        ):
            driver.fence()


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bmc.Emulator]:
    with bmc.emulator(tmp_path_factory.mktemp("sessions"), extra=bmc.SESSIONS) as running:
        yield running


class TestRedfishSessions:
    """BMCs hold a handful of sessions; one that is left open can lock the next login out."""

    @pytest.mark.parametrize("auth", ["auto", "session"])
    def test_each_action_logs_in_once_and_out_again(
        self, sessions: bmc.Emulator, password: str, auth: str
    ) -> None:
        driver = redfish(
            url=sessions.url, system=sessions.fresh(), password_file=password, auth=auth
        )
        before, _ = sessions.sessions()

        driver.check()
        assert driver.power() is Power.ON
        assert driver.fence().proof is Proof.POWER_OFF

        assert sessions.sessions() == (before + 3, 0)

    def test_a_failed_action_logs_out_too(self, sessions: bmc.Emulator, password: str) -> None:
        driver = redfish(url=sessions.url, system="nowhere", password_file=password)

        with pytest.raises(FencingError, match="HTTP 404"):
            driver.fence()

        assert sessions.sessions()[1] == 0

    def test_a_wrong_password_is_named(self, sessions: bmc.Emulator, tmp_path: Path) -> None:
        wrong = tmp_path / "wrong.password"
        wrong.write_text("Tr0ub4dor&3")
        wrong.chmod(0o600)
        driver = redfish(url=sessions.url, system=sessions.fresh(), password_file=str(wrong))

        with pytest.raises(FencingError, match="refused the credentials"):
            driver.fence()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bmc.Emulator]:
    with bmc.emulator(tmp_path_factory.mktemp("tls"), tls=True) as running:
        yield running


class TestRedfishOverTls:
    def test_a_certificate_of_the_named_authority_is_accepted(
        self, tls: bmc.Emulator, password: str
    ) -> None:
        driver = redfish(url=tls.url, system=tls.fresh(), password_file=password, verify=tls.ca)

        assert driver.fence().proof is Proof.POWER_OFF

    def test_a_certificate_of_nobody_is_refused_before_any_password_is_sent(
        self, tls: bmc.Emulator, password: str
    ) -> None:
        system = tls.fresh()

        with pytest.raises(FencingError, match="TLS certificate was not accepted"):
            redfish(url=tls.url, system=system, password_file=password).fence()

        assert tls.power(system) == "On"

    def test_checking_can_be_switched_off_and_the_dry_check_says_so(
        self, tls: bmc.Emulator, password: str
    ) -> None:
        driver = redfish(url=tls.url, system=tls.fresh(), password_file=password, verify=False)

        assert any("not verified" in finding.what for finding in driver.check())


@dataclass(frozen=True)
class Trouble:
    """A BMC, or settings, with which nothing can be proven; `says` is part of the reason."""

    name: str
    says: str
    change: Callable[[dict[str, Any]], dict[str, Any]]


SAD = [
    Trouble(
        "connection refused",
        "Connection refused",
        lambda s: s | {"url": f"http://127.0.0.1:{bmc.free_port()}"},
    ),
    Trouble(
        "never answers",
        "did not answer in time",
        lambda s: s | {"url": s["silent"], "call_timeout": 0.5},
    ),
    Trouble("no BMC at all", "makes no sense", lambda s: s | {"url": s["babbler"]}),
    Trouble(
        "wrong password",
        "refused the credentials",
        lambda s: s | {"password_file": s["wrong"]},
    ),
    Trouble("wrong system", "HTTP 404", lambda s: s | {"system": "no-such-system"}),
    Trouble("several systems and none named", "exactly one", lambda s: s | {"system": None}),
]


class TestTroubleWithABmc:
    @pytest.fixture
    def settings(
        self, good: bmc.Emulator, password: str, tmp_path: Path
    ) -> Iterator[dict[str, Any]]:
        wrong = tmp_path / "wrong.password"
        wrong.write_text("Tr0ub4dor&3")
        wrong.chmod(0o600)
        with bmc.silent_bmc() as silent, bmc.web_server_that_is_no_bmc() as babbler:
            yield {
                "url": good.url,
                "system": good.fresh(),
                "password_file": password,
                "call_timeout": 10.0,
                "silent": silent,
                "babbler": babbler,
                "wrong": str(wrong),
            }

    @pytest.mark.parametrize("trouble", SAD, ids=lambda t: t.name)
    def test_nothing_is_proven_and_the_reason_is_named_without_a_secret(
        self, settings: dict[str, Any], trouble: Trouble, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        system = settings["system"]
        changed = trouble.change(settings)
        helpers = {"silent", "babbler", "wrong"}
        driver = redfish(timeout=30, **{k: v for k, v in changed.items() if k not in helpers})

        for action in (driver.fence, driver.power, driver.check):
            with pytest.raises(FencingError) as caught:
                action()
            assert trouble.says in str(caught.value)
            for secret in (bmc.PASSWORD, "Tr0ub4dor&3"):
                assert secret not in str(caught.value) + caplog.text
        assert bmc.Emulator(settings["url"]).power(system) == "On"
