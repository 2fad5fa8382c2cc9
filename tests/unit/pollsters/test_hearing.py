# SPDX-License-Identifier: Apache-2.0
"""What was heard, and what silence means: nothing, until it was listened to long enough."""

from __future__ import annotations

import uuid

import pytest

from vmha_pollsters.agent.heartbeat.hearing import Hearing
from vmha_pollsters.agent.heartbeat.wire import Kind, Packet, Rejected, pack

BOOT, NEXT_BOOT = uuid.UUID(int=1), uuid.UUID(int=2)
BOOTS = {"h1": BOOT}


def beat(sequence: int, boot: uuid.UUID = BOOT, kind: Kind = Kind.HEARTBEAT) -> Packet:
    return Packet(kind, "h1", 0, 1, boot, sequence, wall=5000.0)


@pytest.fixture
def hearing() -> Hearing:
    made = Hearing(watch=10.0, fresh=4.0)
    made.begin(100.0)
    made.expect(["h1"], 100.0)
    return made


def test_the_age_is_the_time_since_the_last_packet(hearing: Hearing) -> None:
    hearing.take(beat(1), 101.0, BOOTS)
    assert hearing.age("h1", 101.0) == 0.0
    assert hearing.age("h1", 108.5) == 7.5


def test_a_host_never_heard_is_unknown_until_watched_for_long_enough(hearing: Hearing) -> None:
    assert hearing.age("h1", 100.0) is None
    assert hearing.age("h1", 109.9) is None
    assert hearing.age("h1", 110.0) == 10.0
    assert hearing.age("stranger", 200.0) is None


def test_after_a_pause_everything_before_it_is_forgotten(hearing: Hearing) -> None:
    hearing.take(beat(1), 101.0, BOOTS)
    hearing.begin(200.0)
    assert hearing.age("h1", 200.0) is None
    assert hearing.last_heard(200.0) is None
    assert hearing.listening_for(201.0) == 1.0
    assert hearing.age("h1", 212.0) == 12.0


def test_a_host_that_did_not_send_to_us_is_not_silent(hearing: Hearing) -> None:
    hearing.take(beat(1), 101.0, BOOTS)
    hearing.expect([], 102.0)
    assert hearing.age("h1", 150.0) is None
    hearing.expect(["h1"], 160.0)
    assert hearing.age("h1", 165.0) is None, "it has to learn first that it is to send"
    assert hearing.age("h1", 171.0) == 11.0


def test_a_host_just_heard_stays_heard_when_it_becomes_expected(hearing: Hearing) -> None:
    hearing.expect([], 101.0)
    hearing.take(beat(1), 102.0, BOOTS)
    assert hearing.age("h1", 103.0) == 1.0
    hearing.expect(["h1"], 104.0)
    assert hearing.age("h1", 104.0) == 2.0


@pytest.mark.parametrize("sequence", [5, 4, 1])
def test_a_replay_is_refused_and_does_not_count(hearing: Hearing, sequence: int) -> None:
    hearing.take(beat(5), 101.0, BOOTS)
    with pytest.raises(Rejected, match="replayed"):
        hearing.take(beat(sequence), 110.0, BOOTS)
    assert hearing.age("h1", 110.0) == 9.0


def test_a_new_boot_is_believed_when_its_slot_says_so(hearing: Hearing) -> None:
    hearing.take(beat(500), 101.0, BOOTS)
    with pytest.raises(Rejected, match="another boot"):
        hearing.take(beat(1, NEXT_BOOT), 110.0, {"h1": BOOT})
    hearing.take(beat(1, NEXT_BOOT), 111.0, {"h1": NEXT_BOOT})
    assert hearing.age("h1", 111.0) == 0.0


def test_a_packet_of_an_earlier_boot_is_refused_even_without_storage(hearing: Hearing) -> None:
    hearing.take(beat(500), 101.0, {})
    hearing.take(beat(1, NEXT_BOOT), 111.0, {})
    with pytest.raises(Rejected, match="another boot"):
        hearing.take(beat(501), 112.0, {})


def test_only_an_acknowledgement_says_that_we_are_heard(hearing: Hearing) -> None:
    hearing.take(beat(1), 101.0, BOOTS)
    assert hearing.acked("h1", 102.0) is None
    hearing.take(beat(2, kind=Kind.ACK), 103.0, BOOTS)
    assert hearing.acked("h1", 104.0) == 1.0


def test_the_clock_is_compared_only_with_hosts_just_heard(hearing: Hearing) -> None:
    hearing.take(beat(1), 101.0, BOOTS)
    # It sent 5000.0 when our clock, which says 4998.5 at 102.0, said 4997.5.
    assert hearing.census(102.0, 102.0, wall=4998.5) == ({"h1": 1.0}, {"h1": 2.5})
    assert hearing.census(106.0, 106.0, wall=5002.5) == ({"h1": 5.0}, {})


