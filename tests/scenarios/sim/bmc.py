# SPDX-License-Identifier: Apache-2.0
"""The hosts' management controllers, behind the engine's fencing port."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from vmha_remediator.fencing.contract import FenceResult, Heard, Power, Proof
from vmha_remediator.fencing.inventory import Method
from vmha_remediator.fencing.levels import in_order

if TYPE_CHECKING:
    from tests.scenarios.sim.world import World

SWITCH = 1.5  # s until "off" is read back
READ = 0.2
TIMEOUT = 10.0
LOOK = 2.0  # s between two looks of the watchdog's driver
PATIENCE = 120.0  # s that it waits at most

#: What a controller may be like: it works; it does not answer; it says off and does nothing;
#: it switches off and its answer is lost.
MODES = ("works", "dead", "lies", "mute")


class Bmcs:
    """One controller a host."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.mode: dict[str, str] = {}
        self.after_silence: set[str] = set()  # hosts whose watchdog is waited for first

    def fence(self, host: str, heard: Heard) -> FenceResult:
        if host not in self.after_silence:
            return self._switch_off(host)
        ways: dict[str, Callable[[], FenceResult]] = {
            "watchdog": lambda: self._wait_for_silence(host, heard),
            "bmc": lambda: self._switch_off(host),
        }
        levels = [(Method(name, cast(Any, None)),) for name in ways]
        return in_order(levels, lambda method: ways[method.name](), heard)

    def _wait_for_silence(self, host: str, heard: Heard) -> FenceResult:
        """Wait as the watchdog's driver does; no host here has one that would reset it."""
        self._world.log("engine", f"waits whether the watchdog of {host} has reset it")
        until = self._world.clockwork.now + PATIENCE
        while self._world.clockwork.now < until:
            self._world.clockwork.park(LOOK)
            if heard():
                return FenceResult("watchdog", None, f"{host} is heard, or renews its lease")
        return FenceResult("watchdog", None, f"{host} was not silent for long enough")

    def _switch_off(self, host: str) -> FenceResult:
        world, mode = self._world, self.mode.get(host, "works")
        word = world.control.store.confirmation(host)
        world.log("engine", f"asks the BMC of {host} to switch it off")
        if mode == "dead":
            world.clockwork.park(TIMEOUT)
            if word is None:
                return FenceResult("bmc", None, "the BMC does not answer")
            return FenceResult("manual", Proof.POWER_OFF, word)
        began = world.clockwork.now
        world.clockwork.park(SWITCH)
        if world.clockwork.now - began > TIMEOUT:  # who asks was stopped meanwhile
            return FenceResult("bmc", None, "the connection was closed before it was asked")
        if mode != "lies":
            world.fenced(host)
            world.hosts[host].power_off()
            world.log("bmc", f"{host} is off")
        if mode == "mute":
            return FenceResult("bmc", None, "the BMC did not answer in time")
        return FenceResult("bmc", Proof.POWER_OFF, "its power reads off")

    def power(self, host: str) -> Power:
        mode = self.mode.get(host, "works")
        if mode == "dead":
            self._world.clockwork.park(TIMEOUT)
            return Power.UNKNOWN
        self._world.clockwork.park(READ)
        if mode == "lies":
            return Power.OFF
        return Power.ON if self._world.hosts[host].powered else Power.OFF
