# SPDX-License-Identifier: Apache-2.0
"""Fencing a host: its drivers in order, until one proves that the host is off."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from oslo_config import cfg
from oslo_log import log

from vmha_remediator.errors import ConfigError, FencingError
from vmha_remediator.fencing import inventory
from vmha_remediator.fencing.bounded import Bounded
from vmha_remediator.fencing.contract import FenceResult, Finding, Heard, Power
from vmha_remediator.fencing.inventory import Confirmed, Inventory, Level, Method
from vmha_remediator.fencing.levels import in_order, level_name, together
from vmha_remediator.fencing.poweroff import POLL
from vmha_remediator.fencing.watchdog import Evidence

LOG = log.getLogger(__name__)

#: Seconds on top of a driver's own time-out before its thread is given up: a driver that
#: keeps its promise ends by itself and gives the better reason.
GRACE = 5.0
#: The driver's name in a result when there was none to try.
NONE = "none"
T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """What one driver says about one host."""

    driver: str
    power: Power
    sentence: str
    ok: bool
    pinned: bool  # it would notice that another machine answers for the host's


@dataclass(frozen=True)
class Rehearsal:
    """How powering off and on went by one level; `ok` is None where it could not be tried."""

    level: str
    ok: bool | None
    sentence: str


class Fencer:
    """Fences hosts as the file `[fencing] hosts_file` says; safe to use from threads.

    The file is read for every attempt, so that an operator who repairs an entry needs no
    restart. Raises `ConfigError` at construction when the file cannot be used at all.
    """

    def __init__(
        self, conf: cfg.ConfigOpts, confirmed: Confirmed, evidence: Evidence | None = None
    ) -> None:
        self._path: str = conf.fencing.hosts_file
        self._timeout = float(conf.fencing.timeout)
        self._confirmed = confirmed
        self._evidence = evidence
        self._bounded = Bounded()
        found = self._inventory()
        if not found.hosts:
            LOG.warning("%s names no host: every failure will be held for a person", self._path)
        for problem in found.problems.values():
            LOG.error("%s; until then this host's failure is held for a person", problem)
        for note in found.notes:
            LOG.warning("%s", note)

    def hosts(self) -> list[str]:
        """Return the hosts named in the file. Raises `ConfigError`."""
        return self._inventory().hosts

    def trouble(self, host: str) -> str | None:
        """Return why `host` cannot be fenced at all, with the way out, or None."""
        return self._inventory().trouble(host)

    def drivers(self, host: str) -> list[str]:
        """Return the names of the host's drivers in the order in which they are tried."""
        levels = self._inventory().levels.get(host, ())
        return [method.name for level in levels for method in level]

    def fence(self, host: str, heard: Heard) -> FenceResult:
        """Return the first result with a proof, else one without and with everybody's reason.

        Nobody else is asked once the host is `heard` again. Never raises for a driver, a BMC or
        the hosts file: no proof is an answer, too.
        """
        try:
            found = self._inventory()
        except ConfigError as exc:
            return FenceResult(NONE, None, str(exc))
        trouble = found.trouble(host)
        if trouble is not None:
            return FenceResult(NONE, None, trouble)
        return in_order(found.levels[host], partial(self._attempt, host), heard)

    def power(self, host: str) -> Power:
        """Return the power state from the first level that knows it; never raises.

        Off is believed, as by the drivers themselves, only when it is read twice in a row.
        """
        try:
            levels = self._inventory().levels.get(host, ())
        except ConfigError:
            return Power.UNKNOWN
        for level in levels:
            state = self._power_of(host, level)
            if state is Power.OFF:
                time.sleep(POLL)
                state = self._power_of(host, level)
            if state is not Power.UNKNOWN:
                return state
        return Power.UNKNOWN

    def powers(self, host: str) -> list[Reading]:
        """Return what each of the host's drivers reads, in order. Raises `ConfigError`."""
        levels = self._inventory().levels.get(host, ())
        return [reading for level in levels for reading in self._read_level(host, level)]

    def check(self, host: str) -> dict[str, list[Finding]]:
        """Return a dry check of every driver: name -> findings. Raises `ConfigError`."""
        findings: dict[str, list[Finding]] = {}
        for level in self._inventory().levels.get(host, ()):
            for method in level:
                try:
                    findings[method.name] = self._bound(host, method, "check", method.driver.check)
                except FencingError as exc:
                    findings[method.name] = [Finding(False, str(exc))]
        return findings

    def listed(self) -> Inventory:
        """Return what the file says of every host, mistakes included. Raises `ConfigError`."""
        return self._inventory()

    def rehearse(self, host: str) -> list[Rehearsal]:
        """Power the host off and on again, by each level that can do both, and tell how it went.

        Nobody asks here whether that does harm. Raises `ConfigError`.
        """
        levels = self._inventory().levels.get(host, ())
        return [self._rehearse(host, level) for level in levels]

    def _rehearse(self, host: str, level: Level) -> Rehearsal:
        name = level_name(level)
        if not all(hasattr(method.driver, "switch_on") for method in level):
            return Rehearsal(name, None, "cannot be tried: it does not switch power")
        result = together(level, partial(self._attempt, host))
        said = [result.evidence]
        on = True
        for method in level:
            try:
                switch_on: Callable[[], None] = method.driver.switch_on  # type: ignore[attr-defined]
                self._bound(host, method, "switch-on", switch_on)
            except FencingError as exc:
                said.append(str(exc))
                on = False
        said.append("asked to go on again" if on else f"{host} WAS LEFT OFF: switch it on by hand")
        return Rehearsal(name, result.proof is not None and on, "; ".join(said))

    def _inventory(self) -> Inventory:
        return inventory.load(
            self._path,
            timeout=self._timeout,
            confirmed=self._confirmed,
            evidence=self._evidence,
        )

    def _attempt(self, host: str, method: Method) -> FenceResult:
        """Return what one method has proven, or why it has not."""
        try:
            result = self._bound(host, method, "fence", method.driver.fence)
        except FencingError as exc:
            result = FenceResult(method.name, None, str(exc))
        LOG.info("Fencing %s by %s: %s", host, method.name, result.evidence)
        return result

    def _power_of(self, host: str, level: Level) -> Power:
        """Return what all of a level's methods read now: on if one does, off if all do."""
        states = {reading.power for reading in self._read_level(host, level)}
        if Power.ON in states:
            return Power.ON
        return Power.OFF if states == {Power.OFF} else Power.UNKNOWN

    def _read_level(self, host: str, level: Level) -> list[Reading]:
        return [self._read(host, method) for method in level]

    def _read(self, host: str, method: Method) -> Reading:
        pinned: bool = getattr(method.driver, "pinned", True)
        try:
            power = self._bound(host, method, "power", method.driver.power)
        except FencingError as exc:
            return Reading(method.name, Power.UNKNOWN, str(exc), ok=False, pinned=pinned)
        return Reading(method.name, power, f"reads {power.value}", ok=True, pinned=pinned)

    def _bound(self, host: str, method: Method, what: str, call: Callable[[], T]) -> T:
        seconds = self._timeout
        if what == "fence":  # one that proves by waiting says for how long
            seconds = getattr(method.driver, "patience", seconds)
        return self._bounded.run(f"{host} {method.name} {what}", seconds + GRACE, call)
