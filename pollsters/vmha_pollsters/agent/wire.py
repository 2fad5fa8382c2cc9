# SPDX-License-Identifier: Apache-2.0
"""PURE: the bytes of a heartbeat, signed with HMAC-SHA256 (RFC 2104)."""

from __future__ import annotations

import hashlib
import hmac
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

VERSION = 1
_MAGIC = b"VMHA"
_HEAD = struct.Struct("<4sBB16sHH16sQdQB")
_MAC = hashlib.sha256().digest_size
MAX_SIZE = _HEAD.size + 255 + _MAC


class Kind(IntEnum):
    """What a packet is."""

    HEARTBEAT = 1
    ACK = 2
    BARE_HEARTBEAT = 3  # the sender's own lease is not renewed any more
    VOUCH = 4  # an acknowledgement whose word counts: its host may go on feeding its watchdog


#: What a host sends by itself, and what it sends in answer.
BEATS = frozenset({Kind.HEARTBEAT, Kind.BARE_HEARTBEAT})
ACKS = frozenset({Kind.ACK, Kind.VOUCH})


class Rejected(ValueError):
    """A packet that is not believed; the text is the reason, one of a few."""


@dataclass(frozen=True)
class Packet:
    """One heartbeat or its acknowledgement."""

    kind: Kind
    host: str  # who sends
    slot: int
    to: int  # the slot it is meant for: a copy sent elsewhere is refused there
    boot_id: uuid.UUID
    sequence: int  # grows with every packet of a boot, also over restarts of the agent
    wall: float  # the sender's clock, to compare clocks only
    echo: int = 0  # ACKS: the sequence that is acknowledged


def cluster_digest(cluster: str) -> bytes:
    """Return 16 bytes that stand for the cluster's name in every packet."""
    return hashlib.blake2b(cluster.encode(), digest_size=16).digest()


@lru_cache(maxsize=8)
def _signer(key: bytes) -> hmac.HMAC:
    """Return an HMAC that has taken in its key: a copy costs a third of beginning anew."""
    return hmac.new(key, digestmod="sha256")


def _sign(key: bytes, body: bytes) -> bytes:
    mac = _signer(key).copy()
    mac.update(body)
    return mac.digest()


_KINDS = {int(kind): kind for kind in Kind}
#: The same few boots come again and again.
_boot = lru_cache(maxsize=4096)(lambda raw: uuid.UUID(bytes=raw))


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
    )
    return body + _sign(key, body)


def unpack(data: bytes, cluster: bytes, keys: Sequence[bytes]) -> Packet:
    """Return the packet in `data` if one of `keys` signed it; raises `Rejected`."""
    if len(data) < _HEAD.size + _MAC or data[:4] != _MAGIC:
        raise Rejected("not a heartbeat")
    if data[4] != VERSION:
        raise Rejected("unknown version")
    body, mac = data[:-_MAC], data[-_MAC:]
    if not any([hmac.compare_digest(_sign(key, body), mac) for key in keys]):
        raise Rejected("wrong signature")
    _, _, kind, digest, slot, to, boot, sequence, wall, echo, size = _HEAD.unpack_from(body)
    if digest != cluster:
        raise Rejected("another cluster")
    if len(body) != _HEAD.size + size:
        raise Rejected("wrong length")
    try:
        host = body[_HEAD.size :].decode()
        return Packet(_KINDS[kind], host, slot, to, _boot(boot), sequence, wall, echo)
    except (ValueError, KeyError) as exc:
        raise Rejected("unknown kind or name") from exc
