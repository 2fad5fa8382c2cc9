# SPDX-License-Identifier: Apache-2.0
"""PURE: who watches, who may be believed, and what all of them together say of each host.

Everything here takes plain data and returns plain data: ages in seconds, None for "I do not
know". Nothing here reads a clock.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from vmha_pollsters.lease.layout import (
    MAX_WITNESSES,
    NO_FLAGS,
    NO_OPINION,
    Flag,
    Opinion,
    Probe,
    Roster,
    has,
)

#: Up to so many hosts everybody sends to everybody: that costs nothing, a new witness need not
#: first be told to all, and "more than half" means the same to every host.
MESH = 8


@dataclass(frozen=True)
class Limits:
    """Times in seconds; see `limits()` for where they come from."""

    hears: float  # a peer heard less long ago than this is being heard
    lease_live: float  # a lease renewed less long ago than this is live
    own_write: float  # my last renewal has to be younger
    own_read: float  # my last look at the table has to be younger
    view: float  # another witness's slot has to be younger for its view to count
    settle: float  # after start or a pause, listen this long before speaking
    settle_read: float  # and read the slots for so long: storage may come back to me first
    clock: float  # largest offset from the median of the peers' clocks
    suspect_heard: float  # from this heartbeat age on a host is published at once
    suspect_lease: float  # from this lease age on, too
    roster_stale: float  # a roster unchanged for longer has no master
    grace: float  # a witness may be unqualified this long before it is replaced


def limits(heartbeat: float = 1.0, lease: float = 2.0) -> Limits:
    """Return the limits for these two intervals (seconds between beats and renewals).

    A peer is heard while at most three beats in a row are lost, a lease is live for four
    renewals (as long as the rules' default threshold), a clock may be 1 s off (Gnocchi drops
    late points without a word, so a witness with a wrong clock blinds a metric).
    """
    return Limits(
        hears=4.0 * heartbeat,
        lease_live=4.0 * lease,
        own_write=2.5 * lease,
        own_read=1.5 * lease,
        view=2.5 * lease,
        settle=3.0 * heartbeat,
        settle_read=2.0 * lease,
        clock=1.0,
        suspect_heard=2.0 * heartbeat,
        suspect_lease=2.0 * lease,
        roster_stale=3.0 * lease,
        grace=5.0 * lease,
    )


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


@dataclass(frozen=True)
class Me:
    """What this agent knows of itself; ages in seconds, None: never yet."""

    slot: int | None
    write_age: float | None  # since the last renewal that succeeded
    read_age: float | None  # since the last look that succeeded
    listening: float  # for how long heartbeats have been received without a pause
    reading: float  # for how long the slots have been read without a pause
    expected: frozenset[int] | None = None  # slots that send to me; None: all
    problems: tuple[str, ...] = ()  # anything else that makes this host unfit


@dataclass(frozen=True)
class Qualification:
    """Whether this host may speak about others, and if not, why (sentences)."""

    ok: bool
    why: tuple[str, ...] = ()
    heard: int = 0  # hosts heard, this one included
    live: int = 0  # hosts that should be heard, this one included
    clock_ok: bool = True  # a wrong clock must not even date this host's own heartbeat
    clock: float | None = None  # seconds this host's clock is ahead of its peers' median
    storage: bool | None = None  # its own way to the lease area works; None: too early to say
    hears: bool | None = None  # it hears more than half of the live; None: too early to say


class Reading(NamedTuple):
    """What all qualified witnesses together say of one host; None: not published."""

    slot: int
    host: str
    heartbeat_age: float | None
    lease_age: float | None
    reachable: bool | None
    isolated: bool | None
    witnesses: int
    suspect: bool
    watchdog: float | None = None


class Rest(NamedTuple):
    """Hosts that need no look one by one: live, heard, qualified, and nothing is wrong with them.

    Of a thousand hosts most are such in most cycles; see `agent.crew`.
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


