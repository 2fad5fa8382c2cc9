# SPDX-License-Identifier: Apache-2.0
"""Where a fault is played: the lab, the host it is about, and looking on meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.lab import gather, layout
from tests.lab.drill.outcome import Seen
from tests.lab.errors import LabError
from tests.lab.observe import Observer
from tests.lab.snapshot import Snapshot
from tests.lab.waiting import Rules
from tests.lab.watch import INTERVAL, Condition, watch

#: Which host a fault is about: of the candidates, given what the cloud looks like.
Pick = Callable[[Snapshot, Iterable[str]], str]


@dataclass
class Ground:
    """What a fault does something to; every look at the cloud is noted."""

    observer: Observer
    rules: Rules
    victim: str
    seen: Seen
    show: Callable[[Snapshot], None] = lambda shot: None
    remembered: dict[str, str] = field(default_factory=dict)  # what `do` leaves for `undo`

    @property
    def others(self) -> tuple[str, ...]:
        """Return all hosts but the victim."""
        return tuple(host for host in layout.HOSTS if host != self.victim)

    def look(self, seconds: float) -> None:
        """Look on for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._take(self.observer.look())
            time.sleep(INTERVAL)

    def wait(self, until: Condition, what: str, timeout: float) -> Snapshot:
        """Look on until it is so; raises `LabError` when that does not come."""
        return watch(self.observer, until, what, timeout, self._take)

    def _take(self, shot: Snapshot) -> None:
        views = ((h.name, *self.rules.verdict(h.name, h.readings)) for h in shot.hosts)
        self.seen.note(shot, views)
        self.show(shot)


def busiest(shot: Snapshot, among: Iterable[str]) -> str:
    """Pick the host with most protected VMs."""
    counts = Counter(vm.host for vm in shot.vms if vm.tagged)
    return max(among, key=lambda host: counts[host])


def the_master() -> str:
    """Return the master that all agents follow; raises `LabError` if they do not agree."""
    followed = {m for m in gather.masters().values() if m is not None}
    if len(followed) != 1:
        raise LabError(f"there is no one master to pick: {sorted(followed)}")
    return followed.pop()


def master(shot: Snapshot, among: Iterable[str]) -> str:
    """Pick the master."""
    return the_master()


def follower(shot: Snapshot, among: Iterable[str]) -> str:
    """Pick whoever is next and is not the master; a host that is not free is waited for."""
    leader = the_master()
    return next(host for host in (*among, *layout.HOSTS) if host != leader)


def witness(shot: Snapshot, among: Iterable[str]) -> str:
    """Pick a witness."""
    witnesses = gather.witnesses()
    return next((host for host in among if host in witnesses), next(iter(witnesses)))


def anyone(shot: Snapshot, among: Iterable[str]) -> str:
    """Pick whoever is next."""
    return next(iter(among))
