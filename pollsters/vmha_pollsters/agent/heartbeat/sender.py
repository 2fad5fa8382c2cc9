# SPDX-License-Identifier: Apache-2.0
"""What this host sends: its heartbeats, acknowledgements and roll calls, signed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from vmha_pollsters.agent.heartbeat.endpoint import Address, Endpoint
from vmha_pollsters.agent.heartbeat.station import Route, Standing, Station
from vmha_pollsters.agent.heartbeat.wire import (
    EVERYBODY,
    Kind,
    Packet,
    cluster_digest,
    pack,
    roll,
)


class Sender:
    """Packs and sends, each packet with a higher sequence than the one before."""

    def __init__(self, me: Station, endpoint: Endpoint) -> None:
        self._me = me
        self._endpoint = endpoint
        self._cluster = cluster_digest(me.cluster)
        self._sequence = 0

    def beat(self, route: Route, standing: Standing, key: bytes) -> None:
        """Send a heartbeat to every target."""
        addresses = {slot: (at, self._me.port) for slot, at in route.targets.items()}
        kind = Kind.ASKING_HEARTBEAT if standing.asks else Kind.HEARTBEAT
        kind = Kind.BARE_HEARTBEAT if standing.bare else kind
        self._send(kind, addresses, route.slot, key)

    def answer(
        self, beats: Iterable[tuple[Packet, Address]], standing: Standing, key: bytes
    ) -> None:
        """Acknowledge each of these heartbeats."""
        for packet, sender in beats:
            counts = standing.vouches and packet.slot not in standing.unvouched
            kind = Kind.VOUCH if counts else Kind.ACK
            self._send(kind, {packet.slot: sender}, packet.to, key, echo=packet.sequence)

    def call_roll(self, heard: list[int], route: Route, key: bytes) -> None:
        """Tell the hosts of these slots that they were heard."""
        packet = self._packet(Kind.ROLL, route.slot, EVERYBODY)._replace(roll=roll(heard))
        addresses = [(route.roll[slot], self._me.port) for slot in heard]
        self._endpoint.send(pack(packet, self._cluster, key), addresses)

    def _send(
        self, kind: Kind, to: Mapping[int, Address], slot: int, key: bytes, echo: int = 0
    ) -> None:
        for number, address in to.items():
            packet = self._packet(kind, slot, number, echo)
            self._endpoint.send(pack(packet, self._cluster, key), [address])

    def _packet(self, kind: Kind, slot: int, to: int, echo: int = 0) -> Packet:
        # Milliseconds since boot: grows over restarts of the agent within one boot.
        self._sequence = max(self._sequence + 1, int(time.monotonic() * 1000))
        me = self._me
        return Packet(kind, me.host, slot, to, me.boot_id, self._sequence, time.time(), echo)
