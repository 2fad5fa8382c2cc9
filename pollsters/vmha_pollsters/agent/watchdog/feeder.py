# SPDX-License-Identifier: Apache-2.0
"""`vmha-agent watchdog`: the small process that feeds, and outlives the agent.

Three threads: one feeds and never touches storage or the agent's socket, one listens to the
agent, one looks at the slot. What they know is in `Feeder.known`, replaced under a lock.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import socketserver
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from vmha_pollsters.agent.watchdog import feeding
from vmha_pollsters.agent.watchdog.contract import Watchdog
from vmha_pollsters.agent.watchdog.feeding import Known
from vmha_pollsters.conf import no_driver
from vmha_remediator.errors import LeaseError, WatchdogError
from vmha_remediator.rules import timing

LOG = logging.getLogger(__name__)

#: Feeds in one time-out of the watchdog, and the longest pause between two (s).
FEEDS, LONGEST = 5.0, 1.0
LOOK_EVERY, LOOK_SELDOM = 1.0, 10.0
ARM_AGAIN = 10.0
MODE = 0o600


class Promise(Protocol):
    """The promise in this host's slot."""

    def withdraw(self) -> bool: ...


class Feeder:
    """Feeds one watchdog while `feeding.decide` says so; `run` returns when it was disarmed."""

    def __init__(
        self,
        device: Watchdog,
        promise: Promise,
        lease_interval: float,
        heartbeat_interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._promise = promise
        self._intervals = (lease_interval, heartbeat_interval)
        self._window = timing.grounds_last(lease_interval)
        self._clock = clock
        self._lock = threading.Lock()
        self._said: object = None
        self._arm_at = float("-inf")
        self.stop = threading.Event()
        self.known = Known(promised=clock(), gone=clock())
        self.timeout = 0.0  # of the device; 0: not armed
        self.fed = False  # the last feed was one, and succeeded
        self.problem: str | None = None

    def run(self) -> None:
        """Feed until stopped and nobody relies on the watchdog any more."""
        looker = threading.Thread(target=self._look_on, name="looker", daemon=True)
        looker.start()
        while not self.step():
            pause = min(LONGEST, self.timeout / FEEDS) if self.timeout else LONGEST / FEEDS
            time.sleep(pause)

    def step(self) -> bool:
        """Decide and feed once; return True when the watchdog is stopped for good."""
        now = self._clock()
        closing = self.stop.is_set()
        with self._lock:
            known = self.known
        decision = feeding.decide(known, now, self._window, closing)
        if closing and (not self.timeout or feeding.is_free(known, now, self._window)):
            return self._disarm()
        if not self.timeout and decision.feed:  # it may run since an earlier feeder
            self._arm(now)
        self.fed = bool(self.timeout) and decision.feed and self._feed()
        self._say(decision)
        return False

    def heard(self, grounds: float | None) -> dict[str, Any]:
        """Take in an agent's word and return the answer to it."""
        now = self._clock()
        with self._lock:
            known = replace(self.known, gone=None)
            if grounds is not None and grounds <= now:
                known = replace(known, grounds=max(grounds, known.grounds or grounds))
            decision = feeding.decide(known, now, self._window, self.stop.is_set())
            armed = decision.may_promise and self.fed
            # Written down before it is said: from here on the slot may hold the promise.
            self.known = replace(known, promised=now) if armed else known
        return {
            "armed": armed,
            "timeout": self.timeout,
            "promise": timing.promise(self.timeout, *self._intervals),
            "problem": self.problem,
        }

    def lost(self) -> None:
        """Take note that the agent's connection has ended."""
        with self._lock:
            self.known = replace(self.known, gone=self._clock())

    def look(self) -> None:
        """Look at the slot, if that is due, and take back a promise that is there."""
        began = self._clock()
        with self._lock:
            known = self.known
        if not feeding.wants_look(known, began, self.stop.is_set()):
            return
        try:
            unarmed = self._promise.withdraw()
        except (OSError, LeaseError) as exc:
            LOG.warning("cannot look at this host's slot: %s", exc)
            unarmed = False
        with self._lock:
            # An agent that spoke, or went, meanwhile has made this look an old one.
            self.known = feeding.looked(self.known, began, unarmed)

    def _look_on(self) -> None:
        while True:
            self.look()
            time.sleep(LOOK_SELDOM if feeding.is_settled(self.known) else LOOK_EVERY)

    def _arm(self, now: float) -> None:
        if now < self._arm_at:
            return
        try:
            self.timeout = self._device.arm()
        except WatchdogError as exc:
            self._arm_at, self.problem = now + ARM_AGAIN, str(exc)
            LOG.error("%s; trying again", exc)
            return
        self.problem = None
        LOG.info(
            "the watchdog is armed: it fires %.0f s after the last feed; this host is reset at "
            "most %.1f s after its last grounds to live",
            self.timeout,
            timing.promise(self.timeout, *self._intervals),
        )

    def _feed(self) -> bool:
        try:
            self._device.feed()
        except WatchdogError as exc:
            self.problem = str(exc)
            LOG.critical("%s", exc)
            return False
        self.problem = None
        return True

    def _disarm(self) -> bool:
        if self.timeout:
            try:
                self._device.disarm()
            except WatchdogError as exc:
                LOG.critical("%s", exc)
                return False
        LOG.info("nobody relies on the watchdog any more; it is stopped")
        return True

    def _say(self, decision: feeding.Decision) -> None:
        state = (decision.feed, decision.may_promise)
        if state == self._said or not self.timeout:
            return
        self._said = state
        level = logging.INFO if decision.feed else logging.CRITICAL
        LOG.log(level, "%s: %s", "feeding" if decision.feed else "NOT FEEDING", decision.why)


class _Handler(socketserver.StreamRequestHandler):
    server: Ear

    def handle(self) -> None:
        feeder = self.server.feeder
        try:
            for line in self.rfile:
                answer = feeder.heard(json.loads(line)["grounds"])
                self.wfile.write(json.dumps(answer).encode() + b"\n")
        except (OSError, ValueError, KeyError, TypeError) as exc:
            LOG.warning("the agent's line: %s", exc)
        finally:
            feeder.lost()


class Ear(socketserver.UnixStreamServer):
    """Listens to one agent at a time; the next one is heard when its line has ended."""

    def __init__(self, path: str, feeder: Feeder) -> None:
        self.feeder = feeder
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).unlink(missing_ok=True)
        super().__init__(path, _Handler)
        Path(path).chmod(MODE)
        threading.Thread(target=self.serve_forever, args=(0.5,), name="ear", daemon=True).start()


def load_driver(settings: Any) -> Watchdog:
    """Return the watchdog driver named in the configuration; raises `ConfigError`."""
    from stevedore import driver, exception

    try:
        manager = driver.DriverManager(
            "vmha.watchdog",
            settings.watchdog_driver,
            invoke_on_load=True,
            invoke_args=(settings,),
        )
    except exception.NoMatches as exc:
        raise no_driver("watchdog_driver", settings.watchdog_driver, "vmha.watchdog") from exc
    loaded: Watchdog = manager.driver
    return loaded


def harden() -> None:
    """Be the last that is starved, swapped out or killed; as far as permitted."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-1000")
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    ctypes.CDLL(None).mlockall(3)  # MCL_CURRENT | MCL_FUTURE; refused without the privilege
