# SPDX-License-Identifier: Apache-2.0
"""PURE: the bytes of the slots area, 4 KiB blocks with a CRC: header, roster, hosts.

Block 0 is the header, block 1 the roster, block 2 + n the slot of host n. All numbers are
little-endian; the last four bytes of a block are the CRC32 (zlib) of the rest. The first 512 bytes
of a slot are all that most hosts have to say, and end with a CRC32 of their own.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntFlag
from functools import lru_cache

from vmha_pollsters.lease.views import MAX_BYTES, pack_views, unpack_views
from vmha_pollsters.lease.views import MAX_HOSTS as MAX_HOSTS
from vmha_pollsters.lease.views import NO_OPINION as NO_OPINION
from vmha_pollsters.lease.views import ByNumber as ByNumber
from vmha_pollsters.lease.views import Opinion as Opinion
from vmha_pollsters.lease.views import Probe as Probe
from vmha_pollsters.lease.views import pack_age as pack_age
from vmha_pollsters.lease.views import unpack_age as unpack_age

BLOCK = 4096
FIRST_HOST = 2
VERSION = 1
MAX_WITNESSES = 3
NOBODY = 0xFFFF
ZEROS = bytes(BLOCK)
Block = bytes | memoryview

_CRC = struct.Struct("<I")
#: What the CRC32 of anything is that ends with its own CRC32, lowest byte first.
_RESIDUE = zlib.crc32(_CRC.pack(zlib.crc32(b"")))
_HEADER = struct.Struct("<8sHHI16sd128s")
_ROSTER = struct.Struct("<8sHHH16sQQd3H250s")
_SLOT = struct.Struct("<8sHHHhHH16s16s16sQQdf255s64sf")
_VIEWS_AT = 512
_HEAD_CRC_AT = _VIEWS_AT - _CRC.size
#: Where a slot's sequence and wall clock are: all that most renewals change.
_BEAT = struct.Struct("<Qd")
SEQUENCE_AT = struct.calcsize("<8sHHHhHH16s16s16sQ")
_BEAT_END = SEQUENCE_AT + _BEAT.size
HEADER_MAGIC, ROSTER_MAGIC, SLOT_MAGIC = b"VMHALEAS", b"VMHAROST", b"VMHASLOT"

assert _SLOT.size <= _HEAD_CRC_AT and BLOCK - _CRC.size >= _VIEWS_AT + MAX_BYTES
assert MAX_HOSTS == 8 * 250  # the roster's bits


class Damaged(ValueError):
    """A block that cannot be trusted; the text says what is wrong with it."""


class Stray(Damaged):
    """A block left from an area that was there before, or by somebody who missed its end."""


class Flag(IntFlag):
    """What a host says about itself in its slot."""

    CLAIMING = 1  # the owner has not yet read its claim back
    ISOLATED = 2  # it hears no peer and its isolation addresses do not answer
    LEAVING = 4  # it stopped on purpose
    QUALIFIED = 8  # its view may be believed
    WATCHDOG = 16  # its armed watchdog resets it once nobody can vouch that it lives


NO_FLAGS = Flag(0)


def has(flags: Flag, flag: Flag) -> bool:
    """Tell whether `flag` is in `flags`; Python's own operator takes ten times as long."""
    return int.__and__(flags, flag) != 0


@dataclass(frozen=True)
class Header:
    """Whose area this is."""

    cluster: str
    uuid: uuid.UUID
    hosts: int
    created: float = 0.0  # wall clock, for people


@dataclass(frozen=True)
class Roster:
    """Who watches: written by the master, read by everybody."""

    master: int
    witnesses: tuple[int, ...]
    members: frozenset[int]
    term: int
    sequence: int
    writer: int
    written: float = 0.0  # wall clock, for people


@dataclass(frozen=True)
class Slot:
    """What one host wrote about itself (and, if a witness, about others)."""

    index: int
    host: str
    address: str
    boot_id: uuid.UUID
    nonce: bytes  # 16 random bytes, new with every claim
    generation: int
    sequence: int
    flags: Flag = NO_FLAGS
    priority: int = 0
    wall: float = 0.0
    watchdog_timeout: float = 0.0  # s, the armed watchdog's own; 0: none
    watchdog_promise: float = 0.0  # s from its last grounds to its reset, at most; 0: none
    views: Sequence[Opinion] = field(default=(), repr=False)

    @property
    def version(self) -> tuple[bytes, int, int]:
        """Return what changes with every renewal."""
        return (self.nonce, self.generation, self.sequence)


