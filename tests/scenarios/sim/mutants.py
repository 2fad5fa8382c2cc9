# SPDX-License-Identifier: Apache-2.0
"""Guards of the one law taken away one by one: how many random seeds until somebody notices.

Each mutant is the product with another body in one function. A guard that nobody misses in many
seeds is one that the random faults (`explore`, `stories`) do not reach.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from tests.scenarios.sim import explore
from tests.scenarios.sim.many import spread
from vmha_remediator.engine.fallen import Fallen
from vmha_remediator.engine.journal import Journal
from vmha_remediator.remedy import outdated, proof, vm_leave
from vmha_remediator.store import common


@dataclass(frozen=True)
class Mutant:
    """`function` with the code of `body`, which takes the same arguments."""

    without: str
    function: Callable[..., Any]
    body: Callable[..., Any]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        function, body = cast(Any, self.function), cast(Any, self.body)
        kept, function.__code__ = function.__code__, body.__code__
        try:
            yield
        finally:
            function.__code__ = kept


MUTANTS = {
    "destination-is-back": Mutant(
        "the look whether a destination that was fenced is off now",
        Fallen._is_off,
        lambda self, host, facts: True,
    ),
    "no-proof-asked": Mutant(
        "the look at the proof before an evacuation",
        proof.may_not_start,
        lambda incident, facts, now, policy: "",
    ),
    "any-epoch": Mutant(
        "the check that this engine leads still, before each write",
        common.lead,
        lambda session, epoch: None,
    ),
    "no-second-look": Mutant(
        "the refusal to act on what was read before a pause",
        Journal.check_pause,
        lambda self, began: None,
    ),
    "half-way-forgotten": Mutant(
        "where a VM may run whose evacuation failed half-way",
        vm_leave._half_way,
        lambda case: None,
    ),
    "outdated-ignored": Mutant(
        "the repair of what a request of before has put in error",
        outdated.broken_by,
        lambda vm, server, facts: None,
    ),
}


@dataclass(frozen=True)
class Hunt:
    """What came of one mutant; `problem` is empty when nobody has noticed it."""

    seeds: int
    problem: str
    took: float  # s


def hunt(task: tuple[str, range]) -> Hunt:
    """Play seeds with a mutant until an invariant is violated."""
    name, seeds = task
    began = time.process_time()
    with MUTANTS[name].at_work():
        results = (explore.run(seed) for seed in seeds)
        found = next((result for result in results if result.problem), None)
    played = len(seeds) if found is None else seeds.index(found.seed) + 1
    problem = "" if found is None else found.problem
    return Hunt(played, problem, time.process_time() - began)


def main(argv: list[str]) -> int:
    """Hunt mutants; returns 1 when one of them was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MUTANTS)}")
    parser.add_argument("--seeds", type=int, default=500, metavar="N", help="at most")
    args = parser.parse_args(argv)
    names = args.names or list(MUTANTS)
    tasks = [(name, range(args.seeds)) for name in names]
    alive = 0
    for name, found in zip(names, spread(hunt, tasks, "fork"), strict=True):
        alive += not found.problem
        ends = f"found: {found.problem}" if found.problem else "NOT FOUND"
        print(f"{name}: {found.seeds} seeds, {found.took:.0f} s, {ends}", flush=True)
        print(f"    without {MUTANTS[name].without}", flush=True)
    return 1 if alive else 0