def qualify(me: Me, peers: Sequence[Peer], limit: Limits, rest: Rest = NOBODY) -> Qualification:
    """Tell whether this host may be believed: suspect yourself first."""
    why = list(me.problems)
    if me.slot is None:
        why.append("it has no slot of its own")
    why += _too_old("its own lease was last renewed", me.write_age, limit.own_write)
    why += _too_old("the slots were last read", me.read_age, limit.own_read)
    if me.listening < limit.settle:
        why.append(f"it has been listening for {me.listening:.1f} s only")
    if me.read_age is not None and me.reading < limit.settle_read:
        why.append(f"it has been reading the slots for {me.reading:.1f} s only")
    others = [p for p in peers if p.slot != me.slot and is_live(p, limit)]
    if me.expected is not None:
        others = [p for p in others if p.slot in me.expected]
    hears = [p for p in others if _is_heard(p, limit)]
    live, heard = len(others) + len(rest.slots) + 1, len(hears) + len(rest.slots) + 1
    if 2 * heard <= live:
        why.append(f"it hears {heard} of {live} hosts whose leases are live (itself included)")
    clock = _clock(others, rest.clocks)
    clock_ok = clock is None or abs(clock) <= limit.clock
    if not clock_ok:
        why.append(f"its clock is {clock:+.1f} s off the median of its peers' clocks")
    early = me.listening < limit.settle
    # Slow storage makes unfit to speak of others; lost it is when a lease would be, too.
    ages = (me.write_age, me.read_age)
    works = all(age is not None and age < limit.lease_live for age in ages)
    return Qualification(
        not why,
        tuple(why),
        heard,
        live,
        clock_ok,
        clock,
        storage=None if early else works,
        hears=None if early else 2 * heard > live,
    )


def _too_old(what: str, age: float | None, most: float) -> list[str]:
    if age is None:
        return [f"{what} never"]
    return [f"{what} {age:.1f} s ago"] if age > most else []


def _is_heard(peer: Peer, limit: Limits) -> bool:
    age = peer.opinion.heard
    return age is not None and age < limit.hears


def _clock(others: Iterable[Peer], rest: Sequence[float]) -> float | None:
    offsets = [*rest, *(p.clock_offset for p in others if p.clock_offset is not None)]
    return 0.0 - statistics.median(offsets) if offsets else None


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


def senders(mine: int, roster: Roster | None, known: Iterable[int]) -> frozenset[int] | None:
    """Return the slots that should be heard by this host; None: all of them.

    A witness is sent to by all; everybody else by its neighbours, and acknowledged by the
    witnesses.
    """
    everybody = frozenset(known) | {mine}
    if roster is None or len(everybody) <= MESH or mine in roster.witnesses:
        return None
    return targets(mine, roster, everybody)


def believed(
    me: Me,
    mine: Qualification,
    peers: Sequence[Peer],
    roster: Roster | None,
    limit: Limits,
    rest: Rest = NOBODY,
) -> dict[int, Mapping[int, Opinion]]:
    """Return the views of all witnesses that may be believed now: slot -> opinions.

    Ages in another's view have grown since it was written; its age is added, to a lease's age
    only as far as this host itself saw that lease unchanged: those grow by reads only. An
    empty result means that this host is no qualified witness and has to be silent.
    """
    if roster is None or me.slot not in roster.witnesses or not mine.ok:
        return {}
    own = rest.opinions
    if own is None:
        own = {p.slot: p.opinion for p in peers}
    views: dict[int, Mapping[int, Opinion]] = {me.slot: own}
    for peer in peers:
        if peer.slot == me.slot or peer.slot not in roster.witnesses or peer.problem:
            continue
        age = peer.slot_age
        wanted = has(peer.flags, Flag.QUALIFIED) and not has(peer.flags, Flag.LEAVING)
        if wanted and peer.views is not None and age is not None and age < limit.view:
            views[peer.slot] = Aged(peer.views, age, own)
    return views


class View(Mapping[int, Opinion]):
    """Opinions by slot, of which each is made when it is asked for."""

    def about(self, peer: Peer) -> Opinion | None:
        """Return what it says of `peer`, whose own `opinion` is this host's."""
        return self.get(peer.slot)


