# SPDX-License-Identifier: Apache-2.0
"""PURE: who watches, and who sends heartbeats to whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from vmha_pollsters.agent.witness.limits import Limits
from vmha_pollsters.agent.witness.peers import NOBODY, Peer, Rest, is_live
from vmha_pollsters.lease.layout import MAX_WITNESSES, Flag, Roster, has

#: Up to so many hosts everybody sends to everybody: that costs nothing, a new witness need not
#: first be told to all, and "more than half" means the same to every host.
MESH = 8
#: From so many members on the witnesses share the roll: each names a part of the hosts.
SHARED_ROLL = 200


def rank(peers: Iterable[Peer], incumbents: Mapping[int, float], limit: Limits) -> tuple[int, ...]:
    """Return the slots fit to watch, best first: highest priority, then lowest slot.

    `incumbents` says for each present witness how long it has been unqualified (0: it is
    qualified); it keeps its place for the grace time, in which a new one learns to hear. When
    nobody is qualified (at the very start; the whole network down) every live host ranks.
    """
    return _rank([p for p in peers if is_live(p, limit)], incumbents, limit)


def _rank(
    live: Iterable[Peer], incumbents: Mapping[int, float], limit: Limits, rest: Rest = NOBODY
) -> tuple[int, ...]:
    claimed = [p for p in live if not has(p.flags, Flag.CLAIMING)]
    fit = [
        p
        for p in claimed
        if has(p.flags, Flag.QUALIFIED) or incumbents.get(p.slot, limit.grace) < limit.grace
    ]
    if not rest.slots:
        fit = fit or claimed
    ranks = [*((-p.priority, p.slot) for p in fit), *rest.best]
    return tuple(slot for _, slot in sorted(ranks))


def next_roster(
    mine: int,
    peers: Sequence[Peer],
    roster: Roster | None,
    stale: bool,
    incumbents: Mapping[int, float],
    limit: Limits,
    rest: Rest = NOBODY,
) -> Roster | None:
    """Return the roster that this host (slot `mine`) has to write now, or None.

    The master renews it every cycle, or hands over to a better one. When it is stale, the
    host that ranks first takes over. Two masters for a moment publish the same facts.
    """
    leads = roster is not None and roster.master == mine and not stale
    if not leads and not stale:
        return None
    live = [p for p in peers if is_live(p, limit)]
    ranked = _rank(live, incumbents, limit, rest)
    if not ranked or (not leads and ranked[0] != mine):
        return None
    # Who hands over does not renew: the next one is master from its next look on.
    term = roster.term if roster is not None else 0
    return Roster(
        master=ranked[0],
        witnesses=ranked[:MAX_WITNESSES],
        members=rest.slots.union(p.slot for p in live),
        term=term if leads and ranked[0] == mine else term + 1,
        sequence=(roster.sequence if roster is not None else 0) + 1,
        writer=mine,
    )


@lru_cache(maxsize=4)
def neighbours(mine: int, members: frozenset[int]) -> frozenset[int]:
    """Return the two neighbours of slot `mine` in the ring of `members`."""
    ring = sorted({*members, mine})
    place = ring.index(mine)
    return frozenset({ring[place - 1], ring[(place + 1) % len(ring)]} - {mine})


def targets(mine: int, roster: Roster | None, known: Iterable[int]) -> frozenset[int]:
    """Return the slots that this host sends its heartbeats to: witnesses and neighbours.

    Without a roster (a new cluster), and in a small cluster, it is all the hosts known.
    """
    everybody = frozenset(known) | {mine}
    if roster is None or len(everybody) <= MESH:
        return everybody - {mine}
    return (frozenset(roster.witnesses) | neighbours(mine, roster.members)) - {mine}


def callers(slot: int, roster: Roster) -> frozenset[int]:
    """Return the witnesses whose roll calls name the host of `slot`.

    Of a big crowd one is enough for each: its neighbours are heard, too, and whoever needs more
    asks all witnesses for an answer of its own.
    """
    witnesses = roster.witnesses
    if len(roster.members) <= SHARED_ROLL or not witnesses:
        return frozenset(witnesses)
    return frozenset({witnesses[slot % len(witnesses)]})


def senders(mine: int, roster: Roster | None, known: Iterable[int]) -> frozenset[int] | None:
    """Return the slots that should be heard by this host; None: all of them.

    A witness is sent to by all; everybody else by its neighbours, and acknowledged by the
    witnesses that call it.
    """
    if roster is None or mine in roster.witnesses:
        return None
    if len(frozenset(known) | {mine}) <= MESH:
        return None
    return (callers(mine, roster) | neighbours(mine, roster.members)) - {mine}
