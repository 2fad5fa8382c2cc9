# SPDX-License-Identifier: Apache-2.0
"""Two hearts on the loopback interface: heard, acknowledged, and not to be fooled."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from vmha_pollsters.agent.heartbeat.crowd import BIG_CROWD, CROWD, FEW_WAKES, PACKET, PARTS
from vmha_pollsters.agent.heartbeat.hearing import Hearing
from vmha_pollsters.agent.heartbeat.heart import Heart
from vmha_pollsters.agent.heartbeat.sender import Sender
from vmha_pollsters.agent.heartbeat.station import Route, Standing, Station
from vmha_pollsters.agent.heartbeat.wire import (
    EVERYBODY,
    Kind,
    Packet,
    cluster_digest,
    is_called,
    pack,
    roll,
    unpack,
)

KEY, NEXT_KEY = b"the key of today, long enough", b"the key of tomorrow, long enough"
BOOT = {"h1": uuid.UUID(int=1), "h2": uuid.UUID(int=2)}
BEAT = 0.1


@dataclass
class Pair:
    """Two running hearts that know of each other."""

    family: str
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.address = {"h1": "127.0.0.1", "h2": "127.0.0.2"}
        if self.family == "IPv6":
            self.address = {"h1": "::1", "h2": "::1"}
        self.port = free_port(self.address["h1"])

    def heart(self, host: str, *keys: bytes, port: int | None = None) -> Heart:
        other = "h2" if host == "h1" else "h1"
        made = Heart(
            Station(host, self.address[host], port or self.port, BOOT[host], "c", keys, BEAT),
            Hearing(watch=1.0, fresh=4 * BEAT),
        )
        slots = {"h1": 0, "h2": 1}
        senders = frozenset({other})
        made.steer(Route(slots[host], {slots[other]: self.address[other]}, senders, BOOT))
        self.threads.append(threading.Thread(target=made.run, args=(self.stop,), daemon=True))
        self.threads[-1].start()
        return made


def free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"it never came true that {what}"
        time.sleep(0.01)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair("IPv4")
    yield made
    made.stop.set()
    for thread in made.threads:
        thread.join(5)


def test_two_hosts_hear_and_acknowledge_each_other(pair: Pair) -> None:
    one, two = pair.heart("h1", KEY), pair.heart("h2", KEY)
    for heart, other in ((one, "h2"), (two, "h1")):
        until(lambda h=heart, o=other: h.acked(o) is not None, f"{other} says it hears us")  # type: ignore[misc]
        assert heart.heard(other) is not None
        assert abs(heart.census()[1][other]) < 1.0


def test_heartbeats_over_ipv6(pair: Pair) -> None:
    """One host beats at a plain socket, since ::1 is one address only."""
    six = Pair("IPv6", pair.stop, pair.threads)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.settimeout(10)
        heart = six.heart("h1", KEY)
        until(lambda: heart.problem is None and heart.listening_for() > 0, "it listens")
        beat = Packet(Kind.HEARTBEAT, "h2", 1, 0, BOOT["h2"], 1, time.time())
        sock.sendto(pack(beat, cluster_digest("c"), KEY), ("::1", six.port))
        assert sock.recv(2000)
        until(lambda: heart.heard("h2") is not None, "the packet counts")


def test_a_host_that_signs_with_the_other_of_two_keys_is_heard(pair: Pair) -> None:
    one, two = pair.heart("h1", KEY, NEXT_KEY), pair.heart("h2", NEXT_KEY, KEY)
    until(lambda: one.acked("h2") is not None and two.acked("h1") is not None, "both hear")


def test_a_host_with_another_key_is_not_heard(pair: Pair) -> None:
    one = pair.heart("h1", KEY)
    pair.heart("h2", NEXT_KEY)
    until(lambda: one.rejected["wrong signature"] >= 3, "its packets are refused")
    assert one.last_heard() is None


def test_a_packet_for_somebody_else_does_not_count(pair: Pair) -> None:
    one = pair.heart("h1", KEY)
    until(lambda: one.listening_for() > 0, "it listens")
    beat = Packet(Kind.HEARTBEAT, "h2", 1, 7, BOOT["h2"], 1, time.time())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(pack(beat, cluster_digest("c"), KEY), ("127.0.0.1", pair.port))
    until(lambda: one.rejected["meant for another host"] == 1, "it is refused")
    assert one.heard("h2") is None


def test_an_address_that_is_not_there_is_reported(pair: Pair) -> None:
    pair.address["h1"] = "192.0.2.1"
    one = pair.heart("h1", KEY)
    until(lambda: "cannot listen on 192.0.2.1" in (one.problem or ""), "it says so")
    assert one.listening_for() == 0.0


def answers(
    pair: Pair, beats: list[tuple[Kind, int]], until_slot: int, after: int = 0
) -> list[Packet]:
    """Send heartbeats (kind, slot) and return what comes back, to the answer to `until_slot`.

    What is no later than the sequence `after` was meant for somebody who asked before.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((pair.address["h2"], pair.port))
        sock.settimeout(10)
        for number, (kind, slot) in enumerate(beats):
            beat = Packet(kind, f"h{slot}", slot, 0, BOOT["h2"], time.time_ns() + number, 0.0)
            data = pack(beat, cluster_digest("c"), KEY)
            sock.sendto(data, (pair.address["h1"], pair.port))
        found: list[Packet] = []
        while not found or not (found[-1].to == until_slot or is_called(found[-1], until_slot)):
            answer = unpack(sock.recv(2000), cluster_digest("c"), [KEY])
            if answer.sequence > after:
                found.append(answer)
        return found


