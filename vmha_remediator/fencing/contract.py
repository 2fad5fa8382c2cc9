# SPDX-License-Identifier: Apache-2.0
"""What every fencing driver promises, and what its success proves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol


class Proof(Enum):
    """What is known for certain after a fencing action."""

    POWER_OFF = "power is off"


class Power(Enum):
    """Power state as the BMC (or whoever) reports it."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class FenceResult:
    """The outcome of one fencing attempt; `proof` is None when nothing is proven."""

    driver: str
    proof: Proof | None
    evidence: str  # one sentence for people and for the incident's record


class FencingDriver(Protocol):
    """One way of fencing one host; made from that host's settings, used from a thread.

    A success that was not verified is no success: `fence` returns a proof only after reading
    the state back. Every network call has a time-out. Nothing secret in `evidence` or errors.
    """

    name: str

    def __init__(self, host: str, settings: dict[str, Any]) -> None: ...

    def fence(self) -> FenceResult:
        """Turn the host off and verify it; idempotent. Raises `FencingError`."""

    def power(self) -> Power:
        """Return the host's power state without changing it. Raises `FencingError`."""
