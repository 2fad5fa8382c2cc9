# SPDX-License-Identifier: Apache-2.0
"""PURE: from how many senders on packets are taken in and acknowledged together, and how often."""

from __future__ import annotations

#: Above so many senders packets are taken in several times a beat instead of one by one (a
#: heartbeat looks younger by that much at most), and acknowledged by roll calls: every sender is
#: named in one of so many parts, each of which has its turn once in three beats (a witness that
#: is not heard for four counts as silent).
CROWD = 32
WAKES = 10
PARTS = 3 * WAKES
#: Above so many it is done once a beat, and whoever asks how old they are waits for it: each time
#: a thread wakes on an idle core it finds the caches cold, which costs about a millisecond.
BIG_CROWD = 200
FEW_WAKES = 1
#: What one packet takes in the socket at most, as the kernel counts (bytes).
PACKET = 4096


def wakes(senders: int) -> int:
    """Return how often in a beat the packets of a crowd are taken in."""
    return FEW_WAKES if senders > BIG_CROWD else WAKES


def rest(senders: int, room: int, interval: float) -> float:
    """Return for how long (s) they may wait: less if few fit into the socket's `room` (bytes)."""
    return interval * min(1 / wakes(senders), room / PACKET / max(senders, 1))