def vouch(sequence: int, echo: int) -> Packet:
    return Packet(Kind.VOUCH, "h1", 0, 1, BOOT, sequence, wall=5000.0, echo=echo)


def test_grounds_are_as_old_as_the_heartbeat_that_was_vouched_for(hearing: Hearing) -> None:
    hearing.take(vouch(1, echo=101_500), 104.0, BOOTS)
    assert hearing.vouched == 101.5
    hearing.take(vouch(2, echo=100_900), 105.0, BOOTS)  # overtaken
    assert hearing.vouched == 101.5


@pytest.mark.parametrize("echo", [0, 39_000, 106_500], ids=["none", "too late", "another boot"])
def test_an_answer_to_no_heartbeat_of_ours_is_no_grounds(hearing: Hearing, echo: int) -> None:
    hearing.take(vouch(1, echo), 105.0, BOOTS)
    assert hearing.vouched is None


def test_a_plain_acknowledgement_is_no_grounds(hearing: Hearing) -> None:
    hearing.take(beat(1, kind=Kind.ACK), 101.0, BOOTS)
    assert hearing.vouched is None


def test_hosts_without_a_lease_are_counted_while_they_are_heard(hearing: Hearing) -> None:
    hearing.take(beat(1, kind=Kind.BARE_HEARTBEAT), 101.0, BOOTS)
    assert hearing.bare(104.0) == 1
    assert hearing.bare(106.0) == 0
    hearing.take(beat(2, kind=Kind.BARE_HEARTBEAT), 107.0, BOOTS)
    hearing.take(beat(3), 108.0, BOOTS)
    assert hearing.bare(108.0) == 0


KEY, CLUSTER = b"a key that is long enough", b"c" * 16


def packed(packet: Packet) -> bytes:
    return pack(packet, CLUSTER, KEY)


def known(hearing: Hearing, *packets: Packet, now: float = 102.0) -> tuple[int, int, list[bytes]]:
    """Take these as a crowd's; return how many were taken and replayed, and the others."""
    others: list[bytes] = []
    counts = hearing.take_known(map(packed, packets), KEY, now, others.append)
    return *counts, others


def noted(hearing: Hearing, packet: Packet) -> None:
    hearing.take(packet, 101.0, BOOTS)
    hearing.note(packet, packed(packet))


def test_in_a_crowd_a_host_that_was_noted_is_heard_without_reading_all(hearing: Hearing) -> None:
    noted(hearing, beat(1))
    assert known(hearing, beat(2)) == (1, 0, [])
    assert hearing.age("h1", 103.0) == 1.0
    assert hearing.census(103.0, 103.0, wall=5001.0)[1] == {"h1": 0.0}


def test_a_replay_is_refused_in_a_crowd_too(hearing: Hearing) -> None:
    noted(hearing, beat(5))
    assert known(hearing, beat(5), beat(4), beat(6), beat(6)) == (1, 3, [])


def test_others_are_read_in_full_each_in_its_turn(hearing: Hearing) -> None:
    assert known(hearing, beat(1)) == (0, 0, [packed(beat(1))]), "nobody was noted"
    noted(hearing, beat(1))
    bare = beat(3, kind=Kind.BARE_HEARTBEAT)
    heard_before: list[float | None] = []

    def read(_: bytes) -> None:
        heard_before.append(hearing.age("h1", 110.0))

    hearing.take_known(map(packed, [beat(2), bare]), KEY, 110.0, read)
    assert heard_before == [0.0]


def test_an_earlier_boot_is_not_heard_by_its_voice(hearing: Hearing) -> None:
    noted(hearing, beat(500))
    hearing.take(beat(1, NEXT_BOOT), 102.0, {"h1": NEXT_BOOT})
    assert known(hearing, beat(501)) == (0, 0, [packed(beat(501))])


def test_nobody_is_known_by_its_voice_once_that_was_forgotten(hearing: Hearing) -> None:
    noted(hearing, beat(1))
    hearing.forget_voices()
    assert known(hearing, beat(2)) == (0, 0, [packed(beat(2))])


def test_a_roll_call_names_whom_it_heard_since_the_last_one(hearing: Hearing) -> None:
    noted(hearing, beat(1))
    assert hearing.call(range(5)) == [0]
    assert hearing.call(range(5)) == []
    known(hearing, beat(2))
    assert hearing.call(range(1, 5)) == []
    assert hearing.call(range(5)) == [0]
