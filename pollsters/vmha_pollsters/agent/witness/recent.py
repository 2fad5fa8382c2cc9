# SPDX-License-Identifier: Apache-2.0
"""PURE: what was so until a moment ago: who was suspect, which witness was unqualified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vmha_pollsters.agent.witness.fusion import fuse
from vmha_pollsters.agent.witness.limits import Limits
from vmha_pollsters.agent.witness.peers import Peer, is_well
from vmha_pollsters.lease.layout import Flag, Opinion, Roster, has

#: A host stays in the fast lane this long after its last suspect reading.
RECOVERED = 12.0


class Recent:
    """Remembers it from tick to tick; times are monotonic seconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._suspect: dict[str, float] = {}
        self._good: dict[int, float] = {}

    def suspects(
        self,
        mine: int | None,
        peers: Sequence[Peer],
        views: Mapping[int, Mapping[int, Opinion]],
        now: float,
    ) -> frozenset[str]:
        """Return the hosts whose reading is suspect, or was until a moment ago."""
        if not views:
            return frozenset()
        doubtful = [p for p in peers if p.slot == mine or not is_well(p, self._limits)]
        for reading in fuse(doubtful, views, self._limits):
            if reading.suspect:
                self._suspect[reading.host] = now
        self._suspect = {h: at for h, at in self._suspect.items() if now - at < RECOVERED}
        return frozenset(self._suspect)

    def incumbents(
        self, roster: Roster | None, peers: Iterable[Peer], now: float
    ) -> dict[int, float]:
        """Return for each present witness how long it has been unqualified."""
        present = roster.witnesses if roster is not None else ()
        qualified = {p.slot for p in peers if p.slot in present and has(p.flags, Flag.QUALIFIED)}
        self._good = {
            slot: now if slot in qualified else self._good.get(slot, now) for slot in present
        }
        return {slot: now - good for slot, good in self._good.items()}
