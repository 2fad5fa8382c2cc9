# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every place where an engine changes anything: the end of the story stays the same.

A scenario is played once. Before and after each thing that its engines do (a write to the
store, a call to Nova that changes something, a fencing, a report) the whole world is copied by
a fork: in the copy the engine is dead from then on, and another one starts a few seconds later
with nothing but the store. The copy plays on to the end of the scenario and a little longer;
all invariants hold on the way, and what the scenario expects has to come true there as well.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from oslo_db.sqlalchemy import engines

from tests.scenarios.sim import script
from tests.scenarios.sim.clockwork import Killed
from tests.scenarios.sim.faults import act
from tests.scenarios.sim.invariants import Violation
from tests.scenarios.sim.many import spread
from tests.scenarios.sim.world import World
from vmha_remediator.engine.ports import Cloud

#: Virtual seconds until another engine starts.
DELAY = 3.0
#: Virtual seconds that a story may take longer than written down because its engine died.
LONGER = 60.0
STRIDE = 2.0
#: What an engine does to Nova (the calls of its port that return nothing) and to the BMCs.
TO_NOVA = tuple(
    name
    for name, call in vars(Cloud).items()
    if not name.startswith("_") and call.__annotations__["return"] in ("None", None)
)
TO_BMCS = ("fence",)

#: Stories that rest on what an engine keeps in memory, on purpose: only a hint is lost with it.
#: There the incidents may differ; the invariants, what is fenced and what is moved may not.
HINTS = {
    "flapping-link": "how often a host got into a situation is counted in memory",
}
#: Played in each test run, at every place or every so many; the rest is for the nightly.
EVERY_DAY = {"power-loss": 1, "fencing-answer-lost": 1, "no-capacity": 6}
#: What only shows life or takes hints; a brief run does not die there.
SMALL = ("store say", "store take_doorbells")


@dataclass(frozen=True)
class Death:
    """One place at which the engine died, and what was wrong in the end, if anything."""

    number: int
    second: float
    place: str
    problem: str
    log: str


@dataclass(frozen=True)
class Fate:
    """What came of a scenario, with its engine killed at every place."""

    name: str
    deaths: int
    bad: tuple[Death, ...]
    took: float  # s


