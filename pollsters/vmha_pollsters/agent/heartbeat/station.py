# SPDX-License-Identifier: Apache-2.0
"""PURE: who this host is on the management network, whom it sends to, and what it may say."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Station:
    """Who this host is on the management network."""

    host: str
    address: str
    port: int
    boot_id: uuid.UUID
    cluster: str
    keys: Sequence[bytes]
    interval: float = 1.0


@dataclass(frozen=True)
class Route:
    """Where the heartbeats go, and what storage says about who may send them."""

    slot: int
    targets: Mapping[int, str]  # slot -> address
    senders: frozenset[str]  # hosts that should be heard
    boots: Mapping[str, uuid.UUID]
    homes: Mapping[int, str] = field(default_factory=dict)  # everybody's: slot -> address
    roll: Mapping[int, str] = field(default_factory=dict)  # of those whom its roll calls name


@dataclass(frozen=True)
class Standing:
    """What this host's packets say about itself, as of `at` (monotonic seconds)."""

    at: float = float("-inf")
    bare: bool = False  # its own lease is not renewed any more
    asks: bool = False  # its renewal is late, so that it may soon live by acknowledgements
    vouches: bool = False  # its acknowledgements count ...
    unvouched: frozenset[int] = frozenset()  # ... but for those of these slots
