# SPDX-License-Identifier: Apache-2.0
"""Running a driver with an end: whatever a driver does, its caller goes on in time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from oslo_log import log

from vmha_remediator.errors import FencingError

LOG = log.getLogger(__name__)
T = TypeVar("T")


class Bounded:
    """Runs calls in daemon threads and gives up on those that take too long.

    A thread cannot be stopped from outside, so one that was given up may go on; until it
    ends, no second one is started for the same key: hung BMCs must not pile threads up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, threading.Thread] = {}

    def run(self, key: str, seconds: float, call: Callable[[], T]) -> T:
        """Return `call()`; raises `FencingError` from it, or when it takes longer."""
        outcome: queue.SimpleQueue[tuple[T | None, FencingError | None]] = queue.SimpleQueue()
        thread = threading.Thread(
            target=_run, args=(key, call, outcome), name=f"fence-{key}", daemon=True
        )
        with self._lock:
            before = self._running.get(key)
            if before is not None and before.is_alive():
                raise FencingError("an earlier attempt is still under way; none was added to it")
            self._running[key] = thread
            thread.start()
        try:
            value, error = outcome.get(timeout=seconds)
        except queue.Empty:
            raise FencingError(f"no end after {seconds:g} s; given up") from None
        with self._lock:
            self._running.pop(key, None)
        if error is not None:
            raise error
        return value  # type: ignore[return-value]


def _run(
    key: str,
    call: Callable[[], T],
    outcome: queue.SimpleQueue[tuple[T | None, FencingError | None]],
) -> None:
    try:
        outcome.put((call(), None))
    except FencingError as exc:
        outcome.put((None, exc))
    except Exception as exc:
        # The rim: a driver's bug must not stop the engine.
        LOG.exception("Fencing %s failed in an unexpected way", key)
        outcome.put((None, FencingError(f"unexpected {type(exc).__name__}; see the log")))
