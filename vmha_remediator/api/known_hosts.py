# SPDX-License-Identifier: Apache-2.0
"""Which hosts exist, remembered, so that a webhook never waits for telemetry."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from oslo_log import log

from vmha_remediator.errors import VmhaError

LOG = log.getLogger(__name__)

#: Seconds for which a list of hosts is good enough to refuse a host that is not in it.
FRESH = 10.0


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="known-hosts", daemon=True).start()


class KnownHosts:
    """Tells whether a host publishes measures; in doubt it says yes.

    The signature already proves that `alarms sync` made the address, so only a fresh list
    may refuse. Lists are fetched aside: the caller answers within milliseconds.
    """

    def __init__(
        self,
        fetch: Callable[[], Iterable[str]],
        *,
        clock: Callable[[], float] = time.monotonic,
        aside: Callable[[Callable[[], None]], None] = _in_background,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._aside = aside
        self._lock = threading.Lock()
        self._hosts: frozenset[str] = frozenset()
        self._fetched: float | None = None
        self._asked: float | None = None

    def __call__(self, host: str) -> bool:
        """Return False only when a fresh list does not hold `host`."""
        now = self._clock()
        with self._lock:
            fresh = self._fetched is not None and now - self._fetched < FRESH
            asked = self._asked is not None and now - self._asked < FRESH
            if not fresh and not asked:
                self._asked = now
                self._aside(self._refresh)
            return not fresh or host in self._hosts

    def _refresh(self) -> None:
        try:
            hosts = frozenset(self._fetch())
        except VmhaError as exc:
            LOG.warning("The list of hosts is not known now (%s); every host is let in", exc)
            return
        with self._lock:
            self._hosts, self._fetched = hosts, self._clock()