def crowd(pair: Pair, hosts: int = CROWD + 10) -> Route:
    """Return a route of h1 on which many hosts send, all of them from the address of h2."""
    slots = range(1, hosts)
    senders = frozenset(f"h{n}" for n in slots)
    homes = dict.fromkeys(slots, pair.address["h2"])
    return Route(0, {}, senders, {}, homes, homes)


def steer(heart: Heart, route: Route) -> None:
    """Steer it, and wait until it listens so."""
    heart.steer(route)
    for _ in range(2):
        before = heart._drained
        until(lambda b=before: heart._drained > b, "it listens again")  # type: ignore[misc]


@pytest.mark.parametrize("hosts", [CROWD + 10, BIG_CROWD + 10])
def test_a_crowd_is_acknowledged_by_roll_calls(pair: Pair, hosts: int) -> None:
    one = pair.heart("h1", KEY)
    until(lambda: one.listening_for() > 0, "it listens")
    few = answers(pair, [(Kind.HEARTBEAT, 7), (Kind.HEARTBEAT, 9)], until_slot=9)
    assert [(a.kind, a.to) for a in few] == [(Kind.ACK, 7), (Kind.ACK, 9)]

    steer(one, crowd(pair, hosts))
    # The one that is waited for comes last: whatever is called later was heard later.
    beats = [(Kind.HEARTBEAT, 7), (Kind.HEARTBEAT, 7), (Kind.HEARTBEAT, 7 + PARTS)]
    (call,) = answers(pair, beats, until_slot=7 + PARTS)[:1]
    assert (call.kind, call.to, call.echo) == (Kind.ROLL, EVERYBODY, 0)
    assert [n for n in range(200) if is_called(call, n)] == [7, 7 + PARTS]
    # The first call's copy for 7 + PARTS may still be on its way.
    (again,) = answers(pair, [(Kind.HEARTBEAT, 7 + PARTS)], 7 + PARTS, after=call.sequence)
    assert [n for n in range(200) if is_called(again, n)] == [7 + PARTS], "7 was not heard again"
    assert one.taken == 6 and not one.rejected


def test_a_witness_calls_its_part_of_the_roll_only(pair: Pair) -> None:
    one = pair.heart("h1", KEY)
    until(lambda: one.listening_for() > 0, "it listens")
    everybody = crowd(pair)
    steer(one, replace(everybody, roll={9: pair.address["h2"]}))
    # Both in one part: without the division the call would name both.
    beats = [(Kind.HEARTBEAT, 9 + PARTS), (Kind.HEARTBEAT, 9)]
    (call,) = answers(pair, beats, until_slot=9)[:1]
    assert [n for n in range(200) if is_called(call, n)] == [9]
    assert one.taken == 2 and not one.rejected