class Reaper:
    """Copies the world at each place and lets the engine die in the copy."""

    def __init__(
        self,
        world: World,
        only: int | None = None,
        width: int = 1,
        brief: bool = False,
        every: int = 1,
        where: str = "",
    ) -> None:
        self.world = world
        self.rises = math.inf  # in a copy: when another engine starts
        self.died: tuple[int, float, str] | None = None  # set in a copy
        self.to_parent = -1
        self.places = 0
        self.bad: list[Death] = []
        self._only, self._width, self._brief, self._every = only, width, brief, every
        self._where = where
        self._deeds = 0
        self._seen: tuple[Any, ...] = ()
        self._copies: list[tuple[int, int]] = []

    def watch(self) -> None:
        """Stand before and after everything that engines do."""
        world = self.world
        for thing, names in ((world.nova, TO_NOVA), (world.bmcs, TO_BMCS)):
            for name in names:
                setattr(thing, name, self._around(name, getattr(thing, name)))
        database, control = world.control.database, world.control
        write, report = database.write, control.report

        def written(work: Callable[[Any], Any]) -> Any:
            name = work.__qualname__.split(".<locals>")[0].rpartition(".")[2]
            return self._around(f"store {name}", write)(work)

        database.write = written  # type: ignore[method-assign]
        control.report = self._around("report", report)  # type: ignore[method-assign]

    def unwatch(self) -> None:
        """Leave the database as it was: another world is given it."""
        vars(self.world.control.database).pop("write", None)

    def _around(self, name: str, deed: Callable[..., Any]) -> Callable[..., Any]:
        if self._brief and name in SMALL:
            return deed

        def watched(*args: Any, **kwargs: Any) -> Any:
            what = " ".join([name, *(a for a in args if isinstance(a, str))])
            self.place(f"before {what}")
            done = deed(*args, **kwargs)
            self._deeds += 1
            self.place(f"after {what}")
            return done

        return watched

    def place(self, name: str) -> None:
        """Be at a place; returns in the world that goes on."""
        task = self.world.clockwork.task
        if self.died is not None or task is None:
            return
        process = task.process
        if process is not self.world.control.engines.get(process.name) or not process.alive:
            return
        state = (self.world.clockwork.now, self._deeds, process.name)
        if state == self._seen or not (name.endswith("open_incident") or self._busy()):
            return  # nothing has changed since the latest place, or nothing to lose yet
        self._seen = state
        self.places += 1
        wanted = self._only in (None, self.places) and not self.places % self._every
        wanted = wanted and self._where in name
        if wanted and self._copy(name):
            process.kill()
            clockwork, control = self.world.clockwork, self.world.control
            self.world.log("DEATH", f"of {process.name} {name}")
            self.rises = clockwork.now + DELAY
            clockwork.after(DELAY, lambda: control.start(process.name))
            clockwork.park()  # for ever: not even what cleans up is run
            raise Killed

    def _busy(self) -> bool:
        return bool(self.world.control.store.incidents())

    # -- copies ---------------------------------------------------------------------------

    def _copy(self, name: str) -> bool:
        """Fork; true in the copy."""
        while len(self._copies) >= self._width:
            self._collect()
        here, there = os.pipe()
        gc.freeze()  # a copy that collects garbage would copy all memory, too
        child = os.fork()
        if not child:
            os.close(here)
            # oslo.db drops connections of another process; the copy's database is its own.
            engines.os = SimpleNamespace(getpid=partial(int, os.getppid()))
            self.died = (self.places, self.world.clockwork.now, name)
            self.to_parent = there
            return True
        os.close(there)
        self._copies.append((child, here))
        return False

    def _collect(self) -> None:
        child, pipe = self._copies.pop(0)
        with os.fdopen(pipe, encoding="utf-8") as stream:
            text = stream.read()
        _, status = os.waitpid(child, 0)
        if status or not text:
            self.bad.append(Death(self.places, 0.0, "", f"the copy ended with {status}", ""))
            return
        death = Death(**json.loads(text))
        if death.problem or self._only is not None:
            self.bad.append(death)

    def collect_all(self) -> None:
        """Wait for every copy."""
        while self._copies:
            self._collect()

    def end_of_copy(self, problem: str) -> None:
        """Tell the parent how it ended, and be gone."""
        assert self.died is not None
        log = "\n".join(self.world.lines) if problem or self._only is not None else ""
        text = json.dumps(asdict(Death(*self.died, problem, log)))
        with os.fdopen(self.to_parent, "w", encoding="utf-8") as stream:
            stream.write(text)
        os._exit(0)


def briefly(name: str) -> Fate:
    """Play one scenario as `run` does; copies end soon after all is as expected."""
    return run(name, brief=True, every=EVERY_DAY.get(name, 1))


