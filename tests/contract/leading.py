# SPDX-License-Identifier: Apache-2.0
"""Engines' ways to the lock, for tests with real lock services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.process import wait_for
from vmha_remediator.engine.leader import Leader

LOCK = 2  # s; so soon a quick lock of the dead expires


@contextmanager
def leaders(url: str, *names: str) -> Iterator[list[Leader]]:
    made = [Leader(url, name) for name in names]
    yield made
    for leader in made:
        leader.stop()


def quick(url: str) -> str:
    """Let locks of the dead expire soon."""
    return f"{url}{'&' if '?' in url else '?'}lock_timeout={LOCK}&timeout=2"


def won(leader: Leader) -> int:
    """Wait until `leader` leads; return the number of its leadership."""
    return wait_for(lambda: leader.hold() or 0, "it to lead", 20, interval=0.2)
