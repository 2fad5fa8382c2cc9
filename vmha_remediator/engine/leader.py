# SPDX-License-Identifier: Apache-2.0
"""Who leads: one lock in tooz, for as long as the process lives or its session lasts.

The lock only keeps replicas from working against each other. That a deposed leader can do no
harm is the store's part: it refuses the writes of an elder epoch. Therefore a leader that can no
longer reach the coordination service goes on leading; whoever takes over deposes it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import tooz
from oslo_config import cfg
from oslo_log import log
from tooz import coordination

from vmha_remediator.store import hints

LOG = log.getLogger(__name__)
LOCK = b"vmha-engine"
#: Drivers whose locks only reach the processes of one machine.
LOCAL = frozenset({"file", "ipc"})
#: A request to the service may take this long, and an engine's lock outlives it by that, unless
#: the URL says otherwise; seconds.
DEFAULTS = {"timeout": "5", "lock_timeout": "15"}
#: The lock is renewed that often even if nobody asks.
RENEW = 4.0
#: Longest wait of a cycle for the service, and for its first answer.
ANSWER, FIRST = 2.0, 10.0
#: A loop that has not come round for this long is stuck: its lock is left to expire.
STUCK = 60.0
#: An engine of another machine that said nothing for this long does not lead any more; it says
#: something every five seconds.
RIVAL = 15.0


def engine_name(conf: cfg.ConfigOpts) -> str:
    """Return this engine's name for logs and the database."""
    return str(conf.engine.name or f"{socket.gethostname()}:{os.getpid()}")


def is_local(url: str) -> bool:
    """Tell whether engines on other machines cannot see this URL's locks."""
    return urlsplit(url).scheme in LOCAL


def with_timeouts(url: str) -> str:
    """Return a service's URL with our time-outs where it names none: tooz waits for 30 s."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") and not parts.scheme.startswith("etcd3"):
        return url
    query = {**DEFAULTS, **dict(parse_qsl(parts.query))}
    return urlunsplit(parts._replace(query=urlencode(query)))


class Leader:
    """Leadership by a tooz lock; nothing here waits long for the service."""

    def __init__(self, url: str, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.shared = not is_local(url)
        self.trouble = ""  # why coordination does not work, for the cycle's sentence
        self._url, self._name, self._clock = with_timeouts(url), name, clock
        self._session: _Session | None = None
        self._number = 0
        self._wins = 0  # of the session, that are counted in the number

    def hold(self) -> int | None:
        """Return the number of this leadership, a new one each time it is won; None: not now."""
        if self._session is None:
            self._session, self._wins = _Session(self._url, self._name, self._clock), 0
        self._session.ask()
        self.trouble = self._session.trouble
        if not self._session.leads:
            return None
        if self._session.wins != self._wins:
            self._wins = self._session.wins
            self._number += 1
        return self._number

    def stop(self) -> None:
        """Give the lock back, so that another replica need not wait."""
        session, self._session = self._session, None
        if session is not None:
            session.end()


class _Session:
    """The connection to the coordination service, in a thread of its own.

    Its library may try again for minutes when the service is gone, and a slow cycle must not
    cost the lock.
    """

    def __init__(self, url: str, name: str, clock: Callable[[], float]) -> None:
        self.leads = False
        self.wins = 0
        self.trouble = ""
        self._url, self._name, self._clock = url, name, clock
        self._coordinator: Any = None
        self._lock: Any = None
        self._asked = clock()
        self._question, self._answer = threading.Event(), threading.Event()
        self._over = self._known = False
        self._thread = threading.Thread(target=self._live, name="leader", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Have it look now, and wait a moment for what it finds."""
        self._asked = self._clock()
        self._answer.clear()
        self._question.set()
        if not self._answer.wait(ANSWER if self._known else FIRST):
            self.trouble = self.trouble or "the coordination service does not answer"

    def end(self) -> None:
        """Give the lock back; does not wait for a service that is gone."""
        self._over = True
        self._question.set()
        self._thread.join(ANSWER)

    def _live(self) -> None:
        while not self._over:
            if self._clock() - self._asked <= STUCK:
                self._look()
            self._known = True
            self._answer.set()
            self._question.wait(RENEW)
            self._question.clear()
        self._leave()

    def _look(self) -> None:
        try:
            self._renew()
        except Exception as exc:  # noqa: BLE001 (drivers let their libraries' errors through)
            why = " ".join(str(exc).split()) or type(exc).__name__
            if not self.trouble:
                LOG.warning("[engine] coordination_url cannot be used: %s", why)
            self.trouble = f"[engine] coordination_url cannot be used: {why}"
            if not self.leads:
                self._leave()
        else:
            self.trouble = ""

    def _renew(self) -> None:
        if self._coordinator is None:
            coordinator = coordination.get_coordinator(self._url, self._name.encode())
            coordinator.start()
            self._coordinator, self._lock = coordinator, coordinator.get_lock(LOCK)
        self._coordinator.heartbeat()
        if not self.leads:
            self.leads = bool(self._lock.acquire(blocking=False))
            self.wins += self.leads
        elif not self._is_mine():
            LOG.warning("Leadership was lost: the lock has expired")
            self._leave()

    def _is_mine(self) -> bool:
        try:
            return bool(self._lock.is_still_owner())
        except tooz.NotImplemented:
            return True  # etcd cannot say; whoever took it over makes the database say it

    def _leave(self) -> None:
        """Give everything back; the next look begins anew."""
        self.leads = False
        coordinator, lock = self._coordinator, self._lock
        self._coordinator = self._lock = None
        if coordinator is None:
            return
        try:
            if lock is not None and lock.acquired:
                lock.release()
            coordinator.stop()
        except Exception as exc:  # noqa: BLE001 (as above; it only expires later)
            LOG.debug("While leaving the coordination service: %s", exc)


class Rival:
    """Whether an engine of another machine shows life in the database.

    A lock file keeps the engines of one machine apart only. Without this, engines on two
    machines would depose each other for ever. Life is what changes; clocks are not compared.
    """

    def __init__(self, name: str) -> None:
        self._machine = _machine(name)
        self._seen: tuple[int, float | None] | None = None
        self._since = 0.0

    def alive(self, leader: hints.Leader | None, now: float) -> bool:
        """Tell whether `leader` is another machine's and may still lead; `now` is monotonic."""
        if leader is None or _machine(leader.owner) == self._machine:
            return False
        seen = (leader.epoch, leader.said_at)
        if seen != self._seen:
            self._seen, self._since = seen, now
        return now - self._since < RIVAL


def _machine(name: str) -> str:
    return name.rpartition(":")[0] or name
