# SPDX-License-Identifier: Apache-2.0
"""Play one fault: calm, the fault, what comes of it, undo it, all well again, invariants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.lab import faults, layout
from tests.lab.drill.calm import SETTLED, calm, none_open
from tests.lab.drill.ground import Ground
from tests.lab.drill.outcome import Seen, problems
from tests.lab.drill.table import DETECTION, Fault
from tests.lab.errors import LabError
from tests.lab.gather import violations
from tests.lab.observe import Observer
from tests.lab.snapshot import Snapshot
from tests.lab.waiting import Rules
from tests.lab.watch import Condition, all_well, both, run_elsewhere

#: Looked on after what had to come has come: an engine that would go on to act had several
#: cycles for it.
STEADY = 5.0  # s
BACK = 120.0  # s until all is well again


@dataclass(frozen=True)
class Played:
    """What came of one fault; times in seconds, `after` from the fault to what had to come."""

    number: int
    name: str
    victim: str
    expected: str
    after: float | None
    took: float
    problems: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()  # "host rule state"

    @property
    def right(self) -> bool:
        """Return whether everything came as it had to."""
        return not self.problems

    @property
    def false_failure(self) -> bool:
        """Return whether somebody was called failed who was not."""
        return any("false failure" in problem for problem in self.problems)


@dataclass
class Player:
    """Plays faults on one lab, one after another; hosts take turns.

    `strict`: what was reported must be closed again before the next fault. Else only what was
    reported of the next fault's host, which saves its `clear_after` each time, and a fault of
    which nothing may come stands no longer than the longest that a death takes to be noticed.
    """

    observer: Observer = field(default_factory=Observer)
    rules: Rules = field(default_factory=Rules)
    strict: bool = True
    show: Callable[[Snapshot], None] = lambda shot: None

    def __post_init__(self) -> None:
        self._turns = list(layout.HOSTS)
        self._known: set[str] = set()

    def play(self, fault: Fault) -> Played:
        """Play `fault` and judge what came of it; an obstacle is a problem like any other."""
        begun = time.monotonic()
        try:
            ground = self._ground(fault)
        except LabError as exc:
            return self._told(fault, "-", begun, None, [f"the lab was not calm: {exc}"])
        found: list[str] = []

        def attempt(step: Callable[[], float | None]) -> float | None:
            try:
                return step()
            except LabError as exc:
                found.append(str(exc))
                return None

        reached: float | None = None
        try:
            reached = attempt(lambda: self._happen(fault, ground))
        finally:
            attempt(lambda: _undo(fault, ground))
        attempt(lambda: self._await_calm(fault, ground))
        incidents = self.observer.incidents()
        found += problems(fault.expected, ground.victim, ground.seen, incidents)
        attempt(lambda: found.extend(self._violations()))
        told = [f"{i.host} {i.rule} {i.state}" for i in incidents]
        return self._told(fault, ground.victim, begun, reached, found, told)

    def _ground(self, fault: Fault) -> Ground:
        before = calm(self.observer, none_open if self.strict else self._somebody_free)
        victim = fault.on(before, self._free(before))
        if victim not in self._free(before):
            before = calm(self.observer, lambda shot: victim in self._free(shot))
        self._turns.remove(victim)
        self._turns.append(victim)
        ground = Ground(self.observer, self.rules, victim, Seen(before), self.show)
        fault.prepare(ground)
        self.observer.since = time.time()
        ground.seen = Seen(before)
        return ground

    def _happen(self, fault: Fault, ground: Ground) -> float | None:
        """Do it and look on; return seconds until what had to come came."""
        expected, victim = fault.expected, ground.victim
        faults.record("fault", victim, number=fault.number, name=fault.name)
        begun = time.monotonic()
        fault.do(ground)
        if expected.rule is None:
            ground.look(fault.outlast if self.strict else min(fault.outlast, DETECTION))
            return None
        ground.wait(
            lambda shot: expected.came(victim, shot),
            f"{expected.verdict} ({fault.name} of {victim})",
            fault.within,
        )
        took = time.monotonic() - begun
        if expected.moves:
            ground.wait(_run_elsewhere(ground), f"the VMs of {victim} run elsewhere", fault.within)
        ground.look(STEADY if self.strict else STEADY / 2)
        return took

    def _await_calm(self, fault: Fault, ground: Ground) -> None:
        closed = fault.expected.moves or self.strict
        calm_again = both(none_open, all_well) if closed else all_well
        ground.wait(calm_again, "all is well again", BACK)

    def _violations(self) -> list[str]:
        """Return what no earlier fault of this soak has violated already."""
        fresh = [v for v in violations() if v not in self._known]
        self._known.update(fresh)
        return [f"invariant: {violation}" for violation in fresh]

    def _free(self, shot: Snapshot) -> list[str]:
        """Return the hosts with VMs that no incident is open of, in the order of their turns."""
        taken = {i.host for i in shot.incidents if i.state not in SETTLED}
        full = {vm.host for vm in shot.vms}
        return [h for h in self._turns if h in full and h not in taken and "*" not in taken]

    def _somebody_free(self, shot: Snapshot) -> bool:
        return bool(self._free(shot))

    def _told(
        self,
        fault: Fault,
        victim: str,
        begun: float,
        reached: float | None,
        found: Iterable[str],
        incidents: Iterable[str] = (),
    ) -> Played:
        return Played(
            number=fault.number,
            name=fault.name,
            victim=victim,
            expected=fault.expected.verdict,
            after=None if reached is None else round(reached, 1),
            took=round(time.monotonic() - begun, 1),
            problems=tuple(found),
            incidents=tuple(incidents),
        )


def _undo(fault: Fault, ground: Ground) -> None:
    fault.undo(ground)
    faults.record("undone", ground.victim, name=fault.name)


def _run_elsewhere(ground: Ground) -> Condition:
    mine = [vm.id for vm in ground.seen.before.vms if vm.host == ground.victim and vm.tagged]
    return run_elsewhere(mine, ground.victim)
