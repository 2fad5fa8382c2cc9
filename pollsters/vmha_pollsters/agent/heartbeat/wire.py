# SPDX-License-Identifier: Apache-2.0
"""PURE: the bytes of a heartbeat, signed with HMAC-SHA256 (RFC 2104)."""

from __future__ import annotations

import hashlib
import hmac
import struct
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, TypeVar

T = TypeVar("T")

VERSION = 1
_MAGIC = b"VMHA"
_HEAD = struct.Struct("<4sBB16sHH16sQdQB")
_MAC = hashlib.sha256().digest_size
MOST_SLOTS = 2000
#: A roll call names the hosts that were heard by one bit a slot.
MOST_ROLL = MOST_SLOTS // 8
MAX_SIZE = _HEAD.size + 255 + MOST_ROLL + _MAC
#: `Packet.to` of a roll call.
EVERYBODY = 0xFFFF


class Kind(IntEnum):
    """What a packet is."""

    HEARTBEAT = 1
    ACK = 2
    BARE_HEARTBEAT = 3  # the sender's own lease is not renewed any more
    VOUCH = 4  # an acknowledgement whose word counts: its host may go on feeding its watchdog
    ROLL = 5  # a witness in a crowd acknowledges many at once
    ASKING_HEARTBEAT = 6  # the sender's renewal is late: it wants an answer of its own


#: What a host sends by itself, and what it sends in answer.
BEATS = frozenset({Kind.HEARTBEAT, Kind.BARE_HEARTBEAT, Kind.ASKING_HEARTBEAT})
ACKS = frozenset({Kind.ACK, Kind.VOUCH})


class Rejected(ValueError):
    """A packet that is not believed; the text is the reason, one of a few."""


class Packet(NamedTuple):  # cheap to make: a thousand a second on a witness
    """One heartbeat or its acknowledgement."""

    kind: Kind
    host: str  # who sends
    slot: int
    to: int  # the slot it is meant for: a copy sent elsewhere is refused there
    boot_id: uuid.UUID
    sequence: int  # grows with every packet of a boot, also over restarts of the agent
    wall: float  # the sender's clock, to compare clocks only
    echo: int = 0  # ACKS: the sequence that is acknowledged
    roll: bytes = b""  # ROLL: whom the sender has heard of late, see `roll`


def cluster_digest(cluster: str) -> bytes:
    """Return 16 bytes that stand for the cluster's name in every packet."""
    return hashlib.blake2b(cluster.encode(), digest_size=16).digest()


def roll(slots: Iterable[int]) -> bytes:
    """Return one bit a slot, as short as possible: the ones that were heard."""
    bits = sum(1 << slot for slot in slots)
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def is_called(packet: Packet, slot: int) -> bool:
    """Tell whether a roll call names `slot`."""
    place = slot >> 3
    return place < len(packet.roll) and bool(packet.roll[place] >> (slot & 7) & 1)


_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


@lru_cache(maxsize=8)
def _padded(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """Return the two hashes of an HMAC (RFC 2104), each of which has taken in its key.

    A thousand signatures a second are checked on a witness, and copies of these cost 0.8 us each,
    where `hmac.digest` takes 2.
    """
    block = hashlib.sha256().block_size
    short = key if len(key) <= block else hashlib.sha256(key).digest()
    full = short.ljust(block, b"\0")
    return hashlib.sha256(full.translate(_INNER)), hashlib.sha256(full.translate(_OUTER))


def _sign(key: bytes, body: bytes) -> bytes:
    inner, outer = (begun.copy() for begun in _padded(key))
    inner.update(body)
    outer.update(inner.digest())
    return outer.digest()


#: All heartbeats of one boot to one host are the same but for sequence, clock and signature.
_BEGINNING = struct.calcsize("<4sBB16sHH16s")
_NEWS = struct.Struct("<Qd")
_REST = _BEGINNING + _NEWS.size

#: All bytes of one sender's heartbeats but those, and who that is.
Voices = dict[bytes, T]


def learn(voices: Voices[T], data: bytes, who: T) -> None:
    """Remember the voice of `who`, whose heartbeat `data` was just believed."""
    voices[data[:_BEGINNING] + data[_REST:-_MAC]] = who


def recognise(
    packets: Iterable[bytes], voices: Mapping[bytes, T], key: bytes
) -> Iterator[tuple[T | None, int, float, bytes]]:
    """Yield (who, sequence, clock, packet), with who None for all but the known voices.

    A known voice is as good as what `unpack` returns: each of its bytes is compared with those
    of a heartbeat that was believed, or yielded, and its signature by `key` is checked.
    """
    inner, outer = _padded(key)
    news, known, compare = _NEWS.unpack_from, voices.get, hmac.compare_digest
    for data in packets:
        who = known(data[:_BEGINNING] + data[_REST:-_MAC])
        if who is not None:
            one, two = inner.copy(), outer.copy()
            one.update(data[:-_MAC])
            two.update(one.digest())
            if compare(two.digest(), data[-_MAC:]):
                sequence, wall = news(data, _BEGINNING)
                yield who, sequence, wall, data
                continue
        yield None, 0, 0.0, data


_KINDS = {int(kind): kind for kind in Kind}
#: The same few boots and names come again and again.
_boot = lru_cache(maxsize=4096)(lambda raw: uuid.UUID(bytes=raw))
_name = lru_cache(maxsize=4096)(lambda raw: raw.decode())


def pack(packet: Packet, cluster: bytes, key: bytes) -> bytes:
    """Return the signed bytes of `packet`; `cluster` is its digest."""
    name = packet.host.encode()
    body = (
        _HEAD.pack(
            _MAGIC,
            VERSION,
            packet.kind,
            cluster,
            packet.slot,
            packet.to,
            packet.boot_id.bytes,
            packet.sequence,
            packet.wall,
            packet.echo,
            len(name),
        )
        + name
        + packet.roll
    )
    return body + _sign(key, body)


def unpack(data: bytes, cluster: bytes, keys: Sequence[bytes]) -> Packet:
    """Return the packet in `data` if one of `keys` signed it; raises `Rejected`."""
    if len(data) < _HEAD.size + _MAC or data[:4] != _MAGIC:
        raise Rejected("not a heartbeat")
    if data[4] != VERSION:
        raise Rejected("unknown version")
    body, mac = data[:-_MAC], data[-_MAC:]
    for key in keys:
        if hmac.compare_digest(_sign(key, body), mac):
            break
    else:
        raise Rejected("wrong signature")
    _, _, kind, digest, slot, to, boot, sequence, wall, echo, size = _HEAD.unpack_from(body)
    if digest != cluster:
        raise Rejected("another cluster")
    end = _HEAD.size + size
    if len(body) < end or (len(body) > end and kind != Kind.ROLL):
        raise Rejected("wrong length")
    try:
        host = _name(body[_HEAD.size : end])
        return Packet(_KINDS[kind], host, slot, to, _boot(boot), sequence, wall, echo, body[end:])
    except (ValueError, KeyError) as exc:
        raise Rejected("unknown kind or name") from exc
