# SPDX-License-Identifier: Apache-2.0
"""PURE: all hosts of a crowd at one moment. Most are as they were a second ago, and well: a
`Peer` is made only of the few others, and of those that somebody asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple, overload

from vmha_pollsters.agent.witness.fusion import Aged, View
from vmha_pollsters.agent.witness.limits import Limits
from vmha_pollsters.agent.witness.peers import NOBODY, Peer, Rest
from vmha_pollsters.lease.contract import Sight
from vmha_pollsters.lease.layout import MAX_WITNESSES, ByNumber, Flag, Opinion, Probe, Slot, has
from vmha_pollsters.lease.views import AGES, Views, pack_age
from vmha_pollsters.reading import Reading

#: What the slot of a host that works says, and what it does not.
_ORDINARY = Flag.QUALIFIED
_UNSEEN = Sight(None, float("-inf"))
_ODD = Flag.CLAIMING | Flag.ISOLATED | Flag.LEAVING


class Cast:
    """What slots say besides that their hosts live: good until one changes in more than that."""

    def __init__(self, slots: Mapping[int, Slot]) -> None:
        self.indexes = tuple(sorted(slots))
        self.hosts = tuple(slots[n].host for n in self.indexes)
        self.everybody = frozenset(self.indexes)
        self.places = dict(zip(self.hosts, self.indexes, strict=True))
        self.odd = frozenset(n for n in self.indexes if not _is_ordinary(slots[n]))
        #: Two slots with one name, of which one at most is right.
        self.doubles = len(self.places) < len(self.hosts)
        self.order = sorted((-slots[n].priority, n) for n in self.indexes)


def _is_ordinary(slot: Slot) -> bool:
    return has(slot.flags, _ORDINARY) and not has(slot.flags, _ODD)


class Known(NamedTuple):
    """What this host knows besides the slots themselves: by host, and by slot."""

    heard: Mapping[str, float | None]
    clocks: Mapping[str, float]
    probes: Mapping[str, Probe]
    sights: Mapping[int, Sight]
    fresh: Mapping[int, Sight]  # the same object, if the lease driver reads the slots itself
    mine: int | None
    listed: frozenset[int] = frozenset()

    def opinion(self, index: int, host: str) -> Opinion:
        """Return what this host says of one slot's host."""
        sight = self.sights.get(index)
        return Opinion(
            0.0 if index == self.mine else self.heard.get(host),
            None if sight is None else sight.age,
            self.probes.get(host, Probe.UNKNOWN),
        )

    def peer(self, index: int, slot: Slot) -> Peer:
        """Return all that is known of one slot's host."""
        lease = self.sights.get(index, _UNSEEN)
        fresh = self.fresh.get(index, _UNSEEN)
        return Peer(
            index,
            slot.host,
            slot.priority,
            slot.flags,
            self.opinion(index, slot.host),
            ByNumber(slot.views) if slot.views else None,
            fresh.age,
            None if index == self.mine else self.clocks.get(slot.host),
            lease.problem or fresh.problem,
            slot.watchdog_promise if has(slot.flags, Flag.WATCHDOG) else 0.0,
            index in self.listed,
        )


