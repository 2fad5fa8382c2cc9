# SPDX-License-Identifier: Apache-2.0
"""PURE: when to publish what. A host that is well once per 6 s, a suspect one every cycle."""

from __future__ import annotations

#: Seconds between publications of a host that is well: Aodh's window (two granularities of
#: 10 s) then always holds three.
EVERY = 6.0
#: Hosts are spread over the polling cycles (2 s) of one such period.
SLOTS = 3
#: A cycle that comes this much early counts as in time; half a polling interval.
SLACK = 1.0


class Pace:
    """Remembers when each host is due; times are monotonic seconds."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def is_due(self, host: str, place: int, urgent: bool, now: float) -> bool:
        """Tell whether `host` is to be published now, and plan its next time if so.

        The first time is at once; `place` (its slot) then decides in which cycle it goes on.
        """
        due = self._due.get(host)
        if due is None:
            step = EVERY / SLOTS
            self._due[host] = now + step * (1 + place % SLOTS)
            return True
        if now < due - SLACK:
            return urgent
        # Keep to the cycle it was given, unless a cycle or more was missed.
        self._due[host] = due + EVERY if now - due < SLACK else now + EVERY
        return True

    def waits(self, host: str, now: float) -> bool:
        """Tell whether `host` is not due yet."""
        due = self._due.get(host)
        return due is not None and now < due - SLACK

    def forget_all_but(self, hosts: set[str]) -> None:
        """Drop hosts that are not watched any more."""
        for host in self._due.keys() - hosts:
            del self._due[host]
