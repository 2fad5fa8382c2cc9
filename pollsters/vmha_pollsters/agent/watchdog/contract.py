# SPDX-License-Identifier: Apache-2.0
"""What a watchdog driver (entry points `vmha.watchdog`) promises."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol


class Watchdog(Protocol):
    """One watchdog, used by one thread. Every method raises `WatchdogError`.

    Once armed it resets the host `timeout` seconds after the last feed, whatever becomes of
    the process that armed it. It has to run on a clock of its own, and count on while the host
    stands still: one that is part of what it watches proves nothing.
    """

    name: ClassVar[str]

    def __init__(self, settings: Any) -> None:
        """Take the [agent] group of the configuration; touches no device."""

    def arm(self) -> float:
        """Start it, or take over one that runs; return its time-out (s), as it says itself."""

    def feed(self) -> None:
        """Put the reset off until one time-out from now."""

    def disarm(self) -> None:
        """Stop it. Only for when nobody relies on it any more."""
