# SPDX-License-Identifier: Apache-2.0
"""The feeder: what it tells an agent, when it feeds, and how it stops. Time is the test's."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from vmha_pollsters.agent import area
from vmha_pollsters.agent.storage.slotfile import SlotFile
from vmha_pollsters.agent.storage.table import read_table
from vmha_pollsters.agent.watchdog.feeder import Ear, Feeder
from vmha_pollsters.agent.watchdog.promise import SlotPromise
from vmha_pollsters.agent.watchdog.tether import Armed, Tether
from vmha_pollsters.lease.layout import FIRST_HOST, Flag, Slot, pack_slot
from vmha_remediator.errors import WatchdogError


class Device:
    """A watchdog that fires 10 s after its last feed."""

    name: ClassVar[str] = "test"

    def __init__(self, settings: object = None) -> None:
        self.fed: list[str] = []
        self.broken = False

    def _do(self, what: str) -> None:
        if self.broken:
            raise WatchdogError("the device is gone")
        self.fed.append(what)

    def arm(self) -> float:
        self._do("arm")
        return 10.0

    def feed(self) -> None:
        self._do("feed")

    def disarm(self) -> None:
        self._do("disarm")


class Slots:
    """The host's slot: with a promise or without, reachable or not."""

    def __init__(self) -> None:
        self.armed, self.reachable = True, True

    def withdraw(self) -> bool:
        if not self.reachable:
            raise OSError(5, "Input/output error")
        self.armed = False
        return True


class World:
    def __init__(self) -> None:
        self.now = 1000.0
        self.device, self.slot = Device(), Slots()
        self.feeder = Feeder(self.device, self.slot, 2.0, clock=lambda: self.now)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.now += 1.0
            self.feeder.look()
            self.feeder.step()

    def agent_says(self, grounds: float | None) -> bool:
        return bool(self.feeder.heard(grounds)["armed"])

    def well(self) -> None:
        """An agent with grounds, told that it may promise."""
        self.agent_says(self.now)
        self.feeder.step()
        assert self.agent_says(self.now)
        self.slot.armed = True

    @property
    def last_fed(self) -> str:
        before = len(self.device.fed)
        self.feeder.step()
        return "fed" if self.device.fed[before:] == ["feed"] else "starves"


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_armed_before_an_agent_has_grounds(world: World) -> None:
    world.slot.reachable = False
    assert not world.agent_says(None)
    world.pass_time(5)
    assert world.device.fed == []


def test_an_agent_may_promise_once_it_was_armed_and_fed(world: World) -> None:
    assert not world.agent_says(world.now)
    world.feeder.step()
    assert world.device.fed == ["arm", "feed"]
    answer = world.feeder.heard(world.now)
    assert (answer["armed"], answer["timeout"], answer["promise"]) == (True, 10.0, 36.5)


def test_it_starves_when_the_grounds_are_older_than_the_window(world: World) -> None:
    world.well()
    world.slot.reachable = False
    grounds = world.now
    for _ in range(8):
        world.pass_time(1)
        world.agent_says(grounds)
    assert world.last_fed == "fed"
    world.pass_time(1)
    assert world.last_fed == "starves"
    assert not world.agent_says(grounds)


def test_a_killed_agent_costs_nobody_his_life(world: World) -> None:
    world.well()
    world.feeder.lost()
    world.pass_time(600)
    assert world.last_fed == "fed"
    assert not world.slot.armed


def test_unless_its_promise_cannot_be_taken_back(world: World) -> None:
    world.well()
    world.slot.reachable = False
    world.feeder.lost()
    world.pass_time(9)
    assert world.last_fed == "starves"


def test_a_stopped_agent_loses_its_promise_and_no_vm(world: World) -> None:
    world.well()
    world.pass_time(60)
    assert world.last_fed == "fed"
    assert not world.slot.armed


def test_grounds_from_the_future_are_none(world: World) -> None:
    assert not world.agent_says(world.now + 5.0)
    world.feeder.step()
    assert world.device.fed == []


def test_a_device_that_cannot_be_fed_allows_no_new_promise(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.well()
    world.device.broken = True
    with caplog.at_level(logging.CRITICAL):
        world.feeder.step()
    assert not world.agent_says(world.now)
    assert "the device is gone" in caplog.text


def test_it_stops_only_when_the_slot_holds_no_promise(world: World) -> None:
    world.well()
    world.slot.reachable = False
    world.feeder.stop.set()
    world.pass_time(1)
    assert world.last_fed == "fed"
    assert not world.agent_says(world.now)
    world.slot.reachable = True
    world.now += 1.0
    world.feeder.look()
    assert world.feeder.step()
    assert world.device.fed[-1] == "disarm"


def test_an_agent_is_told_over_the_socket(world: World, tmp_path: Path) -> None:
    path = str(tmp_path / "w.sock")
    ear = Ear(path, world.feeder)
    tether = Tether(path)
    assert tether.tell(world.now) is None
    world.feeder.step()
    assert tether.tell(world.now) == Armed(10.0, 36.5)
    tether.close()
    ear.shutdown()
    ear.server_close()


def test_without_a_feeder_nothing_is_promised(tmp_path: Path) -> None:
    tether = Tether(str(tmp_path / "nobody"))
    assert tether.tell(1.0) is None
    assert "does not answer" in (tether.problem or "")


BOOT, OTHER_BOOT = uuid.UUID(int=1), uuid.UUID(int=2)


class TestTakingThePromiseBack:
    @pytest.fixture
    def blocks(self, tmp_path: Path) -> SlotFile:
        header = area.init(str(tmp_path / "slots"), 4, "c")
        blocks = SlotFile(str(tmp_path / "slots"))
        armed = Slot(
            2,
            "h1",
            "192.0.2.1",
            BOOT,
            b"n" * 16,
            1,
            7,
            Flag.QUALIFIED | Flag.WATCHDOG,
            watchdog_timeout=10.0,
            watchdog_promise=36.5,
        )
        self.uuid, self.armed = header.uuid, armed
        blocks.write(FIRST_HOST + 2, pack_slot(armed, header.uuid))
        return blocks

    def test_the_flag_goes_and_the_sequence_stays(self, blocks: SlotFile) -> None:
        assert SlotPromise(blocks, "c", "h1", BOOT).withdraw()
        slot = read_table(blocks, None, "c", 0).slots[2]
        assert slot == replace(
            self.armed, flags=Flag.QUALIFIED, watchdog_timeout=0.0, watchdog_promise=0.0
        )

    @pytest.mark.parametrize(("host", "boot"), [("h1", OTHER_BOOT), ("h2", BOOT)])
    def test_another_boots_or_hosts_promise_is_left_alone(
        self, blocks: SlotFile, host: str, boot: uuid.UUID
    ) -> None:
        assert SlotPromise(blocks, "c", host, boot).withdraw()
        assert read_table(blocks, None, "c", 0).slots[2] == self.armed