class Aged(View):
    """Another's opinions, `age` seconds later.

    `own` is what this host says: how long it saw each lease unchanged.
    """

    def __init__(
        self, opinions: Mapping[int, Opinion], age: float, own: Mapping[int, Opinion]
    ) -> None:
        self.opinions, self.age, self._own = opinions, age, own

    def __getitem__(self, slot: int) -> Opinion:
        return self._aged(self.opinions[slot], self._own.get(slot, NO_OPINION))

    def about(self, peer: Peer) -> Opinion | None:
        try:
            return self._aged(self.opinions[peer.slot], peer.opinion)
        except KeyError:
            return None

    def _aged(self, said: Opinion, own: Opinion) -> Opinion:
        return aged(said, self.age, min(self.age, own.lease or 0.0))

    def __len__(self) -> int:
        return len(self.opinions)

    def __iter__(self) -> Iterator[int]:
        return iter(self.opinions)


def may_vouch(*, speaks: bool, bare: bool, heard_bare: int, hosts: int) -> bool:
    """Tell whether this host's acknowledgement keeps another's watchdog fed.

    `speaks`: it publishes as a qualified witness, so whoever calls a host failed knows whom it
    hears. Otherwise (`bare`: its own lease is not renewed) only when more than half of all
    `hosts` that it knows say the same of themselves: then the storage is gone for the many, and
    whoever still renews sees that, and concludes nothing from silence.
    """
    return speaks or (bare and 2 * (heard_bare + 1) > hosts)


def aged(opinion: Opinion, heard_by: float, lease_by: float = 0.0) -> Opinion:
    """Return `opinion` with its ages grown by these many seconds."""
    return Opinion(
        None if opinion.heard is None else opinion.heard + heard_by,
        None if opinion.lease is None else opinion.lease + lease_by,
        opinion.probe,
    )


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


def fuse(
    peers: Sequence[Peer], views: Mapping[int, Mapping[int, Opinion]], limit: Limits
) -> tuple[Reading, ...]:
    """Return one reading a host: the freshest age anybody saw, "unreachable" if unanimous.

    A host that left on purpose, or whose slot nobody can make sense of and nobody hears, is
    left out. Without views the result is empty: silence.
    """
    if not views:
        return ()
    readings = [
        _fuse_one(peer, views, limit) for peer in peers if not has(peer.flags, Flag.LEAVING)
    ]
    return tuple(r for r in readings if r is not None)


def _fuse_one(
    peer: Peer, views: Mapping[int, Mapping[int, Opinion]], limit: Limits
) -> Reading | None:
    number, said = peer.slot, []
    lease: float | None = None
    for by, view in views.items():
        if by == number and len(views) > 1:
            continue
        opinion = view.about(peer) if isinstance(view, View) else view.get(number)
        if by == number:  # the only witness, about itself: it lives
            opinion = (opinion or NO_OPINION)._replace(heard=0.0, probe=Probe.UNKNOWN)
        if opinion is None:
            continue
        if opinion.heard is not None:
            said.append(opinion)
        if opinion.lease is not None and (lease is None or opinion.lease < lease):
            lease = opinion.lease
    if not said:
        return None
    heartbeat = min([o.heard for o in said if o.heard is not None])
    if peer.problem is not None:
        lease = None
    reachable = _reachable(said, heartbeat, limit)
    behind = said if reachable is not False else [o for o in said if o.probe is Probe.SILENT]
    isolated = None if peer.problem else has(peer.flags, Flag.ISOLATED)
    suspect = bool(
        heartbeat > limit.suspect_heard
        or (lease is not None and lease > limit.suspect_lease)
        or reachable is False
        or isolated
    )
    return Reading(
        number,
        peer.host,
        heartbeat,
        lease,
        reachable,
        isolated,
        len(behind),
        suspect,
        None if peer.problem else peer.watchdog,
    )


def _reachable(said: Sequence[Opinion], heartbeat: float, limit: Limits) -> bool | None:
    """Heard or answering: yes. Every proven probe silent: no. Otherwise not known."""
    if heartbeat <= limit.hears or any(o.probe is Probe.ANSWERS for o in said):
        return True
    probes = {o.probe for o in said} - {Probe.UNKNOWN}
    return False if probes == {Probe.SILENT} else None