def test_packets_that_do_not_fit_are_counted_and_less_is_let_wait(pair: Pair) -> None:
    one = pair.heart("h1", KEY)
    until(lambda: one.listening_for() > 0, "it listens")
    assert one.dropped() == 0
    steer(one, crowd(pair, 1000))
    assert one.rest() == pytest.approx(BEAT / FEW_WAKES)
    one.endpoint.room = 100 * PACKET
    assert one.rest() < BEAT / FEW_WAKES / 1.5
    assert one.endpoint._sock is not None
    one.endpoint._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:

        def flood() -> bool:
            for _ in range(50):
                sock.sendto(b"x" * 600, (pair.address["h1"], pair.port))
            return one.dropped() > 0

        until(flood, "some are dropped")


def test_who_waits_for_a_crowd_goes_on_when_all_was_taken_in(pair: Pair) -> None:
    one = pair.heart("h1", KEY)
    until(lambda: one.listening_for() > 0, "it listens")
    one.catch_up()  # a few hosts are heard at once
    steer(one, crowd(pair, BIG_CROWD + 10))
    before = one._drained
    one.catch_up()
    until(lambda: one._drained > before, "it took in what was there")


def test_a_clock_is_not_behind_because_its_packets_waited(pair: Pair) -> None:
    one = pair.heart("h1", KEY)
    until(lambda: one.listening_for() > 0, "it listens")
    for hosts, waited in ((CROWD + 10, 0.0), (BIG_CROWD + 10, BEAT / FEW_WAKES / 2)):
        steer(one, crowd(pair, hosts))
        answers(pair, [(Kind.HEARTBEAT, 7)], until_slot=7)
        with one._lock:
            as_sent = one._hearing.census(one._drained, time.monotonic(), time.time())[1]
        assert one.census()[1]["h7"] - as_sent["h7"] == pytest.approx(waited, abs=0.01)


@pytest.mark.parametrize("kind", [Kind.BARE_HEARTBEAT, Kind.ASKING_HEARTBEAT])
def test_who_may_soon_live_by_it_gets_an_answer_of_its_own_in_a_crowd_too(
    pair: Pair, kind: Kind
) -> None:
    one = pair.heart("h1", KEY)
    until(lambda: one.listening_for() > 0, "it listens")
    steer(one, crowd(pair))
    found = answers(pair, [(kind, 7), (kind, 7), (kind, 9)], until_slot=9)
    assert [(a.kind, a.to) for a in found] == [(Kind.ACK, 7), (Kind.ACK, 7), (Kind.ACK, 9)]


def test_a_roll_call_tells_who_is_heard_and_who_is_not(pair: Pair) -> None:
    one = pair.heart("h1", KEY)
    until(lambda: one.listening_for() > 0, "it listens")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number, slots in enumerate(([3, 1000], [0, 3])):
            call = Packet(
                Kind.ROLL, "h2", 1, EVERYBODY, BOOT["h2"], number + 1, time.time(), 0, roll(slots)
            )
            sock.sendto(pack(call, cluster_digest("c"), KEY), (pair.address["h1"], pair.port))
            until(lambda: one.taken == number + 1, "it is taken in")  # noqa: B023
            assert one.heard("h2") is not None
            assert (one.acked("h2") is not None) is (0 in slots)


def test_a_changed_key_counts_at_once(pair: Pair) -> None:
    one, two = pair.heart("h1", KEY), pair.heart("h2", NEXT_KEY)
    until(lambda: one.rejected["wrong signature"] >= 1, "its packets are refused")
    one.keys = (KEY, NEXT_KEY)
    until(lambda: one.heard("h2") is not None, "it is heard")
    two.keys = (NEXT_KEY, KEY)
    until(lambda: two.acked("h1") is not None, "both know the other's key")


def test_a_host_that_is_not_vouched_for_is_acknowledged_all_the_same() -> None:
    sent: list[bytes] = []

    class Post:
        def send(self, data: bytes, _to: object) -> None:
            sent.append(data)

    me = Station("h1", "127.0.0.1", 8577, BOOT["h1"], "c", (KEY,), BEAT)
    beats = [
        (Packet(Kind.HEARTBEAT, f"h{n}", n, 0, BOOT["h2"], 7, wall=0.0), ("127.0.0.2", 8577))
        for n in (1, 2)
    ]
    standing = Standing(vouches=True, unvouched=frozenset({2}))
    Sender(me, Post()).answer(beats, standing, KEY)  # type: ignore[arg-type]

    kinds = [unpack(data, cluster_digest("c"), [KEY]).kind for data in sent]
    assert kinds == [Kind.VOUCH, Kind.ACK]
