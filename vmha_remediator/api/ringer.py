# SPDX-License-Identifier: Apache-2.0
"""Ringing: one row for the engine, and never a queue of callers before a database that hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from vmha_remediator.api.webhook import RETRY_AFTER
from vmha_remediator.errors import StoreUnavailable

#: Writes the row: rule, host, source. Raises `StoreUnavailable`.
Write = Callable[[str, str, str], None]

SOURCE = "webhook"


class Ringer:
    """Writes the row and wakes the engine, which is woken even when the row is not written.

    After a failure one caller at a time, once in `RETRY_AFTER` s, tries the database; all others
    are refused at once. A database that hangs would otherwise hold every caller for its whole
    time-out, and Aodh's notifier, which serves all tenants, with them.
    """

    def __init__(
        self,
        write: Write,
        doorbell: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._doorbell = doorbell
        self._clock = clock
        self._lock = threading.Lock()
        self._try_at: float | None = None  # None: the latest write went well

    def __call__(self, rule: str, host: str) -> None:
        """Leave word that `host` should be looked at; raises `StoreUnavailable`."""
        try:
            self._pass()
            self._write(rule, host, SOURCE)
        except StoreUnavailable:
            with self._lock:
                self._try_at = self._try_at or self._clock() + RETRY_AFTER
            raise
        finally:
            if self._doorbell is not None:
                self._doorbell.set()
        with self._lock:
            self._try_at = None

    def _pass(self) -> None:
        """Let this caller try, or refuse it because the database has just failed."""
        with self._lock:
            if self._try_at is None:
                return
            now = self._clock()
            if now < self._try_at:
                raise StoreUnavailable("the database has just failed; it is tried again soon")
            self._try_at = now + RETRY_AFTER  # this caller tries; the others wait for it
