# SPDX-License-Identifier: Apache-2.0
"""The ironic driver against a real Ironic, with fake hardware and with Redfish BMCs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract import bmc, ironic_service
from vmha_remediator.errors import FencingError
from vmha_remediator.fencing.contract import Power, Proof
from vmha_remediator.fencing.ironic import IronicDriver
from vmha_remediator.fencing.settings import SettingError, parse_all

WRONG = "Tr0ub4dor&3"


def driver(timeout: float = 30.0, **given: Any) -> IronicDriver:
    return IronicDriver("h1", parse_all(IronicDriver.SETTINGS, given) | {"timeout": timeout})


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ironic_service.Ironic]:
    with ironic_service.ironic(tmp_path_factory.mktemp("ironic")) as running:
        yield running


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bmc.Emulator]:
    with bmc.emulator(tmp_path_factory.mktemp("good")) as running:
        yield running


@pytest.fixture(scope="module")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bmc.Emulator]:
    with bmc.emulator(tmp_path_factory.mktemp("liar"), extra=bmc.LIAR) as running:
        yield running


def secret(folder: Path, name: str, value: str) -> str:
    path = folder / name
    path.write_text(value)
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def access(service: ironic_service.Ironic, tmp_path: Path) -> dict[str, Any]:
    file = secret(tmp_path, "password", bmc.PASSWORD)
    return {"endpoint": service.url, "username": bmc.USER, "password_file": file}


class TestFencing:
    def test_a_node_is_powered_off_and_on_again(
        self, service: ironic_service.Ironic, access: dict[str, Any]
    ) -> None:
        made = driver(node=service.node("one"), **access)

        assert all(finding.ok for finding in made.check())
        assert made.power() is Power.ON
        result = made.fence()
        assert (result.driver, result.proof) == ("ironic", Proof.POWER_OFF)
        assert service.power("one") == "power off"

        made.switch_on()
        ironic_service.await_power(service, "one", "power on")

    def test_a_node_behind_a_bmc_is_really_off(
        self, service: ironic_service.Ironic, access: dict[str, Any], good: bmc.Emulator
    ) -> None:
        system = good.fresh()
        made = driver(node=service.redfish_node("two", good, system), **access)

        assert made.fence().proof is Proof.POWER_OFF
        assert good.power(system) == "Off"

    def test_what_ironic_has_stored_is_no_proof_and_no_reading(
        self, service: ironic_service.Ironic, access: dict[str, Any], good: bmc.Emulator
    ) -> None:
        """Somebody switches the machine on behind Ironic's back."""
        system = good.fresh()
        made = driver(node=service.redfish_node("three", good, system), **access)
        made.fence()
        good.switch_on(system)
        assert service.power("three") == "power off"

        assert made.power() is Power.UNKNOWN
        assert made.fence().proof is Proof.POWER_OFF
        assert good.power(system) == "Off"

    def test_the_node_is_named_as_the_host_unless_told_otherwise(
        self, service: ironic_service.Ironic, access: dict[str, Any]
    ) -> None:
        service.node("h1")

        assert driver(**access).fence().proof is Proof.POWER_OFF

    def test_a_cloud_may_be_named_instead(
        self, service: ironic_service.Ironic, tmp_path: Path
    ) -> None:
        clouds = secret(
            tmp_path,
            "clouds.yaml",
            "clouds:\n  metal:\n    auth_type: http_basic\n    auth:\n"
            f"      endpoint: {service.url}\n      username: {bmc.USER}\n"
            f"      password: {bmc.PASSWORD}\n    baremetal_endpoint_override: {service.url}\n",
        )
        made = driver(cloud="metal", clouds_file=clouds, node=service.node("four"))

        assert made.fence().proof is Proof.POWER_OFF


@dataclass(frozen=True)
class Trouble:
    """Settings with which nothing can be proven; `says` is part of the reason."""

    name: str
    says: str
    given: Callable[[dict[str, str]], dict[str, Any]]


SAD = [
    Trouble("unknown node", "there is no such node; check 'node'", lambda k: {"node": "nowhere"}),
    Trouble(
        "wrong password", "it refused the credentials", lambda k: {"password_file": k["wrong"]}
    ),
    Trouble("nobody there", "no connection", lambda k: {"endpoint": k["closed"]}),
    Trouble("no Ironic", "no Ironic at its address", lambda k: {"endpoint": k["babbler"]}),
    Trouble(
        "never answers",
        "no Ironic at its address",
        lambda k: {"endpoint": k["silent"], "call_timeout": 0.5},
    ),
]


class TestTrouble:
    @pytest.mark.parametrize("trouble", SAD, ids=lambda t: t.name)
    def test_nothing_is_proven_and_the_reason_is_named_without_a_secret(
        self,
        access: dict[str, Any],
        tmp_path: Path,
        trouble: Trouble,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with bmc.silent_bmc() as silent, bmc.web_server_that_is_no_bmc() as babbler:
            known = {
                "wrong": secret(tmp_path, "wrong", WRONG),
                "closed": f"http://127.0.0.1:{bmc.free_port()}",
                "silent": silent,
                "babbler": babbler,
            }
            made = driver(**(access | trouble.given(known)))

            for action in (made.fence, made.power, made.check):
                with pytest.raises(FencingError) as caught:
                    action()
                assert str(caught.value).startswith("Ironic, node ")
                assert trouble.says in str(caught.value)
                for word in (bmc.PASSWORD, WRONG):
                    assert word not in str(caught.value) + caplog.text

    def test_a_bmc_that_stays_on_proves_nothing(
        self, service: ironic_service.Ironic, access: dict[str, Any], liar: bmc.Emulator
    ) -> None:
        system = liar.fresh()
        made = driver(node=service.redfish_node("five", liar, system), timeout=8, **access)

        with pytest.raises(FencingError, match=r"it still reads on.*given up after"):
            made.fence()
        assert liar.power(system) == "On"

    def test_a_bmc_that_has_gone_proves_nothing(
        self,
        service: ironic_service.Ironic,
        access: dict[str, Any],
        tmp_path: Path,
    ) -> None:
        with bmc.emulator(tmp_path / "gone", systems=1) as gone:
            node = service.redfish_node("six", gone, gone.fresh())
        made = driver(node=node, timeout=8, **access)

        with pytest.raises(FencingError, match="given up after"):
            made.fence()


class TestSettings:
    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({}, "cloud: give it, or endpoint, and not both"),
            ({"cloud": "a", "endpoint": "http://b"}, "cloud: give it, or endpoint, and not both"),
            ({"endpoint": "http://u:pw123@b"}, "endpoint: must not hold credentials"),
            ({"endpoint": "http://b", "username": "u"}, "password_file: give it"),
            ({"endpoint": "http://b", "password_env": "X"}, "username: missing"),
            ({"cloud": "a", "clouds_file": "/none"}, "clouds_file: /none: No such file"),
        ],
    )
    def test_what_cannot_work_is_refused_at_once(self, given: dict[str, Any], says: str) -> None:
        with pytest.raises(SettingError) as caught:
            driver(**given)

        assert says in str(caught.value) and "pw123" not in str(caught.value)
