# SPDX-License-Identifier: Apache-2.0
"""The last things that happened to a lease, for people."""

from __future__ import annotations

import time
from collections import deque


class Events:
    """The last things that happened to this host's lease, with the wall clock, for people."""

    def __init__(self, most: int = 10) -> None:
        self._kept: deque[tuple[float, str]] = deque(maxlen=most)

    def add(self, sentence: str) -> None:
        """Remember `sentence` as happening now; one that is repeated only gets a new time."""
        kept = self._kept
        if kept and kept[-1][1] == sentence:
            kept.pop()
        kept.append((time.time(), sentence))

    def told(self) -> list[tuple[float, str]]:
        """Return them, oldest first."""
        return list(self._kept)
