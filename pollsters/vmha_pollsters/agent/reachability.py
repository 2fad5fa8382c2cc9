# SPDX-License-Identifier: Apache-2.0
"""Which hosts to probe, and whether this one is cut off from all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from vmha_pollsters.agent.company import is_small
from vmha_pollsters.agent.heartbeat.heart import Heart
from vmha_pollsters.agent.probe import Prober
from vmha_pollsters.agent.storage.reader import Seen
from vmha_pollsters.agent.witness.crew import Crew
from vmha_pollsters.agent.witness.limits import Limits
from vmha_pollsters.agent.witness.peers import Peer, Rest, is_live
from vmha_pollsters.lease.layout import Flag, has

#: A witness of a crowd looks at those that are well, for their probes' sake, in so many turns.
TURNS = 8


class Reachability:
    """Sees to the probes of one host's tick."""

    def __init__(
        self, heart: Heart, prober: Prober, limits: Limits, isolation_addresses: Iterable[str]
    ) -> None:
        self._heart = heart
        self._prober = prober
        self._limits = limits
        self._gateways = tuple(isolation_addresses)
        self._turn = 0
        self.alone_since: float | None = None

    def probe(
        self,
        peers: Sequence[Peer],
        everybody: Sequence[Peer],
        seen: Seen,
        mine: int | None,
        now: float,
    ) -> None:
        """Probe who is silent, and now and then who is well; `peers` are those not quite well.

        Only witnesses watch the silent. In a small cluster everybody tries the hosts that are
        well, so that a host has proven its probes before it becomes a witness.
        """
        watching = seen.roster is not None and mine in seen.roster.witnesses
        small = seen.header is not None and is_small(seen)
        if mine is None or not (watching or small):
            return
        self._turn = (self._turn + 1) % TURNS
        if isinstance(everybody, Crew):
            turn = everybody.part(self._turn, TURNS, but={p.slot for p in peers})
            due = self._prober.due(turn, now)
            addresses = [(host, seen.slots[turn[host]].address) for host in due]
            self._prober.consider_well(addresses, self._is_well)
        for peer in peers:
            if peer.slot == mine or has(peer.flags, Flag.LEAVING) or peer.slot not in seen.slots:
                continue
            healthy: Callable[[], bool] = partial(self._is_well, peer.host)
            if watching or healthy():
                self._prober.consider(peer.host, seen.slots[peer.slot].address, healthy, now)

    def _is_well(self, host: str) -> bool:
        age = self._heart.heard(host)
        return age is not None and age <= self._limits.suspect_heard

    def isolated(self, peers: Iterable[Peer], rest: Rest, mine: int | None, now: float) -> bool:
        """Tell whether this host hears nobody and the isolation addresses do not answer."""
        others = bool(rest.slots) or any(
            p.slot != mine and is_live(p, self._limits) for p in peers
        )
        heard = self._heart.last_heard()
        silence = self._heart.listening_for() if heard is None else heard
        if not others or silence <= self._limits.suspect_heard:
            self.alone_since = None
            return False
        if self.alone_since is None:
            self.alone_since = now
        answered = self._prober.anybody(self._gateways, now, within=self._limits.hears)
        asked = now - self.alone_since
        long = silence > self._limits.hears and asked >= self._limits.suspect_heard
        return long and not answered
