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

VERSION = 1
_MAGIC = b"VMHA"
_HEAD = struct.Struct("<4sBB16sHH16sQdQB")
_MAC = hashlib.sha256().digest_size
MAX_SIZE = _HEAD.size + 255 + _MAC


class Kind(IntEnum):
    """What a packet is."""

    HEARTBEAT = 1
    ACK = 2


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
    echo: int = 0  # ACK: the sequence that is acknowledged


def cluster_digest(cluster: str) -> bytes:
    """Return 16 bytes that stand for the cluster's name in every packet."""
    return hashlib.blake2b(cluster.encode(), digest_size=16).digest()


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
    return body + hmac.digest(key, body, "sha256")


def unpack(data: bytes, cluster: bytes, keys: Sequence[bytes]) -> Packet:
    """Return the packet in `data` if one of `keys` signed it; raises `Rejected`."""
    if len(data) < _HEAD.size + _MAC or data[:4] != _MAGIC:
        raise Rejected("not a heartbeat")
    if data[4] != VERSION:
        raise Rejected("unknown version")
    body, mac = data[:-_MAC], data[-_MAC:]
    if not any([hmac.compare_digest(hmac.digest(key, body, "sha256"), mac) for key in keys]):
        raise Rejected("wrong signature")
    _, _, kind, digest, slot, to, boot, sequence, wall, echo, size = _HEAD.unpack_from(body)
    if digest != cluster:
        raise Rejected("another cluster")
    if len(body) != _HEAD.size + size:
        raise Rejected("wrong length")
    try:
        host = body[_HEAD.size :].decode()
        return Packet(Kind(kind), host, slot, to, uuid.UUID(bytes=boot), sequence, wall, echo)
    except ValueError as exc:
        raise Rejected("unknown kind or name") from exc
