# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every place where an engine changes anything: the end of the story stays the same.

A scenario is played once. Before and after each thing that its engines do (a write to the
store, a call to Nova that changes something, a fencing, a report) its engine dies in a copy.
The copy plays on to the end of the scenario and a little longer; all invariants hold on the
way, and it has to end as the scenario expects, or as it declares under `if_killed`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tests.scenarios.sim import endings, script
from tests.scenarios.sim.endings import End
from tests.scenarios.sim.faults import act
from tests.scenarios.sim.invariants import Violation
from tests.scenarios.sim.many import spread
from tests.scenarios.sim.reaper import DELAY, Death, Reaper, Trial
from tests.scenarios.sim.world import World

#: Virtual seconds that a story may take longer than written down because its engine died.
LONGER = 60.0
STRIDE = 2.0
#: Played in each test run, at every place or every so many; the rest is for the nightly.
EVERY_DAY = {"power-loss": 1, "fencing-answer-lost": 4, "no-capacity": 12}


@dataclass(frozen=True)
class Fate:
    """What came of a scenario, with its engine killed at every place."""

    trial: Trial
    deaths: tuple[Death, ...]
    took: float  # s

    @property
    def bad(self) -> list[Death]:
        return [death for death in self.deaths if death.problem]


def run(trial: Trial) -> Fate:
    """Play one scenario with its engine killed where the trial wants it."""
    began = time.monotonic()
    scenario = script.load(trial.name)
    world = World(scenario.cluster, scenario.name)
    reaper = Reaper(world, trial)
    with world.running():
        try:
            reaper.watch()
            for step in scenario.steps:
                when, line = str(step).split(maxsplit=1)
                world.clockwork.at(float(when), partial(act, world, line))
            end = _play(reaper, scenario, trial.brief)
        except BaseException as exc:  # noqa: BLE001 (a copy must not live on as its parent)
            end = End(repr(exc))
        if reaper.died is not None:
            reaper.end_of_copy(end)
        reaper.collect_all()
        reaper.unwatch()
    deaths = reaper.deaths
    if end.problem:
        log = "\n".join(world.lines)
        deaths = [Death(0, 0.0, "nobody dies", *end, log), *deaths]
    return Fate(trial, tuple(deaths), time.monotonic() - began)


def _play(reaper: Reaper, scenario: script.Scenario, brief: bool) -> End:
    """Let time pass until all is as expected, or at the latest as declared."""
    world = reaper.world
    last = max((float(str(step).split()[0]) for step in scenario.steps), default=0.0)
    try:
        while world.clockwork.now < scenario.until:
            world.run_until(min(world.clockwork.now + STRIDE, scenario.until))
            late = world.clockwork.now > max(last, reaper.rises)
            if brief and late and not endings.unlike(world, scenario.expect):
                break
        if reaper.died is None:
            return End("")  # the story as it is written down has its own test
        _settle(world, scenario, latest=scenario.until + DELAY + LONGER)
        end = endings.judge(world, scenario)
        if not end.problem:
            world.invariants.at_the_end()
    except Violation as exc:
        return End(str(exc))
    return end


def _settle(world: World, scenario: script.Scenario, latest: float) -> None:
    """Let time pass until all is as expected, and a stride later still."""
    was_well = False
    while world.clockwork.now < latest:
        well = not endings.unlike(world, scenario.expect)
        if well and was_well:
            return
        was_well = well
        world.run_until(world.clockwork.now + STRIDE)


def playable() -> list[str]:
    """Return the scenarios that end as they should when nobody dies."""
    return [name for name in script.names() if not script.load(name).xfail]


def everyday() -> list[Trial]:
    """Return what each test run tries."""
    return [Trial(name, brief=True, every=every) for name, every in EVERY_DAY.items()]


def tell(fate: Fate) -> None:
    """Print what came of a scenario."""
    trial = fate.trial
    for death in fate.deaths if trial.only is not None else fate.bad:
        if trial.only is not None:
            print(death.log)
        print(f"{trial.name}: death {death.number} at {death.second:.3f} s {death.place}")
        print(f"    {death.problem or death.why or 'the end is the same'}")
        if trial.only is None:
            brief = " --brief" if trial.brief else ""
            replay = f"{trial.name}{brief} --at {death.number}"
            print(f"    replay: python -m tests.scenarios crash {replay}")
    for why, times in Counter(death.why for death in fate.deaths if death.why).items():
        print(f"{trial.name}: {times} times the end is another one, as declared: {why}")
    wrong = f"{len(fate.bad)} ended wrong" if fate.bad else "all ended as they may"
    print(f"{trial.name}: {len(fate.deaths)} deaths in {fate.took:.0f} s, {wrong}", flush=True)


def main(argv: list[str]) -> int:
    """Play scenarios with the engine killed at every place; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios crash", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: those of `make test`")
    parser.add_argument("--all", action="store_true", help="every scenario; takes long")
    parser.add_argument(
        "--brief", action="store_true", help="end each soon after all is as expected"
    )
    parser.add_argument("--at", type=int, metavar="N", help="die at this place; print its log")
    parser.add_argument(
        "--jobs", type=int, metavar="N", default=os.cpu_count() or 1, help="default: one a core"
    )
    args = parser.parse_args(argv)
    names = playable() if args.all else args.names or list(EVERY_DAY)
    trials = [Trial(name, args.brief, args.at) for name in names]
    deaths = bad = 0
    for fate in _fates(trials, args.jobs):
        tell(fate)
        deaths += len(fate.deaths)
        bad += len(fate.bad)
    print(f"{len(names)} scenarios, {deaths} deaths, {bad} ended wrong")
    return 1 if bad else 0


def _fates(trials: Sequence[Trial], jobs: int) -> Iterator[Fate]:
    """Play side by side: many scenarios, or the copies of the only one."""
    if len(trials) == 1:
        return iter([run(replace(trials[0], width=jobs))])
    return spread(run, trials, "fork", jobs)
