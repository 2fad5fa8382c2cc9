# SPDX-License-Identifier: Apache-2.0
"""A value that takes long to read: read in a thread of its own, so that nobody waits long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from oslo_log import log

from vmha_remediator.errors import CloudUnavailable, StillReading, VmhaError

LOG = log.getLogger(__name__)

T = TypeVar("T")

#: A value is shown while the next one is read, until it is so many times as old as it should be.
OLD = 3


class Aside(Generic[T]):
    """Reads anew when somebody asks and the value is older than `age` seconds."""

    def __init__(
        self,
        what: str,
        fetch: Callable[[], T],
        age: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Call it `what` in sentences."""
        self._what, self._fetch, self._age, self._clock = what, fetch, age, clock
        self._changed = threading.Condition()
        self._reading = False
        self._at: float | None = None
        self._value: T | VmhaError

    def get(self, wait: float) -> T:
        """Return the value, after at most `wait` seconds; raises `CloudUnavailable`.

        `StillReading` is raised when there is none by then.
        """
        with self._changed:
            if not self._reading and self._older_than(self._age):
                self._reading = True
                threading.Thread(target=self._read, name=self._what, daemon=True).start()
            known = self._changed.wait_for(lambda: not self._older_than(self._age * OLD), wait)
            if not known:
                raise StillReading(f"{self._what} is still being read; ask again in a few seconds")
            value = self._value
        if isinstance(value, VmhaError):
            raise CloudUnavailable(str(value))
        return value

    def _older_than(self, age: float) -> bool:
        return self._at is None or self._at + age <= self._clock()

    def _read(self) -> None:
        value: T | VmhaError
        try:
            value = self._fetch()
        except VmhaError as exc:
            value = exc
        except Exception as exc:  # the thread's rim: readers would wait for ever
            LOG.exception("%s cannot be read", self._what)
            value = CloudUnavailable(f"{self._what} cannot be read: {type(exc).__name__}")
        with self._changed:
            self._value, self._at, self._reading = value, self._clock(), False
            self._changed.notify_all()
