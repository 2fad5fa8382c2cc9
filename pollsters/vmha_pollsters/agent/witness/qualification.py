# SPDX-License-Identifier: Apache-2.0
"""PURE: whether this host may be believed, and whether its word keeps others alive."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vmha_pollsters.agent.witness.limits import Limits
from vmha_pollsters.agent.witness.peers import NOBODY, Peer, Rest, is_live
from vmha_remediator.rules import timing

#: By so much (s) two reckonings of one promise may differ.
ROUNDING = 0.1


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


def may_vouch(*, speaks: bool, bare: bool, heard_bare: int, hosts: int) -> bool:
    """Tell whether this host's acknowledgement keeps another's watchdog fed.

    `speaks`: it publishes as a qualified witness, so whoever calls a host failed knows whom it
    hears. Otherwise (`bare`: its own lease is not renewed) only when more than half of all
    `hosts` that it knows say the same of themselves: then the storage is gone for the many, and
    whoever still renews sees that, and concludes nothing from silence.
    """
    return speaks or (bare and 2 * (heard_bare + 1) > hosts)


def breaks_promise(promised: float, timeout: float, lease: float, heartbeat: float) -> bool:
    """Tell whether this host's word could keep a host alive for longer than it has promised.

    `promised` and its watchdog's `timeout` (s) stand in that host's slot, and were reckoned by its
    own intervals; `lease` and `heartbeat` are this host's, which say for how long it may vouch
    unseen by the others. They should be the same everywhere, but nobody makes sure of it.
    """
    return 0.0 < promised < timing.promise(timeout, lease, heartbeat) - ROUNDING
