# SPDX-License-Identifier: Apache-2.0
"""Heartbeats on the wire: signed, ours, and for us, or refused with a reason."""

from __future__ import annotations

import hmac
import uuid

import pytest

from vmha_pollsters.agent.heartbeat.wire import (
    Kind,
    Packet,
    Rejected,
    Voices,
    cluster_digest,
    learn,
    pack,
    recognise,
    unpack,
)

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


@pytest.mark.parametrize("key", [NEW, b"k" * 64, b"a key longer than a block of the hash " * 3])
def test_a_signature_is_an_hmac_with_sha256(key: bytes) -> None:
    data = pack(BEAT, CLUSTER, key)
    assert data[-32:] == hmac.digest(key, data[:-32], "sha256")


def later(sequence: int, wall: float, kind: Kind = Kind.HEARTBEAT) -> Packet:
    return BEAT._replace(kind=kind, sequence=sequence, wall=wall)


@pytest.fixture
def voices() -> Voices[str]:
    made: Voices[str] = {}
    learn(made, DATA, "h1")
    return made


def test_a_known_voice_is_recognised_by_what_changes(voices: Voices[str]) -> None:
    data = pack(later(78, 2e9), CLUSTER, NEW)
    assert list(recognise([data], voices, NEW)) == [("h1", 78, 2e9, data)]


@pytest.mark.parametrize(
    "packet",
    [
        later(78, 2e9, Kind.BARE_HEARTBEAT),
        later(78, 2e9)._replace(host="h2"),
        later(78, 2e9)._replace(slot=1),
        later(78, 2e9)._replace(to=3),
        later(78, 2e9)._replace(boot_id=uuid.UUID(int=2)),
        later(78, 2e9)._replace(echo=5),
    ],
)
def test_any_other_voice_is_left_to_be_read_in_full(voices: Voices[str], packet: Packet) -> None:
    data = pack(packet, CLUSTER, NEW)
    assert list(recognise([data], voices, NEW)) == [(None, 0, 0.0, data)]


def test_no_byte_of_a_known_voice_can_be_changed(voices: Voices[str]) -> None:
    whole = pack(later(78, 2e9), CLUSTER, NEW)
    changed = [
        whole[:n] + bytes((whole[n] ^ bit,)) + whole[n + 1 :]
        for n in range(len(whole))
        for bit in (1, 128)
    ]
    cut = [whole[:n] for n in range(len(whole))] + [whole + b"\0"]
    unsigned = [pack(later(78, 2e9), CLUSTER, OLD)]
    for who, _, _, _ in recognise([*changed, *cut, *unsigned], voices, NEW):
        assert who is None
