# SPDX-License-Identifier: Apache-2.0
"""Heartbeats on the wire: signed, ours, and for us, or refused with a reason."""

from __future__ import annotations

import uuid

import pytest

from vmha_pollsters.agent.wire import Kind, Packet, Rejected, cluster_digest, pack, unpack

NEW, OLD = b"new key new key new", b"old key old key old"
CLUSTER = cluster_digest("prod")
BEAT = Packet(Kind.HEARTBEAT, "h1", 0, 2, uuid.UUID(int=1), 77, 1.5e9)


def test_a_packet_is_read_as_it_was_sent() -> None:
    ack = Packet(Kind.ACK, "h2", 2, 0, uuid.UUID(int=2), 78, 1.5e9, echo=77)
    assert unpack(pack(BEAT, CLUSTER, NEW), CLUSTER, [NEW]) == BEAT
    assert unpack(pack(ack, CLUSTER, NEW), CLUSTER, [NEW]) == ack


@pytest.mark.parametrize("signed_with", [NEW, OLD])
def test_either_key_is_accepted_while_keys_are_rotated(signed_with: bytes) -> None:
    assert unpack(pack(BEAT, CLUSTER, signed_with), CLUSTER, [NEW, OLD]) == BEAT


DATA = pack(BEAT, CLUSTER, NEW)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pack(BEAT, CLUSTER, b"a stranger's key"), "wrong signature"),
        (pack(BEAT, cluster_digest("other"), NEW), "another cluster"),
        (DATA[:-1], "wrong signature"),
        (DATA[:60] + b"x" + DATA[61:], "wrong signature"),
        (DATA[:4] + b"\x02" + DATA[5:], "unknown version"),
        (b"", "not a heartbeat"),
        (b"x" * 2000, "not a heartbeat"),
    ],
)
def test_anything_else_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        unpack(data, CLUSTER, [NEW])
