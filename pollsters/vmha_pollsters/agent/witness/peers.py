# SPDX-License-Identifier: Apache-2.0
"""PURE: what an agent knows of the other hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vmha_pollsters.agent.witness.limits import Limits
from vmha_pollsters.lease.layout import NO_FLAGS, NO_OPINION, Flag, Opinion, has


class Peer(NamedTuple):  # cheap to make: a thousand a second on a witness
    """What this agent knows of one host (itself included), now."""

    slot: int
    host: str
    priority: int = 0
    flags: Flag = NO_FLAGS
    opinion: Opinion = NO_OPINION  # this agent's own
    views: Mapping[int, Opinion] | None = None  # what that host says about others
    slot_age: float | None = None  # since its slot was last seen written: how old its views are
    clock_offset: float | None = None
    problem: str | None = None  # why its slot cannot be believed
    watchdog: float = 0.0  # s, its promise: how long it lives at most without grounds; 0: none
    listed: bool = False  # this agent does not follow its lease, and the master says it lives


class Rest(NamedTuple):
    """Hosts that need no look one by one: live, heard, qualified, and nothing is wrong with them.

    Of a thousand hosts most are such in most cycles; see `crew`.
    """

    slots: frozenset[int] = frozenset()
    clocks: Sequence[float] = ()  # how far ahead of this host's their clocks are
    best: tuple[tuple[int, int], ...] = ()  # those that rank first: minus priority, slot
    opinions: Mapping[int, Opinion] | None = None  # this agent's own, of all, not of the rest only


NOBODY = Rest()


def is_live(peer: Peer, limit: Limits) -> bool:
    """Tell whether the lease of `peer` is seen to be renewed."""
    age = peer.opinion.lease
    lives = peer.listed if age is None else age < limit.lease_live
    return lives and not has(peer.flags, Flag.LEAVING)


def is_well(peer: Peer, limit: Limits) -> bool:
    """Tell whether no reading of another host can be suspect, whatever the others say of it."""
    heard, lease = peer.opinion.heard, peer.opinion.lease
    return (
        heard is not None
        and heard <= limit.suspect_heard
        and lease is not None
        and lease <= limit.suspect_lease
        and peer.problem is None
        and not has(peer.flags, Flag.ISOLATED)
    )