def run(
    name: str,
    only: int | None = None,
    width: int = 1,
    brief: bool = False,
    every: int = 1,
    where: str = "",
) -> Fate:
    """Play one scenario with its engine killed at every place, or only at one."""
    began = time.monotonic()
    scenario = script.load(name)
    world = World(scenario.cluster, scenario.name)
    reaper = Reaper(world, only, width, brief, every, where)
    with world.running():
        try:
            reaper.watch()
            for step in scenario.steps:
                when, line = str(step).split(maxsplit=1)
                world.clockwork.at(float(when), partial(act, world, line))
            problem = _play(reaper, scenario, brief)
        except BaseException as exc:  # noqa: BLE001 (a copy must not live on as its parent)
            problem = repr(exc)
        if reaper.died is not None:
            reaper.end_of_copy(problem)
        reaper.collect_all()
        reaper.unwatch()
        if problem:
            reaper.bad.insert(0, Death(0, 0.0, "nobody dies", problem, "\n".join(world.lines)))
    return Fate(name, reaper.places // every, tuple(reaper.bad), time.monotonic() - began)


def _play(reaper: Reaper, scenario: script.Scenario, brief: bool) -> str:
    """Let time pass until all is as expected; return what is not."""
    world = reaper.world
    last = max((float(str(step).split()[0]) for step in scenario.steps), default=0.0)
    try:
        while world.clockwork.now < scenario.until:
            world.run_until(min(world.clockwork.now + STRIDE, scenario.until))
            late = world.clockwork.now > max(last, reaper.rises)
            if brief and late and not _unlike(world, scenario):
                break
        if reaper.died is None:
            return ""  # the story as it is written down has its own test
        latest = scenario.until + DELAY + LONGER
        while (problem := _unlike(world, scenario)) and world.clockwork.now < latest:
            world.run_until(world.clockwork.now + STRIDE)
        if not problem:
            world.run_until(world.clockwork.now + STRIDE)
            world.invariants.at_the_end()
    except Violation as exc:
        return str(exc)
    return problem


def _unlike(world: World, scenario: script.Scenario) -> str:
    """Return how the end differs from the one expected."""
    expect = {**script.DEFAULTS, **scenario.expect}
    # How often Nova was asked, where it has no room, depends on when; that a VM moves twice is
    # a violation in itself.
    wanted: dict[str, Any] = {key: set(expect[key]) for key in ("evacuated", "fenced")}
    found: dict[str, Any] = {key: set(script.FOUND[key](world)) for key in wanted}
    if scenario.name not in HINTS:
        wanted["incidents"] = _lasting(expect["incidents"])
        found["incidents"] = _lasting(script.FOUND["incidents"](world))
    if "disabled" in expect:
        wanted["disabled"], found["disabled"] = expect["disabled"], script.FOUND["disabled"](world)
    really = script.runs(world)
    for vm, host in expect.get("runs", {}).items():
        wanted[f"host of {vm}"], found[f"host of {vm}"] = host, really.get(vm)
        if host and really.get(vm) and vm in wanted["evacuated"]:
            found[f"host of {vm}"] = host  # the scheduler may choose another one a little later
    if expect.get("healed"):
        try:
            world.invariants.healed()
        except Violation as exc:
            return str(exc)
    # A VM on its way is neither there nor listed: the story goes on until it has arrived.
    wanted["on their way"], found["on their way"] = [], world.invariants.lost()
    return "; ".join(
        f"{key}: expected {wanted[key]}, found {found[key]}"
        for key in wanted
        if wanted[key] != found[key]
    )


def _lasting(incidents: Sequence[str]) -> list[str]:
    """Leave out what is cleared: with nobody looking, a passing situation is not even seen."""
    return [incident for incident in incidents if not incident.endswith(" cleared")]


def playable() -> list[str]:
    """Return the scenarios that end as they should when nobody dies."""
    return [name for name in script.names() if not script.load(name).xfail]


def tell(fate: Fate, logs: bool = False) -> None:
    """Print what came of a scenario."""
    for death in fate.bad:
        if logs:
            print(death.log)
        print(f"{fate.name}: death {death.number} at {death.second:.3f} s {death.place}")
        print(f"    {death.problem or 'every invariant held, the end is the same'}")
        if not logs:
            print(f"    replay: python -m tests.scenarios crash {fate.name} --at {death.number}")
    wrong = f"{len(fate.bad)} ended wrong" if fate.bad else "all ended the same"
    print(f"{fate.name}: died at {fate.deaths} places in {fate.took:.0f} s, {wrong}", flush=True)


def main(argv: list[str]) -> int:
    """Play scenarios with the engine killed at every place; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios crash", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: those of `make test`")
    parser.add_argument("--all", action="store_true", help="every scenario; takes long")
    parser.add_argument(
        "--brief", action="store_true", help="end each soon after all is as expected"
    )
    parser.add_argument("--at", type=int, metavar="N", help="die at this place; print its log")
    args = parser.parse_args(argv)
    names = playable() if args.all else args.names or list(EVERY_DAY)
    if len(names) == 1:
        fates = iter([run(names[0], args.at, os.cpu_count() or 1, args.brief)])
    else:
        fates = spread(briefly if args.brief else run, names, "fork")
    bad = deaths = 0
    for fate in fates:
        tell(fate, logs=args.at is not None)
        bad += sum(bool(death.problem) for death in fate.bad)
        deaths += fate.deaths
    print(f"{len(names)} scenarios, {deaths} deaths, {bad} ended wrong")
    return 1 if bad else 0
