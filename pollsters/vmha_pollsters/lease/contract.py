# SPDX-License-Identifier: Apache-2.0
"""What a lease driver promises: how long ago each host's lease was seen renewed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from vmha_pollsters.lease.layout import Header, Roster, Slot


@dataclass(frozen=True)
class Table:
    """One *successful* read of the slots area; times by the reader's monotonic clock.

    `slots` holds what could be read and trusted, `damaged` why a block could not be; a slot
    that is in neither was free or not read. One that was only renewed since an earlier look may be
    the same object as then: `sequences` holds what each of them says now.
    """

    started: float
    finished: float
    header: Header
    roster: Roster | None = None
    slots: Mapping[int, Slot] = field(default_factory=dict)
    sequences: Mapping[int, int] = field(default_factory=dict)
    damaged: Mapping[int, str] = field(default_factory=dict)
    roster_problem: str | None = None
    strays: frozenset[int] = frozenset()  # those `damaged` that were left by another area
    edition: int = 0  # changes when a slot changed in more than its sequence


class Sight(NamedTuple):  # cheap to make: one a slot and look
    """What is known of one lease: its age in seconds at `seen`, None if not known (yet).

    `problem` says why the slot cannot be believed at all. `seen` is when the last successful
    look began. The age is as of that look and grows by looks only, so that an observer whose
    storage stalls accuses nobody.
    """

    age: float | None
    seen: float
    problem: str | None = None


class LeaseDriver(Protocol):
    """One way of telling a living lease from a dead one; used from the storage thread."""

    name: str

    def __init__(self, settings: Any) -> None:
        """Take the [agent] group of the configuration."""

    def look(self, table: Table) -> Mapping[int, Sight]:
        """Take in one successful read and return what is known of every slot in it.

        Raises OSError when the driver's own backend cannot be read: then nothing is known.
        """