def _seal(body: bytes, size: int = BLOCK) -> bytes:
    data = body.ljust(size - _CRC.size, b"\0")
    return data + _CRC.pack(zlib.crc32(data))


def is_whole(data: Block) -> bool:
    """Tell whether the checksum fits at the end of a block, or of a slot's first part."""
    return zlib.crc32(data) == _RESIDUE


def _is_free(data: Block) -> bool:
    return not data[0] and bytes(data) == ZEROS


def _open(data: Block, magic: bytes, what: str) -> None:
    if len(data) != BLOCK:
        raise Damaged(f"{what}: {len(data)} bytes instead of {BLOCK}")
    if data[:8] != magic:
        raise Damaged(f"{what}: not one of ours (no {magic.decode()} mark)")
    if not is_whole(data):
        raise Damaged(f"{what}: checksum does not fit")
    version = int.from_bytes(data[8:10], "little")
    if version != VERSION:
        raise Damaged(f"{what}: format version {version}, this agent knows {VERSION}")


#: The same hosts come again with every look.
_uuid = lru_cache(maxsize=4096)(lambda raw: uuid.UUID(bytes=raw))
_decode = lru_cache(maxsize=8192)(lambda raw: raw.rstrip(b"\0").decode())


def _text(raw: bytes, what: str) -> str:
    try:
        return str(_decode(raw))
    except UnicodeDecodeError as exc:
        raise Damaged(f"{what}: text is not UTF-8") from exc


def _fit(text: str, size: int, what: str) -> bytes:
    raw = text.encode()
    if not raw or len(raw) > size:
        raise ValueError(f"{what} must have 1 to {size} bytes, not {len(raw)}")
    return raw


def pack_header(header: Header) -> bytes:
    """Return the block of `header`; raises ValueError for what does not fit."""
    if not 1 <= header.hosts <= MAX_HOSTS:
        raise ValueError(f"hosts must be 1 to {MAX_HOSTS}, not {header.hosts}")
    name = _fit(header.cluster, 128, "cluster name")
    return _seal(
        _HEADER.pack(
            HEADER_MAGIC, VERSION, BLOCK, header.hosts, header.uuid.bytes, header.created, name
        )
    )


def unpack_header(data: Block) -> Header:
    """Return the header in a block; raises `Damaged`."""
    _open(data, HEADER_MAGIC, "header")
    _, _, block, hosts, ident, created, name = _HEADER.unpack_from(data)
    if block != BLOCK or not 1 <= hosts <= MAX_HOSTS:
        raise Damaged(f"header: impossible geometry ({hosts} slots of {block} bytes)")
    return Header(_text(name, "header"), uuid.UUID(bytes=ident), hosts, created)


