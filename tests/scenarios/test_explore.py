# SPDX-License-Identifier: Apache-2.0
"""A few random runs; `python -m tests.scenarios explore --seeds N` plays as many as wanted."""

from __future__ import annotations

from tests.scenarios.sim import explore
from tests.scenarios.sim.many import spread

SEEDS = range(6)


def test_the_invariants_hold_on_random_faults() -> None:
    found = {result.seed: result.problem for result in spread(explore.run, SEEDS)}
    assert {seed: problem for seed, problem in found.items() if problem} == {}


def test_a_seed_is_the_same_story_every_time() -> None:
    assert explore.run(3) == explore.run(3)


def test_seeds_differ() -> None:
    assert explore.plan(1).steps != explore.plan(2).steps
