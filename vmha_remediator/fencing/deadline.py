# SPDX-License-Identifier: Apache-2.0
"""An end for everything that one fencing attempt does together."""

from __future__ import annotations

import time


class Deadline:
    """A moment of the monotonic clock by which everything has to be done."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Return the seconds until the end; negative when it has passed."""
        return self.seconds - self.elapsed

    def allow(self, seconds: float) -> None:
        """Move the end so that at least `seconds` are left, for cleaning up."""
        self.seconds = max(self.seconds, self.elapsed + seconds)
