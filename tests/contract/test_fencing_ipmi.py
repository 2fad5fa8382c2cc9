# SPDX-License-Identifier: Apache-2.0
"""The ipmi driver against two BMCs that speak RMCP+ on loopback, and how BMCs fail."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest

from tests.contract import bmc, ipmi_bmc, ipmi_sim
from vmha_remediator.errors import FencingError
from vmha_remediator.fencing import ipmi
from vmha_remediator.fencing.contract import Power, Proof
from vmha_remediator.fencing.deadline import Deadline
from vmha_remediator.fencing.ipmi import IpmiDriver
from vmha_remediator.fencing.settings import SettingError, parse_all

WRONG = "Tr0ub4dor&3"


def driver(port: int, timeout: float = 20.0, **given: Any) -> IpmiDriver:
    given = {"address": "127.0.0.1", "port": port, "username": bmc.USER} | given
    return IpmiDriver("h1", parse_all(IpmiDriver.SETTINGS, given) | {"timeout": timeout})


def secret(folder: Path, name: str, value: str) -> str:
    path = folder / name
    path.write_text(value)
    path.chmod(0o600)
    return str(path)


@pytest.fixture(scope="module")
def running() -> Iterator[ipmi_bmc.IpmiBmc]:
    with ipmi_bmc.ipmi_bmc() as made:
        yield made


@pytest.fixture
def password(tmp_path: Path) -> str:
    return secret(tmp_path, "bmc.password", ipmi_bmc.PASSWORD)


class TestAgainstPyghmisServer:
    def test_it_reads_on_before_and_off_after(
        self, running: ipmi_bmc.IpmiBmc, password: str
    ) -> None:
        made = driver(running.fresh().port, password_file=password)

        assert made.power() is Power.ON
        result = made.fence()

        assert result.proof is Proof.POWER_OFF
        assert "power read off 2 times" in result.evidence
        assert (running.power(), running.asked(), made.power()) == ("off", ["off"], Power.OFF)

    def test_a_machine_that_is_off_is_not_asked_again(
        self, running: ipmi_bmc.IpmiBmc, password: str
    ) -> None:
        made = driver(running.fresh().port, password_file=password)
        made.fence()

        assert "was already off" in made.fence().evidence
        assert running.asked() == ["off"]

    def test_it_can_be_switched_on(self, running: ipmi_bmc.IpmiBmc, password: str) -> None:
        made = driver(running.fresh().port, password_file=password)
        made.fence()

        made.switch_on()

        assert running.power() == "on"

    def test_the_password_may_come_from_the_environment(
        self, running: ipmi_bmc.IpmiBmc, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BMC_PASSWORD", ipmi_bmc.PASSWORD)

        assert driver(running.fresh().port, password_env="BMC_PASSWORD").power() is Power.ON

    @pytest.mark.parametrize("order", ["bytes", "bytes_le"])
    def test_a_pinned_machine_is_fenced_in_either_order_of_bytes(
        self, running: ipmi_bmc.IpmiBmc, password: str, order: str
    ) -> None:
        sent = ipmi_bmc.GUID.bytes_le
        pinned = str(uuid.UUID(bytes=sent) if order == "bytes" else uuid.UUID(bytes_le=sent))
        made = driver(running.fresh().port, password_file=password, uuid=pinned.upper())

        assert made.fence().proof is Proof.POWER_OFF

    def test_another_machine_is_left_alone(self, running: ipmi_bmc.IpmiBmc, password: str) -> None:
        other = "00000000-0000-0000-0000-000000000001"
        made = driver(running.fresh().port, password_file=password, uuid=other)

        with pytest.raises(FencingError, match="belongs to another machine"):
            made.fence()

        assert (running.power(), running.asked()) == ("on", [])
        assert [finding.ok for finding in made.check()].count(False) == 1

    def test_a_slow_bmc_is_waited_for(self, running: ipmi_bmc.IpmiBmc, password: str) -> None:
        made = driver(running.fresh("slow").port, timeout=60, password_file=password)

        assert made.fence().proof is Proof.POWER_OFF


class Enough(Deadline):
    """Time that is over once the BMC has heard all that a story needs, however long it takes."""

    def __init__(self, seconds: float, heard: Callable[[], bool]) -> None:
        super().__init__(seconds)
        self._heard = heard

    @property
    def left(self) -> float:
        return 0.0 if self._heard() else super().left


#: What the BMC has heard by then: a request that is never answered, or another reading after the
#: one that was, which the driver sends once it has that answer.
UNANSWERED, ANSWERED = frozenset({"off"}), frozenset({"off", ipmi_bmc.READ})


@dataclass(frozen=True)
class Trouble:
    """A BMC, or settings, with which nothing can be proven; `says` is part of the reason.

    `enough`: what the BMC has to hear, from the first request on, before the time is over.
    """

    name: str
    says: str
    mode: str = "works"
    given: Callable[[dict[str, str]], dict[str, Any]] = lambda known: {}
    timeout: float = 60.0
    truth: str = "on"
    enough: frozenset[str] = frozenset()


SAD = [
    Trouble("stays on", "it still reads on", "lies", enough=ANSWERED),
    Trouble("flaps", "its readings contradict each other", "flaps", truth="off", enough=ANSWERED),
    Trouble("may not", "Insufficient privilege level", "refuses"),
    Trouble(
        "not now",
        "it refused (Command not supported in present state)",
        "not now",
        enough=ANSWERED,
    ),
    Trouble(
        "its answer is lost",
        "it did not answer in time; given up after 1",
        "mute",
        truth="off",
        enough=UNANSWERED,
    ),
    Trouble("answers nothing", "it did not answer in time", "silent", timeout=6),
    Trouble("nobody there", "it did not answer in time", given=lambda k: {"port": 9}, timeout=6),
    Trouble(
        "wrong password",
        "it refused the credentials (Incorrect password provided)",
        given=lambda k: {"password_file": k["wrong"]},
    ),
    Trouble(
        "no such name",
        "its name cannot be resolved; check 'address'",
        given=lambda k: {"address": "bmc.invalid"},
    ),
]


@pytest.mark.parametrize("trouble", SAD, ids=lambda t: t.name)
def test_nothing_is_proven_and_the_reason_is_named_without_a_secret(
    running: ipmi_bmc.IpmiBmc,
    password: str,
    tmp_path: Path,
    trouble: Trouble,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    if trouble.enough:
        monkeypatch.setattr(ipmi, "Deadline", lambda s: Enough(s, has_heard(running, trouble)))
    known = {"wrong": secret(tmp_path, "wrong.password", WRONG)}
    port = running.fresh(trouble.mode).port
    given: dict[str, Any] = {"port": port, "password_file": password} | trouble.given(known)

    with pytest.raises(FencingError) as caught:
        driver(timeout=trouble.timeout, **given).fence()

    assert str(caught.value).startswith(f"the BMC at {given.get('address', '127.0.0.1')}:")
    assert trouble.says in str(caught.value)
    for word in (ipmi_bmc.PASSWORD, WRONG):
        assert word not in str(caught.value) + caplog.text
    if trouble.mode != "flaps":
        assert running.power() == trouble.truth


def has_heard(running: ipmi_bmc.IpmiBmc, trouble: Trouble) -> Callable[[], bool]:
    """Return whether the BMC has heard enough of a story."""

    def told() -> bool:
        # One request may arrive more than once: it is sent again while no answer comes.
        since = dropwhile(lambda request: request == ipmi_bmc.READ, running.heard())
        return trouble.enough <= set(since)

    return told


def test_a_session_leaves_no_process_behind_and_shows_no_password(
    running: ipmi_bmc.IpmiBmc, password: str
) -> None:
    seen: list[bytes] = []
    made = driver(running.fresh().port, password_file=password)

    with made._session(Deadline(20)) as session:
        process = session._process
        proc = Path(f"/proc/{process.pid}")
        seen += [(proc / "cmdline").read_bytes(), (proc / "environ").read_bytes()]

    assert process.returncode == 0
    assert all(ipmi_bmc.PASSWORD.encode() not in text for text in seen)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ipmi_sim.Simulator]:
    folder = tmp_path_factory.mktemp("ipmi_sim")
    file = secret(folder, "password", ipmi_sim.PASSWORD)

    def answers(port: int) -> bool:
        with suppress(FencingError):
            return bool(driver(port, call_timeout=2.0, password_file=file).power())
        return False

    with ipmi_sim.ipmi_sim(folder, answers) as made:
        yield made


@pytest.mark.skipif(ipmi_sim.PROGRAM is None, reason="Debian package openipmi is not installed")
class TestAgainstOpenIpmi:
    @pytest.fixture
    def file(self, simulator: ipmi_sim.Simulator, tmp_path: Path) -> str:
        simulator.switch_on()
        return secret(tmp_path, "password", ipmi_sim.PASSWORD)

    def test_it_is_powered_off_and_on_again(
        self, simulator: ipmi_sim.Simulator, file: str
    ) -> None:
        made = driver(simulator.port, password_file=file)

        assert all(finding.ok for finding in made.check())
        assert made.power() is Power.ON
        assert made.fence().proof is Proof.POWER_OFF
        assert simulator.power() == "off"
        made.switch_on()
        assert simulator.power() == "on"

    @pytest.mark.parametrize(
        ("name", "word", "says"),
        [
            ("nobody", ipmi_sim.PASSWORD, "refused the credentials (Unauthorized name in RAKP2)"),
            (bmc.USER, WRONG, "refused the credentials (Incorrect password provided)"),
        ],
    )
    def test_an_account_that_may_not_is_named(
        self,
        simulator: ipmi_sim.Simulator,
        file: str,
        tmp_path: Path,
        name: str,
        word: str,
        says: str,
    ) -> None:
        given = secret(tmp_path, "given", word)

        with pytest.raises(FencingError) as caught:
            driver(simulator.port, username=name, password_file=given).fence()

        assert says in str(caught.value) and word not in str(caught.value)
        assert simulator.power() == "on"


class TestSettings:
    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"address": "https://bmc"}, "address: must be a name or an address alone"),
            ({"address": "ann:secret@bmc"}, "address: must be a name or an address alone"),
            ({"port": 0}, "port: must be a port"),
            ({"uuid": "me"}, "uuid: must be a UUID, not 'me'"),
            ({"privilege": "user"}, "privilege: must be one of operator, administrator"),
            ({"password_env": "X"}, "password_file: give it, or password_env, and not both"),
            ({"password_file": None}, "password_file: give it, or password_env, and not both"),
            ({"kg_file": "/none"}, "kg_file: /none: No such file"),
        ],
    )
    def test_what_cannot_work_is_refused_at_once(
        self, password: str, given: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(SettingError) as caught:
            driver(**_with(password, given))

        assert says in str(caught.value)
        assert "secret" not in str(caught.value)


def _with(password: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"port": 623, "password_file": password, **given}
