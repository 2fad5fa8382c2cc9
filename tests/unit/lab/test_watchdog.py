# SPDX-License-Identifier: Apache-2.0
"""The emulated watchdog does what a board's own would, and the agent's driver can talk to it."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.lab import layout, redfish, watchdog
from tests.lab.watchdog_daemon import Dog, serve
from vmha_pollsters.agent.watchdog.socket import SocketWatchdog
from vmha_remediator.errors import WatchdogError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_acts_once_when_it_is_not_fed_in_time() -> None:
    clock, acted = Clock(), []
    dog = Dog(lambda: acted.append(clock.now), clock)
    assert dog.obey("arm 5") == "armed 5"
    for clock.now in (104.0, 108.0, 112.9):
        assert dog.obey("feed") == "fed"
    clock.now = 117.9
    dog.check()
    dog.check()
    assert acted == [117.9]


def test_a_feed_that_comes_too_late_saves_nobody() -> None:
    clock, acted = Clock(), []
    dog = Dog(lambda: acted.append(clock.now), clock)
    dog.obey("arm 5")
    clock.now = 105.0
    assert dog.obey("feed") == "refused feed"
    assert acted == [105.0]


def test_one_that_was_stopped_or_never_armed_does_nothing() -> None:
    clock = Clock()
    dog = Dog(pytest.fail, clock)
    assert dog.left() is None
    dog.obey("arm 5")
    assert dog.obey("disarm") == "disarmed"
    clock.now = 1000.0
    dog.check()


def test_the_agents_driver_arms_feeds_and_starves_it(tmp_path: Path) -> None:
    starved = threading.Event()
    path = tmp_path / "dog"
    threading.Thread(target=serve, args=(Dog(starved.set), path), daemon=True).start()
    driver = SocketWatchdog(SimpleNamespace(watchdog_device=str(path), watchdog_timeout=0.3))
    for _ in range(500):
        try:
            assert driver.arm() == 0.3
            break
        except WatchdogError:
            threading.Event().wait(0.01)
    driver.feed()
    assert not starved.is_set()
    assert starved.wait(10)


def test_only_hosts_that_were_given_one_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "STATE", tmp_path)
    assert watchdog.agent_options("h1") == {}
    watchdog._save({"h1"})
    assert (watchdog.enabled("h1"), watchdog.enabled("h2")) == (True, False)
    assert watchdog.agent_options("h1")["watchdog_driver"] == "socket"


def test_a_host_is_fenced_by_the_drivers_named_and_then_as_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "ETC", tmp_path)
    file = tmp_path / "vmha/fencing.yaml"
    file.parent.mkdir()
    usual = {"h1": redfish.pinned("h1")}
    file.write_text(yaml.safe_dump({"defaults": {"drivers": ["redfish"]}, "hosts": usual}))
    watchdog.fence_by("h1", ["watchdog"])
    assert yaml.safe_load(file.read_text())["hosts"] == {"h1": {"drivers": ["watchdog"]}}
    watchdog.fence_by("h1", None)
    assert yaml.safe_load(file.read_text())["hosts"] == usual
