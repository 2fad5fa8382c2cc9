# SPDX-License-Identifier: Apache-2.0
"""What a check finds, and what it looks at: plain values, nothing is read here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from vmha_remediator.remedy.capacity import Space
from vmha_remediator.remedy.facts import Server, Service
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.rules.alarms import Plan
from vmha_remediator.rules.judge import Readings
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.store import Leader

T = TypeVar("T")


class State(StrEnum):
    """What a check can say."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "can't tell"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `fix` is what to do unless it is well."""

    area: str
    check: str
    state: State
    says: str
    fix: str = ""


@dataclass(frozen=True)
class Unread:
    """Stands where something could not be read, and says why."""

    why: str


class NotRead(Exception):
    """Ends a check: what it looks at could not be read."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why)
        self.why, self.fix = why, fix


def known(part: T | Unread, fix: str) -> T:
    """Return a part of `Seen` that was read; raises `NotRead`, where `fix` says what to do."""
    if isinstance(part, Unread):
        raise NotRead(part.why, fix)
    return part


@dataclass(frozen=True)
class Clock:
    """A service's clock against ours, in seconds (positive: it is ahead); from its Date header."""

    service: str
    ahead: float


@dataclass(frozen=True)
class Fence:
    """What one driver of a host said when it was asked for the power state."""

    driver: str
    ok: bool
    sentence: str
    pinned: bool = True  # it would notice that another machine answers for the host's


@dataclass(frozen=True)
class Seen:
    """Everything that the checks look at. Each part may be `Unread` instead."""

    now: float
    limits: Thresholds
    services: tuple[Service, ...] | Unread
    servers: tuple[Server, ...] | Unread
    nova_version: tuple[int, int] | Unread
    space: Space | Unread  # Placement's books
    telemetry: tuple[str, ...] | Unread  # what `telemetry setup` would do, in words
    readings: Mapping[str, Readings] | Unread
    alarms: Plan | Unread  # what `alarms sync` would do
    alarm_states: Mapping[tuple[str, str], str] | Unread
    fences: Mapping[str, tuple[Fence, ...]] | Unread
    trouble: Mapping[str, str]  # host -> why it cannot be fenced at all
    leader: Leader | Unread | None
    receiver: bool | Unread
    key_mode: int | Unread
    clocks: tuple[Clock, ...] | Unread
    agent: Mapping[str, Any] | Unread  # the local agent's own status
    policy: Policy = field(default_factory=Policy)
    configs: Mapping[str, Mapping[tuple[str, str], str] | Unread] = field(default_factory=dict)
    unread: tuple[str, ...] = ()  # what our own files say and nothing reads, in words


Check = Callable[[Seen], Iterable[Finding]]


def ok(area: str, check: str, says: str) -> Finding:
    return Finding(area, check, State.OK, says)


def wrong(area: str, check: str, says: str, fix: str) -> Finding:
    return Finding(area, check, State.WRONG, says, fix)


def unknown(area: str, check: str, says: str, fix: str) -> Finding:
    return Finding(area, check, State.UNKNOWN, says, fix)


def names(hosts: Iterable[str], most: int = 8) -> str:
    """Return a few of the names, and how many more there are."""
    found = sorted(hosts)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
