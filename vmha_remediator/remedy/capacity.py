# SPDX-License-Identifier: Apache-2.0
"""N+1: would the protected VMs of a host find room on the others, by Placement's books?

The packing is best-fit decreasing: it finds a place for all or it does not, and where it does
not there may still be one. So three answers are told apart. *Fits*: a place was found for every
VM. *Does not fit*: no packing can work, since one VM finds no host for itself, or all of them
together are too many. *May not fit*: anything between, and what only Nova's scheduler can tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from vmha_remediator.remedy import groups, protect, reserves, unprotectable
from vmha_remediator.remedy.aggregates import Aggregates
from vmha_remediator.remedy.facts import Aggregate, Server, ServerGroup, Service
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.room import Need, Packing, Refusal, Room, Taker, amount, need

#: So many VMs are named in a sentence.
_NAMED = 4


class Fit(StrEnum):
    """Whether the VMs of a host have room elsewhere."""

    FITS = "fits"
    MAY_NOT = "may not fit"
    NOT = "does not fit"


@dataclass(frozen=True, eq=False)
class Space:
    """What there is and who takes it, read at one time; each reading is another one (`eq`)."""

    rooms: Mapping[str, Room]  # by service host
    taken: Mapping[str, Mapping[str, int]]  # by server id: resource class -> amount
    servers: tuple[Server, ...]
    groups: tuple[ServerGroup, ...] = ()
    aggregates: tuple[Aggregate, ...] = ()


@dataclass(frozen=True)
class Outlook:
    """What would become of a host's protected VMs if it failed now."""

    host: str
    fit: Fit
    vms: int
    stranded: Mapping[str, str]  # server id -> why it has no room, or may have none
    missing: Mapping[str, int]  # resource class -> what those need of what is short
    says: str


def takers(
    services: Iterable[Service], troubled: Collection[str], policy: Policy
) -> tuple[Taker, ...]:
    """Return the hosts that could be given VMs: well, enabled, or a reserve that rests."""
    return tuple(
        sorted(
            Taker(s.host, s.zone)
            for s in services
            if s.host not in troubled
            and ((s.up and s.enabled and not s.forced_down) or reserves.rests(s, policy))
        )
    )


@lru_cache(maxsize=4)
def outlooks(space: Space, able: tuple[Taker, ...], policy: Policy) -> tuple[Outlook, ...]:
    """Return the outlook of every host with protected VMs, by name; the same question is cheap."""
    by_host: dict[str, list[Server]] = {}
    for server in space.servers:
        if server.host and _moves(server, policy):
            by_host.setdefault(server.host, []).append(server)
    at = {s.id: s.host for s in space.servers if s.host}
    bound, aggregates = _bound(space.groups), Aggregates(space.aggregates)
    rooms = [(taker, space.rooms[taker.host]) for taker in able if taker.host in space.rooms]
    hosts = [taker.host for taker, _ in rooms]

    def wants(server: Server) -> Need:
        taken, strict = space.taken.get(server.id), bound.get(server.id, ())
        kept = replace(server, zone=aggregates.zone(server))
        return need(kept, taken, strict, aggregates.objections(server, hosts))

    return tuple(
        _outlook(host, [wants(server) for server in servers], rooms, at)
        for host, servers in sorted(by_host.items())
    )


def _moves(server: Server, policy: Policy) -> bool:
    kept = protect.is_protected(server, policy.protect)
    return kept and not unprotectable.why(server, policy.disks)


def _bound(known: Iterable[ServerGroup]) -> dict[str, tuple[ServerGroup, ...]]:
    """Return the groups that bind each server."""
    found: dict[str, tuple[ServerGroup, ...]] = {}
    for group in known:
        if group.policy in groups.STRICT:
            for member in group.members:
                found[member] = (*found.get(member, ()), group)
    return found