class Crew(Sequence[Peer]):
    """The hosts of `cast` in the order of their slots, as far as they are `known`."""

    def __init__(self, cast: Cast, slots: Mapping[int, Slot], known: Known) -> None:
        self._cast, self._slots, self._known = cast, slots, known

    def __len__(self) -> int:
        return len(self._cast.indexes)

    @overload
    def __getitem__(self, place: int) -> Peer: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Peer]: ...
    def __getitem__(self, place: int | slice) -> Peer | Sequence[Peer]:
        found = self._cast.indexes[place]
        if isinstance(found, tuple):
            return self.pick(found)
        return self._known.peer(found, self._slots[found])

    @property
    def indexes(self) -> tuple[int, ...]:
        """Return all slots."""
        return self._cast.indexes

    def but(self, skip: frozenset[int], never: Iterable[str]) -> frozenset[int]:
        """Return all slots but those to `skip`, which the hosts `never` are."""
        places = self._cast.places
        return (self._cast.everybody - skip) | {places[h] for h in never if h in places}

    def part(self, turn: int, turns: int, but: Set[int]) -> dict[str, int]:
        """Return one of so many parts of the crew, without the slots `but`: host -> slot."""
        places = zip(self._cast.hosts[turn::turns], self._cast.indexes[turn::turns], strict=True)
        return {host: index for host, index in places if index not in but}

    def pick(self, indexes: Iterable[int]) -> list[Peer]:
        """Return the hosts of these slots."""
        return [self._known.peer(n, self._slots[n]) for n in indexes]

    def split(self, limit: Limits, also: Iterable[int]) -> tuple[list[Peer], Rest]:
        """Return this host, those of the slots `also`, and whoever is not quite well; and all
        the rest, who are live, heard, qualified and without any trouble."""
        cast, known = self._cast, self._known
        heard, most, longest = known.heard, limit.suspect_heard, limit.suspect_lease
        late = {host for host, age in heard.items() if age is None or age > most}
        late |= cast.places.keys() - heard.keys()
        some = {cast.places[host] for host in late if host in cast.places}
        some |= {*also, *cast.odd, *(cast.everybody - known.sights.keys())}
        some |= {
            n
            for n, sight in known.sights.items()
            if sight.age is None or sight.age > longest or sight.problem is not None
        }
        if known.fresh is not known.sights:
            some |= cast.everybody - known.fresh.keys()
            some |= {n for n, sight in known.fresh.items() if sight.problem is not None}
        if known.mine is not None:
            some.add(known.mine)
        few = some & cast.everybody
        slots = cast.everybody - few
        if not slots:
            return self.pick(sorted(few)), NOBODY
        clocks = dict(known.clocks)
        others = cast.places.keys() - {self._slots[n].host for n in few}
        for host in known.clocks.keys() - others:
            del clocks[host]
        best = tuple(self._best(slots))
        return self.pick(sorted(few)), Rest(slots, [*clocks.values()], best, self.opinions)

    def fuse(
        self, indexes: Iterable[int], views: Mapping[int, Mapping[int, Opinion]]
    ) -> list[Reading]:
        """Return what `fusion.fuse` says of these slots, all of which `split` left to the rest.

        Hundreds of them are asked for at a time. That this host hears them, sees their leases
        renewed and finds nothing wrong with them leaves nothing to ask but whose age is freshest.
        """
        known, slots = self._known, self._slots
        size = self._cast.indexes[-1] + 1
        others = [_ages(view, size) for view in views.values() if isinstance(view, Aged)]
        found = []
        for index in indexes:
            slot = slots[index]
            heard, lease, behind = known.heard[slot.host], known.sights[index].age, 1
            assert heard is not None and lease is not None  # else it were not well
            own = lease
            for age, heards, leases in others:
                said = AGES[heards[index]]
                if said is not None:
                    behind += 1
                    heard = min(heard, said + age)
                said = AGES[leases[index]]
                if said is not None:
                    lease = min(lease, said + min(age, own))
            promise = slot.watchdog_promise if has(slot.flags, Flag.WATCHDOG) else 0.0
            found.append(
                Reading(index, slot.host, heard, lease, True, False, behind, False, promise)
            )
        return found

    def _best(self, slots: frozenset[int]) -> Iterator[tuple[int, int]]:
        left = MAX_WITNESSES
        for rank in self._cast.order:
            if rank[1] in slots:
                yield rank
                left -= 1
                if not left:
                    return

    def view(self, hosts: int, heard_by: float) -> Views:
        """Return the opinions of slots 0 to `hosts` - 1, `heard_by` seconds later."""
        known, cast = self._known, self._cast
        heard, lease, probe = _unknown(hosts), _unknown(hosts), bytearray(hosts)
        ages, later = _Packed(0.0), _Packed(heard_by)
        for index, age in zip(cast.indexes, map(known.heard.get, cast.hosts), strict=True):
            if index < hosts:
                heard[index] = later[age]
        for index, sight in known.sights.items():
            if index < hosts:
                lease[index] = ages[sight.age]
        for host in known.probes.keys() & cast.places.keys():
            if cast.places[host] < hosts:
                probe[cast.places[host]] = known.probes[host]
        if known.mine is not None and known.mine < hosts:
            heard[known.mine] = later[0.0]
        return Views(bytes(heard), bytes(lease), bytes(probe))

    @property
    def opinions(self) -> Mapping[int, Opinion]:
        """Return what this host says of all, each when it is asked for."""
        return _Opinions(self._slots, self._known)


class _Packed(dict[float | None, int]):
    """Ages, some time `later`, as one byte each: packed once, since many hosts share theirs."""

    def __init__(self, later: float) -> None:
        self._later = later

    def __missing__(self, age: float | None) -> int:
        found = self[age] = pack_age(None if age is None else age + self._later)
        return found


def _ages(view: Aged, slots: int) -> tuple[float, bytes, bytes]:
    """Return how old another witness's view is, and the two columns of ages in it."""
    assert isinstance(view.opinions, ByNumber)  # `Known.peer` makes no other
    return view.age, *view.opinions.ages(slots)


def _unknown(hosts: int) -> bytearray:
    return bytearray(bytes((pack_age(None),)) * hosts)


class _Opinions(View):
    def __init__(self, slots: Mapping[int, Slot], known: Known) -> None:
        self._slots, self._known = slots, known

    def __getitem__(self, index: int) -> Opinion:
        return self._known.opinion(index, self._slots[index].host)

    def about(self, peer: Peer) -> Opinion | None:
        return peer.opinion

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[int]:
        return iter(self._slots)
