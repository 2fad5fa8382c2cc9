# SPDX-License-Identifier: Apache-2.0
"""The thread that reads the slots of the others."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from vmha_pollsters.agent.storage.cache import Cache
from vmha_pollsters.agent.storage.events import Events
from vmha_pollsters.agent.storage.slotfile import Blocks
from vmha_pollsters.agent.storage.table import read_table
from vmha_pollsters.lease.contract import LeaseDriver, Sight, Table
from vmha_pollsters.lease.layout import Header, Roster, Slot
from vmha_remediator.errors import LeaseError

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """What the reading thread last saw; everything is as of `at`."""

    at: float | None = None  # monotonic time at which the last good look began
    since: float | None = None  # the first one of those that followed each other closely
    header: Header | None = None
    roster: Roster | None = None
    roster_age: float = 0.0
    slots: Mapping[int, Slot] = field(default_factory=dict)  # the last good content of each
    sights: Mapping[int, Sight] = field(default_factory=dict)  # leases, by the lease driver
    fresh: Mapping[int, Sight] = field(default_factory=dict)  # slots, by their sequence
    edition: int | None = None  # the same: the slots differ in their sequences only
    problem: str | None = "the slots were not read yet"
    roster_problem: str | None = None


class Reader:
    """Reads the table; `plan` says which slots (None: all), and how long after the last look.

    Looks further apart than `pause` seconds do not count as having watched in between.
    """

    def __init__(
        self,
        blocks: Blocks,
        driver: LeaseDriver,
        freshness: LeaseDriver,
        cluster: str,
        plan: Callable[[], tuple[Iterable[int] | None, float]],
        pause: float = 3.0,
    ) -> None:
        self._blocks = blocks
        self._driver = driver
        self._freshness = freshness
        self._cluster = cluster
        self._plan = plan
        self._pause = pause
        self._cache = Cache()
        self._roster_since = (time.monotonic(), (0, 0, 0))
        self.events = Events()
        self.seen = Seen()
        self.table: Table | None = None  # the last good look as such

    def run(self, stop: threading.Event) -> None:
        """Read until `stop`."""
        while not stop.is_set():
            hosts, every = self._plan()
            began = time.monotonic()
            try:
                self.seen = self._read(hosts)
            except (OSError, LeaseError) as exc:
                self._note(exc)
            # Slow storage is not asked without a rest.
            stop.wait(max(every - (time.monotonic() - began), every / 4))

    def _read(self, hosts: Iterable[int] | None) -> Seen:
        before = self.seen
        size = before.header.hosts if before.header is not None else 0
        table = read_table(self._blocks, hosts, self._cluster, size, self._cache)
        self.table = table
        fresh = self._freshness.look(table)
        sights = fresh if self._driver is self._freshness else self._driver.look(table)
        if before.problem:
            LOG.info("reading the slots: %d hosts", len(table.slots))
        old: uuid.UUID | None = before.header.uuid if before.header is not None else None
        known = before.slots if old == table.header.uuid else {}
        if old not in (None, table.header.uuid):
            LOG.warning("the slots area was initialised anew; all that was known is forgotten")
            self.events.add("the slots area was initialised anew")
        # A slot that was wiped is gone; one that was not read this time, or is damaged, keeps
        # its name and address, but no freshness.
        slots = dict(known) if hosts is not None else {}
        if hosts is None:
            slots = {n: known[n] for n in table.damaged if n in known}
        elif old == table.header.uuid:  # of the slots left out, what the last looks saw stands
            fresh = {**before.fresh, **fresh}
            sights = {**before.sights, **sights}
        slots.update(table.slots)
        watched = before.at is not None and table.finished - before.at <= self._pause
        followed = watched and old == table.header.uuid  # a new area: all begins anew
        return Seen(
            at=table.started,
            since=before.since if followed else table.finished,
            header=table.header,
            roster=table.roster,
            roster_age=self._roster_age(table.roster, table.started, table.finished),
            slots=slots,
            sights=sights,
            fresh=fresh,
            edition=table.edition,
            problem=None,
            roster_problem=table.roster_problem,
        )

    def _roster_age(self, roster: Roster | None, started: float, finished: float) -> float:
        if roster is None:
            return float("inf")
        version = (roster.term, roster.sequence, roster.writer)
        if version != self._roster_since[1]:
            self._roster_since = (finished, version)
        return max(0.0, started - self._roster_since[0])

    def _note(self, exc: Exception) -> None:
        problem = f"cannot read the slots: {exc}"
        self.events.add(problem)
        before = self.seen
        if problem != before.problem:
            LOG.error("%s; trying again", problem)
        self.seen = replace(before, problem=problem)
