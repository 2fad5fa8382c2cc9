# SPDX-License-Identifier: Apache-2.0
"""Room on hosts in Placement's terms: what a VM takes, what is free, and filling one up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from vmha_remediator.remedy import aggregates, groups, protect
from vmha_remediator.remedy.facts import Server, ServerGroup

#: How amounts of the usual resource classes are said.
_WORDS = {
    "VCPU": "{} vCPUs",
    "PCPU": "{} dedicated CPUs",
    "MEMORY_MB": "{} MiB of memory",
    "DISK_GB": "{} GiB of disk",
}
_TRAIT = "trait:"
#: Extra specs and image properties by which only Nova's scheduler, looking into a host, can say
#: what fits; each is the beginning of a key.
_INSIDE: Mapping[str, str] = {
    "hw[:_]numa_nodes": "a NUMA topology",
    "hw[:_]mem_page_size": "huge pages",
    "pci_passthrough:alias": "a PCI device",
    "capabilities:": "what a host's driver says of itself",
    r"(trait|resources)[\w-]+:": "traits or resources of one part of a host",
}


class Taker(NamedTuple):
    """A host that could be given VMs, and its availability zone."""

    host: str
    zone: str


@dataclass(frozen=True)
class Room:
    """What is left on one host, by resource class: (total - reserved) * ratio - used."""

    free: Mapping[str, int]
    largest: Mapping[str, int]  # that one VM can take: it lies on one provider
    traits: frozenset[str] = frozenset()
    split: frozenset[str] = frozenset()  # classes that lie on several of its providers


@dataclass(frozen=True)
class Need:
    """What one VM takes, and where it may not go."""

    id: str
    name: str
    amounts: Mapping[str, int]
    priority: int = 0
    required: frozenset[str] = frozenset()  # traits
    forbidden: frozenset[str] = frozenset()
    zone: str | None = None
    groups: tuple[ServerGroup, ...] = ()  # strict ones
    objections: Mapping[str, str] = field(default_factory=dict)  # hosts that Nova may refuse it
    doubt: str = ""  # what it asks for that Placement does not tell


class Refusal(NamedTuple):
    """Why no host has room for a VM, and which resource classes are short."""

    says: str
    short: frozenset[str] = frozenset()


def amount(name: str, size: int) -> str:
    """Return so much of a resource class in words."""
    return _WORDS.get(name, f"{{}} {name}").format(size)


def need(
    server: Server,
    taken: Mapping[str, int] | None,
    strict: tuple[ServerGroup, ...] = (),
    objections: Mapping[str, str] | None = None,
) -> Need:
    """Return what a server takes: by its allocations, or by its flavor when it has none.

    `strict` are the groups that bind it, `objections` those of aggregates, by host.
    """
    traits = {
        key.removeprefix(_TRAIT): value
        for source in (server.extra_specs, server.image_properties)
        for key, value in source.items()
        if key.startswith(_TRAIT)
    }
    keys = (*server.extra_specs, *server.image_properties)
    inside = (what for begin, what in _INSIDE.items() if any(re.match(begin, k) for k in keys))
    asked = next(inside, "") or aggregates.doubt(server)
    return Need(
        id=server.id,
        name=server.name,
        amounts=taken if taken else _by_flavor(server),
        priority=protect.priority(server),
        required=frozenset(t for t, value in traits.items() if value == "required"),
        forbidden=frozenset(t for t, value in traits.items() if value == "forbidden"),
        zone=server.zone,
        groups=strict,
        objections=objections or {},
        doubt=f"asks for {asked}, which only Nova's scheduler can check" if asked else "",
    )


def _by_flavor(server: Server) -> dict[str, int]:
    disk = 0 if server.on_volume else server.disk
    sizes = {"VCPU": server.vcpus, "MEMORY_MB": server.ram, "DISK_GB": disk}
    return {name: size for name, size in sizes.items() if size}


@dataclass
class Packing:
    """Hosts that fill up, one VM after another."""

    rooms: Sequence[tuple[Taker, Room]]
    at: Mapping[str, str]  # server id -> host, of all servers
    hopeful: bool = False  # no host refuses a VM that Nova may, but need not, refuse
    _left: dict[str, dict[str, int]] = field(default_factory=dict, init=False)
    _total: dict[str, int] = field(default_factory=dict, init=False)  # free at first
    _moved: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._left = {taker.host: dict(room.free) for taker, room in self.rooms}
        names = {name for _, room in self.rooms for name in room.free}
        self._total = {name: self.free(name) for name in names}

    def place(self, needs: Iterable[Need]) -> list[tuple[Need, Refusal]]:
        """Give each VM, in this order, the fullest host that has room; return those without."""
        stranded = []
        for one in needs:
            able = [t.host for t, room in self.rooms if not self._lack(one, t, room)]
            if not able:
                stranded.append((one, self._refusal(one)))
                continue
            host = min(able, key=lambda name: self._spare(one, name))
            for name, size in one.amounts.items():
                self._left[host][name] -= size
            self._moved[one.id] = host
        return stranded

    def share(self, one: Need) -> float:
        """Return how large a VM is: the greatest share that it takes of anything that is free."""
        return max(
            (size / max(self._total.get(name, 0), 1) for name, size in one.amounts.items()),
            default=0.0,
        )

    def _spare(self, one: Need, host: str) -> float:
        """Return how much a host would have left of what the VM takes, as shares of all of it."""
        left = self._left[host]
        sizes = one.amounts.items()
        return sum((left[name] - size) / max(self._total[name], 1) for name, size in sizes)

    def free(self, name: str, zone: str | None = None) -> int:
        """Return how much of a class is free on all hosts (of one availability zone) together."""
        return sum(
            max(self._left[taker.host].get(name, 0), 0)
            for taker, _ in self.rooms
            if zone is None or taker.zone == zone
        )

    def could_hold(self, one: Need) -> bool:
        """Tell whether any host has room for this VM now."""
        return any(not self._lack(one, taker, room) for taker, room in self.rooms)

    def doubt(self, one: Need) -> str:
        """Return why a VM that was given room may find none all the same, or nothing."""
        if one.doubt:
            return one.doubt
        host = self._moved.get(one.id)
        split = next((room.split for taker, room in self.rooms if taker.host == host), frozenset())
        name = next((n for n in sorted(one.amounts) if n in split and one.amounts[n] > 1), None)
        return f"takes {amount(name, one.amounts[name])}, in one piece" if name else ""

    def _lack(self, one: Need, taker: Taker, room: Room) -> bool:
        there = taker.host
        return bool(
            self._unfit(one, taker, room)
            or self._short(one, taker, room)
            or any(not self._vacant(group, there) for group in one.groups if _parts(group))
        )

    def places(self, group: ServerGroup) -> int:
        """Return how many more members of an anti-affinity group all hosts together may take."""
        return sum(self._vacant(group, taker.host) for taker, _ in self.rooms)

    def _vacant(self, group: ServerGroup, host: str) -> int:
        here = sum(self._moved.get(m, self.at.get(m)) == host for m in group.members)
        return max(0, group.per_host - here)

    def _short(self, one: Need, taker: Taker, room: Room) -> list[str]:
        """Return the classes of which the host has too little for the VM."""
        left = self._left[taker.host]
        return [
            name
            for name, size in one.amounts.items()
            if size > min(left.get(name, 0), room.largest.get(name, 0))
        ]

    def _unfit(self, one: Need, taker: Taker, room: Room) -> str:
        """Return why the host is not for this VM, however much is free there."""
        if one.zone and taker.zone != one.zone:
            return f"in availability zone {one.zone}"
        if missing := one.required - room.traits:
            return f"with {', '.join(sorted(missing))}"
        if unwanted := one.forbidden & room.traits:
            return f"without {', '.join(sorted(unwanted))}"
        for group in one.groups:
            # Nova counts the dead host as its members' own until they have arrived elsewhere.
            if not _parts(group) and taker.host not in {self.at.get(m) for m in group.members}:
                return f"with a member of its affinity group '{group.name}'"
        return "" if self.hopeful else one.objections.get(taker.host, "")

    def _refusal(self, one: Need) -> Refusal:
        fit = [(taker, room) for taker, room in self.rooms if not self._unfit(one, taker, room)]
        if not fit:
            reasons = sorted({self._unfit(one, taker, room) for taker, room in self.rooms})
            return Refusal(f"finds no healthy host {' and '.join(reasons)}".rstrip())
        lacks = [set(self._short(one, taker, room)) for taker, room in fit]
        if not all(lacks):
            return Refusal(
                "finds another member of its anti-affinity group on every host with room"
            )
        short = frozenset(set.intersection(*lacks) or set.union(*lacks))
        sizes = " and ".join(amount(name, one.amounts[name]) for name in sorted(short))
        most = ", ".join(self._most(fit, short))
        return Refusal(f"needs {sizes}; the most that is left on one host is {most}", short)

    def _most(self, rooms: Sequence[tuple[Taker, Room]], names: Iterable[str]) -> Iterator[str]:
        for name in sorted(names):
            left = [
                min(self._left[t.host].get(name, 0), room.largest.get(name, 0))
                for t, room in rooms
            ]
            yield amount(name, max(0, *left))


def _parts(group: ServerGroup) -> bool:
    """Tell whether a strict group keeps its members apart, and not together."""
    return group.policy != groups.TOGETHER
