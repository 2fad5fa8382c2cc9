# SPDX-License-Identifier: Apache-2.0
"""Lets an engine die at each place where it changes anything, each time in a copy of the world.

The copy is a fork: in it the engine is dead from then on, and another one starts a few seconds
later with nothing but the store.
"""

from __future__ import annotations

import gc
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from oslo_db.sqlalchemy import engines

from tests.scenarios.sim.clockwork import Killed
from tests.scenarios.sim.endings import End
from tests.scenarios.sim.world import World
from vmha_remediator.engine.ports import Cloud

#: Virtual seconds until another engine starts.
DELAY = 3.0
#: What an engine does to Nova (the calls of its port that return nothing) and to the BMCs.
TO_NOVA = tuple(
    name
    for name, call in vars(Cloud).items()
    if not name.startswith("_") and call.__annotations__["return"] in ("None", None)
)
TO_BMCS = ("fence",)
#: What only shows life or takes hints; a brief trial does not die there.
SMALL = ("store say", "store take_doorbells")


@dataclass(frozen=True)
class Trial:
    """A scenario to be played, and at which of its places the engine dies."""

    name: str
    brief: bool = False  # each copy ends soon after all is as expected
    only: int | None = None  # at this place alone; its log is kept
    every: int = 1  # at every so many
    where: str = ""  # at those whose name has this in it
    width: int = 1  # copies at a time

    def wants(self, number: int, place: str) -> bool:
        """Tell whether the engine is to die there."""
        one_of_them = self.only in (None, number) and not number % self.every
        return one_of_them and self.where in place


@dataclass(frozen=True)
class Death:
    """One place at which the engine died, and what came of it."""

    number: int
    second: float
    place: str
    problem: str  # empty: it ended as it may
    why: str = ""  # of a declared end that is not the story's own
    log: str = ""


class Reaper:
    """Copies the world at each place and lets the engine die in the copy."""

    def __init__(self, world: World, trial: Trial) -> None:
        self.world = world
        self.rises = math.inf  # in a copy: when another engine starts
        self.died: tuple[int, float, str] | None = None  # set in a copy
        self.to_parent = -1
        self.places = 0
        self.deaths: list[Death] = []
        self._trial = trial
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
        if self._trial.brief and name in SMALL:
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
        if self._trial.wants(self.places, name) and self._copy(name):
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
        while len(self._copies) >= self._trial.width:
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
            lost = f"the copy ended with {status}"
            self.deaths.append(Death(self.places, self.world.clockwork.now, "", lost))
            return
        self.deaths.append(Death(**json.loads(text)))

    def collect_all(self) -> None:
        """Wait for every copy."""
        while self._copies:
            self._collect()

    def end_of_copy(self, end: End) -> None:
        """Tell the parent how it ended, and be gone."""
        assert self.died is not None
        log = "\n".join(self.world.lines) if end.problem or self._trial.only is not None else ""
        text = json.dumps(asdict(Death(*self.died, *end, log)))
        with os.fdopen(self.to_parent, "w", encoding="utf-8") as stream:
            stream.write(text)
        os._exit(0)
