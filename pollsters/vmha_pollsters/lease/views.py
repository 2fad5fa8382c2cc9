# SPDX-License-Identifier: Apache-2.0
"""PURE: what a witness says about the others, in the bytes of its slot.

Up to WIDE_HOSTS hosts three columns of one byte a host: heartbeat age, lease age, probe. Above
that the lease age takes four bits and the probe two, which keeps 2000 hosts in one block.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, overload

MAX_HOSTS = 2000
WIDE_HOSTS = 1000
#: What the view of MAX_HOSTS (or WIDE_HOSTS) takes at most.
MAX_BYTES = max(3 * WIDE_HOSTS, MAX_HOSTS + MAX_HOSTS // 2 + MAX_HOSTS // 4)
#: Lease ages (s) that four bits can say: fine up to the rules' threshold, then coarse.
NARROW_AGES = (*range(11), 12, 15, 20, 30)
_NARROW_UNKNOWN = 15


class Probe(IntEnum):
    """What a witness learned by probing a host's management address."""

    UNKNOWN = 0  # never proven to work, or not finished
    ANSWERS = 1
    SILENT = 2


class Opinion(NamedTuple):  # cheap to make: thousands a second on a witness
    """What a witness says about one host; ages in seconds, None: does not know."""

    heard: float | None = None
    lease: float | None = None
    probe: Probe = Probe.UNKNOWN


NO_OPINION = Opinion()


def pack_age(age: float | None) -> int:
    """Return an age as one byte, rounded down: 0.1 s steps to 20 s, 5 s steps to 285 s.

    Rounding down never makes a host look older than it is.
    """
    if age is None:
        return 255
    if age < 20.0:
        return max(0, int(age * 10 + 1e-6))
    return min(253, 200 + int((age - 20.0) / 5))


def unpack_age(byte: int) -> float | None:
    """Return the age in seconds that `pack_age` wrote; 254 is kept for later use."""
    if byte >= 254:
        return None
    return byte / 10 if byte < 200 else 20.0 + 5 * (byte - 200)


def _narrow(age: float | None) -> int:
    return _NARROW_UNKNOWN if age is None else bisect_right(NARROW_AGES, age) - 1


#: What each byte of a column of ages says.
AGES = tuple(unpack_age(byte) for byte in range(256))
_PROBES = {int(probe): probe for probe in Probe}
_TO_NARROW = bytes(_narrow(age) for age in AGES)
_FROM_NARROW = bytes(pack_age(float(age)) for age in NARROW_AGES) + b"\xff" * 241


class Views(Sequence[Opinion]):
    """The opinions in three columns of bytes; each is made when it is asked for."""

    __slots__ = ("_heard", "_lease", "_probe")

    def __init__(self, heard: bytes, lease: bytes, probe: bytes) -> None:
        self._heard, self._lease, self._probe = heard, lease, probe

    @classmethod
    def of(cls, views: Sequence[Opinion]) -> Views:
        """Return any opinions as columns; ages are rounded down."""
        if isinstance(views, Views):
            return views
        return cls(
            bytes(pack_age(view.heard) for view in views),
            bytes(pack_age(view.lease) for view in views),
            bytes(view.probe for view in views),
        )

    @property
    def columns(self) -> tuple[bytes, bytes, bytes]:
        """Return heartbeat ages, lease ages and probes, one byte a host each."""
        return self._heard, self._lease, self._probe

    def __len__(self) -> int:
        return len(self._heard)

    @overload
    def __getitem__(self, index: int) -> Opinion: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Opinion]: ...
    def __getitem__(self, index: int | slice) -> Opinion | Sequence[Opinion]:
        if isinstance(index, slice):
            return Views(self._heard[index], self._lease[index], self._probe[index])
        return Opinion(
            AGES[self._heard[index]], AGES[self._lease[index]], _PROBES[self._probe[index]]
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash((self._heard, self._lease, self._probe))


def pack_views(views: Sequence[Opinion]) -> bytes:
    """Return the bytes of `views`, one a host; raises ValueError if there are too many."""
    if len(views) > MAX_HOSTS:
        raise ValueError(f"a view of {len(views)} hosts does not fit")
    heard, lease, probe = Views.of(views).columns
    if len(views) <= WIDE_HOSTS:
        return heard + lease + probe
    return heard + squeeze(lease.translate(_TO_NARROW), 4) + squeeze(probe, 2)


class ByNumber(Mapping[int, Opinion]):
    """Opinions by the slot they are about."""

    __slots__ = ("_views",)

    def __init__(self, views: Sequence[Opinion]) -> None:
        self._views = views

    def ages(self, slots: int) -> tuple[bytes, bytes]:
        """Return heartbeat and lease ages of so many slots, one byte each (see `AGES`)."""
        heard, lease, _ = Views.of(self._views).columns
        unknown = bytes((pack_age(None),))
        return heard.ljust(slots, unknown), lease.ljust(slots, unknown)

    def __getitem__(self, slot: int) -> Opinion:
        try:
            if slot >= 0:
                return self._views[slot]
        except IndexError:
            pass
        raise KeyError(slot)

    def __len__(self) -> int:
        return len(self._views)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self._views)))


def unpack_views(data: bytes, count: int) -> Sequence[Opinion]:
    """Return the `count` opinions at the beginning of `data`; raises ValueError for nonsense."""
    if not count:
        return ()
    heard = data[:count]
    if count <= WIDE_HOSTS:
        lease, probe = data[count : 2 * count], data[2 * count : 3 * count]
    else:
        crumbs = count + -(-count // 2)
        lease = unsqueeze(data[count:crumbs], 4, count).translate(_FROM_NARROW)
        probe = unsqueeze(data[crumbs : crumbs + -(-count // 4)], 2, count)
    if len(probe) != count or max(probe) > max(_PROBES):
        raise ValueError("unknown probe result")
    return Views(heard, lease, probe)


def squeeze(values: bytes, bits: int) -> bytes:
    """Return values of 2 or 4 bits each packed into bytes, the first one lowest."""
    share = 8 // bits
    padded = values + bytes(-len(values) % share)
    columns = [padded[n::share] for n in range(share)]
    return bytes(
        sum(value << (n * bits) for n, value in enumerate(group))
        for group in zip(*columns, strict=True)
    )


def unsqueeze(packed: bytes, bits: int, count: int) -> bytes:
    """Return the first `count` values that `squeeze` packed."""
    share, mask = 8 // bits, (1 << bits) - 1
    spread = bytearray(len(packed) * share)
    for n in range(share):
        spread[n::share] = packed.translate(bytes((b >> (n * bits)) & mask for b in range(256)))
    return bytes(spread[:count])
