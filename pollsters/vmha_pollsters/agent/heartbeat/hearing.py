# SPDX-License-Identifier: Apache-2.0
"""PURE: what this host has heard on the management network, and since when it listened."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from vmha_pollsters.agent.heartbeat.wire import (
    ACKS,
    BEATS,
    Kind,
    Packet,
    Rejected,
    Voices,
    learn,
    recognise,
)

REPLAYED = "replayed or overtaken"
#: Boots of a host that are over are remembered against replay, this many a host.
OLD_BOOTS = 16
#: An answer to a heartbeat older than this (s) is from another boot's clock, or worthless.
VOUCH_LATE = 60.0


@dataclass(slots=True)
class _Peer:
    boot_id: uuid.UUID | None = None
    sequence: int = 0
    old_boots: list[uuid.UUID] = field(default_factory=list)
    heard: float | None = None
    acked: float | None = None
    bare: bool = False  # its latest heartbeat said that its lease is not renewed
    clock: float = 0.0  # the peer's wall clock minus our monotonic one
    slot: int = -1  # as its last heartbeat says, if that was `noted`
    waits: bool = False  # it was heard since the last roll call that named it
    expected_since: float | None = None


class Hearing:
    """When each peer was last heard. Times are this host's monotonic seconds.

    `watch` is how long a peer that was never heard must have been expected before its silence
    gets an age; until then the age is unknown (None), never a small number by accident.
    """

    def __init__(self, watch: float, fresh: float) -> None:
        self._watch = watch
        self._fresh = fresh
        self._peers: dict[str, _Peer] = {}
        self._voices: Voices[_Peer] = {}
        self._slots: dict[int, _Peer] = {}
        self._begun: float | None = None
        self._latest: float | None = None  # when anybody was heard last
        self.vouched: float | None = None  # when the newest heartbeat left that was vouched for

    def begin(self, now: float) -> None:
        """Start listening, or start anew after this process did not run for a while."""
        self._begun, self._latest = now, None
        for peer in self._peers.values():
            peer.heard = peer.acked = None
            if peer.expected_since is not None:
                peer.expected_since = now

    def listening_for(self, now: float) -> float:
        """Return for how many seconds this host has been listening."""
        return 0.0 if self._begun is None else now - self._begun

    def expect(self, hosts: Iterable[str], now: float) -> None:
        """Name the peers that should be sending to this host from now on."""
        wanted = set(hosts)
        for host in wanted:
            peer = self._peers.get(host)
            if peer is None:
                peer = self._peers[host] = _Peer()
            if peer.expected_since is None:
                peer.expected_since = now
                if peer.heard is not None and now - peer.heard > self._fresh:
                    peer.heard = None  # it was not sending to us: that silence says nothing
        for host in self._peers.keys() - wanted:
            self._peers[host].expected_since = None

    def take(self, packet: Packet, now: float, boots: Mapping[str, uuid.UUID]) -> None:
        """Count `packet` as heard; raises `Rejected` for a replay.

        `boots` holds the boot ids in the slots: a new boot is believed only when storage says
        the same, or when storage says nothing about that host and the boot is not an old one.
        """
        peer = self._peers.get(packet.host)
        if peer is None:
            peer = self._peers[packet.host] = _Peer()
        # Most often it is the same object: see `wire.unpack`.
        if packet.boot_id is not peer.boot_id and packet.boot_id != peer.boot_id:
            known = boots.get(packet.host)
            if packet.boot_id in peer.old_boots or known not in (None, packet.boot_id):
                raise Rejected("another boot than the one in its slot")
            if peer.boot_id is not None:
                peer.old_boots = [*peer.old_boots, peer.boot_id][-OLD_BOOTS:]
            peer.boot_id, peer.sequence = packet.boot_id, 0
            self._voices.clear()  # nobody is to be known by an earlier boot's voice
        if packet.sequence <= peer.sequence:
            raise Rejected(REPLAYED)
        peer.sequence = packet.sequence
        peer.heard = self._latest = now
        peer.clock = packet.wall - now
        if packet.kind in BEATS:
            peer.bare = packet.kind is Kind.BARE_HEARTBEAT
        elif packet.kind in ACKS:
            peer.acked = now
            if packet.kind is Kind.VOUCH:
                self._note_vouched(packet.echo / 1000, now)

    def note(self, packet: Packet, data: bytes) -> None:
        """Know the next heartbeats of the sender by this one, which was just taken, and answer it
        with the next roll call."""
        peer = self._peers[packet.host]
        peer.slot, peer.waits = packet.slot, True
        self._slots[packet.slot] = peer
        if packet.kind is Kind.HEARTBEAT:
            learn(self._voices, data, peer)

    def forget_voices(self) -> None:
        """Read the next packet of every host in full: something about this host has changed."""
        self._voices.clear()

    def take_known(
        self,
        packets: Iterable[bytes],
        key: bytes,
        now: float,
        otherwise: Callable[[bytes], None],
    ) -> tuple[int, int]:
        """Count the heartbeats of those who were noted, as `take` would; the others are handed
        to `otherwise`, each in its turn.

        Returns how many were taken, and how many refused as replays.
        """
        taken = replayed = 0
        for peer, sequence, wall, data in recognise(packets, self._voices, key):
            if peer is None:
                otherwise(data)
            elif sequence <= peer.sequence:
                replayed += 1
            else:
                taken += 1
                peer.sequence = sequence
                peer.heard = now
                peer.clock = wall - now
                peer.bare, peer.waits = False, True
        if taken:
            self._latest = now
        return taken, replayed

    def call(self, slots: Iterable[int]) -> list[int]:
        """Return those of `slots` that were noted or known since they were last called."""
        called = []
        for slot in slots:
            peer = self._slots.get(slot)
            if peer is not None and peer.waits and peer.slot == slot:
                peer.waits = False
                called.append(slot)
        return called

    def _note_vouched(self, sent: float, now: float) -> None:
        """Remember when the heartbeat left that was vouched for: it was heard no earlier.

        Sequences are milliseconds of this host's own clock (see `Heart`), so an answer that
        comes late counts no more than it should, and one from before a reboot not at all.
        """
        if now - VOUCH_LATE <= sent <= now + 1.0:
            self.vouched = max(self.vouched or sent, min(sent, now))

    def age(self, host: str, now: float) -> float | None:
        """Return the seconds since `host` was heard; None: unknown."""
        peer = self._peers.get(host)
        return None if peer is None else self._age(peer, now)

    def _age(self, peer: _Peer, now: float) -> float | None:
        if peer.heard is not None:
            age = now - peer.heard
            if age < 0.0:
                age = 0.0
            # Silence of a host that does not send to us (any more) says nothing.
            return age if peer.expected_since is not None or age <= self._fresh else None
        if peer.expected_since is None or now - peer.expected_since < self._watch:
            return None
        return now - peer.expected_since

    def last_heard(self, now: float) -> float | None:
        """Return the seconds since *anybody* was heard; None: nobody since listening began."""
        return None if self._latest is None else max(0.0, now - self._latest)

    def acked(self, host: str, now: float) -> float | None:
        """Return the seconds since `host` acknowledged one of our heartbeats."""
        peer = self._peers.get(host)
        return None if peer is None or peer.acked is None else max(0.0, now - peer.acked)

    def bare(self, now: float) -> int:
        """Return how many hosts are being heard that say that their lease is not renewed."""
        return sum(
            peer.bare and peer.heard is not None and now - peer.heard <= self._fresh
            for peer in self._peers.values()
        )

    def census(
        self, taken: float, now: float, wall: float
    ) -> tuple[dict[str, float | None], dict[str, float]]:
        """Return the age of every host known, and how far ahead the clock of each one just heard.

        Ages are as of `taken`; `now` and `wall` are this host's two clocks at one moment. One
        pass: it is done every second for every host of the cluster.
        """
        ages: dict[str, float | None] = {}
        clocks: dict[str, float] = {}
        alike: dict[float, float] = {}  # what is taken in together was heard at one moment
        ours, since = wall - now, now - self._fresh
        for host, peer in self._peers.items():
            heard = peer.heard
            if heard is None or heard < since:
                ages[host] = self._age(peer, taken)
                continue
            age = alike.get(heard)
            if age is None:  # as `_age` has it, for the many
                age = alike[heard] = max(0.0, taken - heard)
            ages[host] = age
            clocks[host] = peer.clock - ours
        return ages, clocks
