# SPDX-License-Identifier: Apache-2.0
"""What every fencing driver promises, and what its success proves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol

from vmha_remediator.fencing.settings import Setting

#: Tells whether the host is heard again, at the moment that it is asked.
Heard = Callable[[], bool]


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
    given_up: bool = False  # the host was heard again before everybody had been asked


@dataclass(frozen=True)
class Finding:
    """One line of a dry check: what was tried and whether fencing could rely on it."""

    ok: bool
    what: str


def unpinned(host: str, given: str | None) -> Finding:
    """Return what is to be said of a driver that takes whatever machine answers for its own."""
    risk = f"nobody can tell whose BMC this is: whatever answers there is switched off for {host}"
    if not given:
        return Finding(True, f"{risk}; it tells no UUID by which it could be pinned")
    return Finding(
        True,
        f"{risk}; if {given} is what 'dmidecode -s system-uuid' says on {host}, pin it in the "
        f"hosts file: uuid: {given}",
    )


class FencingDriver(Protocol):
    """One way of fencing one host; made from that host's settings, used from a thread.

    A success that was not verified is no success: `fence` returns a proof only after reading
    the state back. Every network call has a time-out. Nothing secret in `evidence` or errors.

    `settings` holds every key of `SETTINGS`, parsed, and two that the fencer adds: `timeout`
    (s, for one whole `fence`) and `confirmed` (host -> a person's word that it is off, in
    one sentence, or None). The constructor does no network I/O and raises `SettingError` for
    settings that cannot work together. A driver that proves by waiting has an attribute
    `patience` (s), which then stands in for `[fencing] timeout`; `evidence` in its settings
    looks up what was published of a host (see `watchdog.py`). One that can switch on has a
    method `switch_on()`, which `vmha-manage fence test --really` uses. One whose address may come
    to lead to another machine has an attribute `pinned`: whether it would notice. `proves` tells
    people what stands behind the proof.
    """

    name: ClassVar[str]
    proves: ClassVar[str]
    SETTINGS: ClassVar[tuple[Setting, ...]]

    def __init__(self, host: str, settings: dict[str, Any]) -> None: ...

    @property
    def target(self) -> str | None:
        """Name what is switched off, or None; two hosts with one target is a mistake."""

    def fence(self) -> FenceResult:
        """Turn the host off and verify it; idempotent. Raises `FencingError`."""

    def power(self) -> Power:
        """Return the host's power state without changing it. Raises `FencingError`."""

    def check(self) -> list[Finding]:
        """Try everything that `fence` needs, changing nothing. Raises `FencingError`."""
