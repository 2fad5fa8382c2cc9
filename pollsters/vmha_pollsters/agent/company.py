# SPDX-License-Identifier: Apache-2.0
"""Whom this host knows, as its threads see them now, and the route of its heartbeats to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vmha_pollsters.agent.heartbeat.station import Route
from vmha_pollsters.agent.storage.reader import Seen
from vmha_pollsters.agent.witness.crew import Cast, Crew, Known
from vmha_pollsters.agent.witness.limits import Limits
from vmha_pollsters.agent.witness.peers import Peer, is_live
from vmha_pollsters.agent.witness.roster import callers, senders, targets
from vmha_pollsters.lease.layout import Slot

#: Up to this many slots one read of all is as cheap as a few small ones.
SMALL_TABLE = 32
#: From so many hosts on a witness takes stock of all that are well together.
CROWD = 200


def follows_few(seen: Seen, mine: int | None, stale: bool) -> bool:
    """Tell whether this is an ordinary host of a cluster that is not small.

    It reads the slots of its few peers only, and those seldom: who else lives it takes from the
    roster.
    """
    roster = seen.roster
    ordinary = mine is not None and roster is not None and mine not in roster.witnesses
    return ordinary and not is_small(seen) and not stale


def is_small(seen: Seen) -> bool:
    """Tell whether everybody reads the whole table."""
    return seen.header is None or seen.header.hosts <= SMALL_TABLE


class Company:
    """Makes peers of what the threads know; most of a crowd's are made only when asked for."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._cast: tuple[object, Cast] | None = None

    def everybody(self, seen: Seen, few: bool, known: Known) -> Sequence[Peer]:
        """Return all hosts that this one knows, in the order of their slots.

        `few`: it is one that `follows_few`.
        """
        mine = known.mine
        if few and mine is not None and seen.roster is not None:
            wanted = {mine, *targets(mine, seen.roster, seen.slots)}
            return self._peers(wanted & seen.slots.keys(), seen.slots, known)
        watches = seen.roster is not None and mine in seen.roster.witnesses
        if watches and len(seen.slots) > CROWD and seen.edition is not None:
            cast = self._cast_of(seen)
            if not cast.doubles:
                return Crew(cast, seen.slots, known)
        return self._peers(seen.slots, seen.slots, known)

    def _cast_of(self, seen: Seen) -> Cast:
        """Return what the slots say besides that they live, as before if nothing changed."""
        about = (seen.edition, len(seen.slots))
        if self._cast is None or self._cast[0] != about:
            self._cast = about, Cast(seen.slots)
        return self._cast[1]

    def _peers(
        self, scope: Iterable[int], slots: Mapping[int, Slot], known: Known
    ) -> tuple[Peer, ...]:
        found: dict[str, Peer] = {}
        for index in sorted(scope):
            peer = known.peer(index, slots[index])
            other = found.get(peer.host)
            found[peer.host] = peer if other is None else self._one_of(other, peer)
        return tuple(sorted(found.values(), key=lambda p: p.slot))

    def _one_of(self, one: Peer, two: Peer) -> Peer:
        """Of two slots with one host name take the live one; two live ones are a problem."""
        alive = [p for p in (one, two) if is_live(p, self._limits)]
        if len(alive) == 2:
            return one._replace(problem=f"slots {one.slot} and {two.slot} both say {one.host}")
        return alive[0] if alive else two


def indexes(peers: Sequence[Peer]) -> tuple[int, ...]:
    """Return their slots."""
    return peers.indexes if isinstance(peers, Crew) else tuple(p.slot for p in peers)


def route(mine: int, seen: Seen, everybody: Sequence[Peer]) -> Route:
    """Return where the heartbeats of slot `mine` go, and whose it should hear."""
    names = {n: seen.slots[n].host for n in indexes(everybody) if n != mine}
    expected = senders(mine, seen.roster, seen.slots)
    to = targets(mine, seen.roster, seen.slots) & names.keys()
    homes = {n: seen.slots[n].address for n in names}
    roster = seen.roster
    return Route(
        slot=mine,
        targets={n: seen.slots[n].address for n in to},
        senders=frozenset(host for n, host in names.items() if expected is None or n in expected),
        boots={host: seen.slots[n].boot_id for n, host in names.items() if n in seen.fresh},
        homes=homes,
        roll={n: at for n, at in homes.items() if roster is None or mine in callers(n, roster)},
    )