def _outlook(
    host: str,
    needs: Sequence[Need],
    rooms: Sequence[tuple[Taker, Room]],
    at: Mapping[str, str],
) -> Outlook:
    others = [(taker, room) for taker, room in rooms if taker.host != host]
    packing = Packing(others, at)
    if not packing.place(sorted(needs, key=lambda n: (-packing.share(n), n.id))):
        return _all_placed(host, needs, packing)
    # Not all can be placed, or no way was found. Those of high priority come first in a failure,
    # so the others are the ones to be named.
    packing = Packing(others, at)
    left = packing.place(sorted(needs, key=lambda n: (-n.priority, -packing.share(n), n.id)))
    if not left:  # this order has found the way that the other has not
        return _all_placed(host, needs, packing)
    fit = Fit.NOT if _hopeless(needs, Packing(others, at, hopeful=True)) else Fit.MAY_NOT
    missing: Counter[str] = Counter()
    for one, refusal in left:
        missing.update({name: one.amounts[name] for name in refusal.short})
    why = {one.id: refusal.says for one, refusal in left}
    if others:
        says = _sentence(host, len(needs), fit, left, missing)
    else:
        says = f"if {host} fails, no other healthy host takes its {_vms(len(needs))}"
    return Outlook(host, fit, len(needs), why, dict(missing), says)


def _all_placed(host: str, needs: Sequence[Need], packing: Packing) -> Outlook:
    doubts = {n.id: why for n in needs if (why := packing.doubt(n))}
    if not doubts:
        says = f"if {host} fails, {_counted(len(needs))} room elsewhere"
        return Outlook(host, Fit.FITS, len(needs), {}, {}, says)
    first = next(n for n in needs if n.id in doubts)
    says = (
        f"if {host} fails, {len(doubts)} of its {_vms(len(needs))} may find no room: {first.name} "
        f"{doubts[first.id]}"
    )
    return Outlook(host, Fit.MAY_NOT, len(needs), doubts, {}, says)


def _hopeless(needs: Sequence[Need], empty: Packing) -> bool:
    """Tell whether no packing at all can work: for one VM alone, or for all together."""
    if any(not empty.could_hold(n) for n in needs):
        return True
    members = Counter(group for one in needs for group in one.groups)
    if any(g.policy in groups.APART and n > empty.places(g) for g, n in members.items()):
        return True
    for zone in {n.zone for n in needs} | {None}:
        wanted: Counter[str] = Counter()
        for one in needs:
            if zone is None or one.zone == zone:
                wanted.update(one.amounts)
        if any(size > empty.free(name, zone) for name, size in wanted.items()):
            return True
    return False


def _sentence(
    host: str,
    count: int,
    fit: Fit,
    left: Sequence[tuple[Need, Refusal]],
    missing: Mapping[str, int],
) -> str:
    names = ", ".join(one.name for one, _ in left[:_NAMED])
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    verb = "has no room" if len(left) == 1 else "have no room"
    verb = "may find no room" if fit is Fit.MAY_NOT else verb
    if missing:
        sizes = (amount(name, size) for name, size in sorted(missing.items()))
        why = f"{' and '.join(sizes)} missing"
    else:
        why = f"{left[0][0].name} {left[0][1].says}"
    return f"if {host} fails, {len(left)} of its {_vms(count)} {verb} ({names}{more}): {why}"


def _vms(count: int) -> str:
    return f"{count} protected VM{'s' if count != 1 else ''}"


def _counted(count: int) -> str:
    return "its one protected VM has" if count == 1 else f"all {count} of its protected VMs have"


def worst(found: Sequence[Outlook]) -> Fit:
    """Return what stands for all hosts together."""
    order = (Fit.NOT, Fit.MAY_NOT)
    return next((fit for fit in order if any(o.fit is fit for o in found)), Fit.FITS)


def sentence(found: Sequence[Outlook]) -> str:
    """Return in one sentence whether any one host can fail."""
    fit = worst(found)
    if fit is Fit.FITS:
        return "Any one host can fail: the others have room for its protected VMs."
    bad = [o for o in found if o.fit is not Fit.FITS]
    first = next(o for o in bad if o.fit is fit)
    more = f" (and {len(bad) - 1} more hosts of which it is so)" if len(bad) > 2 else (
        " (and one more host of which it is so)" if len(bad) == 2 else "")  # fmt: skip
    word = "Not every host can fail" if fit is Fit.NOT else "Not every host may be able to fail"
    return f"{word}: {first.says}{more}."
