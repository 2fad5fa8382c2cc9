# SPDX-License-Identifier: Apache-2.0
"""Who leads: one lock in tooz, for as long as the process lives or its session lasts.

The lock only keeps replicas from working against each other. That a deposed leader can do no
harm is the store's part: it refuses the writes of an elder epoch.
"""

from __future__ import annotations

import os
import socket
from typing import Any

import tooz
from oslo_config import cfg
from oslo_log import log
from tooz import coordination

LOG = log.getLogger(__name__)
LOCK = b"vmha-engine"


def engine_name(conf: cfg.ConfigOpts) -> str:
    """Return this engine's name for logs and the database."""
    return str(conf.engine.name or f"{socket.gethostname()}:{os.getpid()}")


class Leader:
    """Leadership by a tooz lock; when the coordination service is down, nobody leads."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name
        self._coordinator: Any = None
        self._lock: Any = None
        self._number = 0
        self.trouble = ""  # why coordination does not work, for the cycle's sentence

    def hold(self) -> int | None:
        """Return the number of this leadership, a new one each time it is won; None: not now."""
        try:
            self._start()
            self._coordinator.heartbeat()
            if self._lock.acquired:
                if self._lock.is_still_owner():
                    return self._number
                LOG.warning("Leadership was lost: the lock has expired")
                self._drop()
                return None
            if not self._lock.acquire(blocking=False):
                return None
        except (tooz.ToozError, OSError) as exc:
            self.trouble = " ".join(str(exc).split()) or type(exc).__name__
            self._drop()
            return None
        self.trouble = ""
        self._number += 1
        return self._number

    def stop(self) -> None:
        """Give the lock back, so that another replica need not wait."""
        if self._coordinator is None:
            return
        try:
            if self._lock is not None and self._lock.acquired:
                self._lock.release()
            self._coordinator.stop()
        except (tooz.ToozError, OSError) as exc:
            LOG.warning("The leader's lock could not be given back: %s", exc)
        self._coordinator = self._lock = None

    def _start(self) -> None:
        if self._coordinator is not None:
            return
        coordinator = coordination.get_coordinator(self._url, self._name.encode())
        coordinator.start()
        self._coordinator, self._lock = coordinator, coordinator.get_lock(LOCK)

    def _drop(self) -> None:
        """Begin anew at the next try."""
        coordinator, self._coordinator, self._lock = self._coordinator, None, None
        if coordinator is None:
            return
        try:
            coordinator.stop()
        except (tooz.ToozError, OSError) as exc:
            LOG.debug("While leaving the coordination service: %s", exc)