def pack_roster(roster: Roster, area: uuid.UUID) -> bytes:
    """Return the block of `roster` for the area with id `area`."""
    names = (*roster.witnesses, NOBODY, NOBODY, NOBODY)[:MAX_WITNESSES]
    bits = sum(1 << member for member in roster.members).to_bytes(MAX_HOSTS // 8, "little")
    return _seal(
        _ROSTER.pack(
            ROSTER_MAGIC,
            VERSION,
            roster.master,
            roster.writer,
            area.bytes,
            roster.term,
            roster.sequence,
            roster.written,
            *names,
            bits,
        )
    )


def unpack_roster(data: Block, area: uuid.UUID) -> Roster | None:
    """Return the roster in a block, None if none was ever written; raises `Damaged`."""
    if _is_free(data):
        return None
    _open(data, ROSTER_MAGIC, "roster")
    _, _, master, writer, ident, term, sequence, written, a, b, c, raw = _ROSTER.unpack_from(data)
    _same_area(ident, area, "roster")
    return Roster(
        master=master,
        witnesses=tuple(w for w in (a, b, c) if w != NOBODY),
        members=_members(raw),
        term=term,
        sequence=sequence,
        writer=writer,
        written=written,
    )


@lru_cache(maxsize=4)
def _members(raw: bytes) -> frozenset[int]:
    """Return the numbers of the bits that are set; the same members come with every look."""
    bits = int.from_bytes(raw, "little")
    found = set()
    while bits:
        lowest = bits & -bits
        found.add(lowest.bit_length() - 1)
        bits ^= lowest
    return frozenset(found)


def pack_slot(slot: Slot, area: uuid.UUID) -> bytes:
    """Return the block of `slot` for the area with id `area`; raises ValueError."""
    fixed = _SLOT.pack(
        SLOT_MAGIC,
        VERSION,
        slot.index,
        int(slot.flags),
        slot.priority,
        len(slot.views),
        0,
        area.bytes,
        slot.boot_id.bytes,
        slot.nonce,
        slot.generation,
        slot.sequence,
        slot.wall,
        slot.watchdog_timeout,
        _fit(slot.host, 255, "host name"),
        _fit(slot.address, 64, "address"),
        slot.watchdog_promise,
    )
    return _seal(_seal(fixed, _VIEWS_AT) + pack_views(slot.views))


def unpack_slot(data: Block, index: int, area: uuid.UUID) -> Slot | None:
    """Return what is in the block of host slot `index`, None if free; raises `Damaged`."""
    if _is_free(data):
        return None
    what = f"slot {index}"
    _open(data, SLOT_MAGIC, what)
    (_, _, number, flags, priority, count, _, ident, boot, nonce, *rest) = _SLOT.unpack_from(data)
    generation, sequence, wall, timeout, host, address, promise = rest
    _same_area(ident, area, what)
    if number != index:
        raise Damaged(f"{what}: holds the data of slot {number}")
    views = _views(data, count, what)
    return Slot(
        index=index,
        host=_text(host, what),
        address=_text(address, what),
        boot_id=_uuid(boot),
        nonce=nonce,
        generation=generation,
        sequence=sequence,
        flags=Flag(flags),
        priority=priority,
        wall=wall,
        watchdog_timeout=timeout,
        watchdog_promise=promise,
        views=views,
    )


class Kept:
    """The slot in a block that was read (None: free), and what to know it again by.

    `slot` stays the same object while it is renewed only: `sequence` is what was read last.
    """

    __slots__ = ("_head", "_tail", "sequence", "slot")

    def __init__(self, data: Block, slot: Slot | None) -> None:
        self.slot, self.sequence = slot, 0 if slot is None else slot.sequence
        self._head, self._tail = bytes(data[:SEQUENCE_AT]), bytes(data[_BEAT_END:_HEAD_CRC_AT])

    def renew(self, data: Block) -> bool:
        """Take in `data` if that is the same slot, renewed or not, and whole; False: it is not.

        Spares the unpacking of what does not change, and of a renewed slot without views the
        checksum of 3.5 KiB that say nothing. (Agents of before wrote only the one at the end.)
        """
        slot = self.slot
        if slot is None:
            return _is_free(data)
        said = bytes(data[:_VIEWS_AT])
        sequence, wall = _BEAT.unpack_from(said, SEQUENCE_AT)
        says_all = sequence != self.sequence and not slot.views and is_whole(said)
        if not says_all and not is_whole(data):
            return False
        if not said.startswith(self._head) or not said.startswith(self._tail, _BEAT_END):
            return False
        if slot.views:
            try:
                views = _views(data, len(slot.views), "slot")
            except Damaged:
                return False
            self.slot = replace(slot, sequence=sequence, wall=wall, views=views)
        self.sequence = sequence
        return True


def _views(data: Block, count: int, what: str) -> Sequence[Opinion]:
    if count > MAX_HOSTS:
        raise Damaged(f"{what}: a view of {count} hosts")
    if not count:
        return ()
    try:
        return unpack_views(bytes(data[_VIEWS_AT:]), count)
    except ValueError as exc:
        raise Damaged(f"{what}: {exc} in its view") from exc


def _same_area(ident: bytes, area: uuid.UUID, what: str) -> None:
    if ident != area.bytes:
        raise Stray(f"{what}: belongs to area {uuid.UUID(bytes=ident)}, not to {area}")
