# SPDX-License-Identifier: Apache-2.0
"""A small cloud with a virtual clock: what the engine's outside looks like from within.

It keeps what is *true* (`world`) apart from what Nova, telemetry and fencing *say*, so that a test
can see when a belief was wrong. Unlike that of the scenarios it has no agents and no tasks: it can
be copied at any moment and go on twice, as the tests of crashes do again and again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tests.scenarios.sim.clockwork import InlinePool
from tests.unit.engine.sim.parts import AlwaysLeads, Crash, CrashingDatabase, Reports
from tests.unit.engine.sim.witnesses import RULES, nobody
from tests.unit.engine.sim.world import START, STEP, VirtualClock, World
from vmha_remediator.engine.crew import Crew
from vmha_remediator.engine.cycle import Engine
from vmha_remediator.engine.executor import Executor
from vmha_remediator.engine.lookout import Lookout
from vmha_remediator.engine.observer import Observer
from vmha_remediator.engine.upkeep import Upkeep
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.rules.templates import Thresholds
from vmha_remediator.store import Store
from vmha_remediator.store.database import Database
from vmha_remediator.store.models import Base, IncidentRow

__all__ = ["START", "STEP", "AlwaysLeads", "Crash", "CrashingDatabase", "Sim", "VirtualClock"]


@dataclass
class Sim:
    """A world, a database that survives, and an engine that can be killed."""

    policy: Policy = field(default_factory=Policy)
    world: World = field(default_factory=World)
    database: Database = field(default_factory=lambda: CrashingDatabase("sqlite://"))

    def __post_init__(self) -> None:
        self.store = Store(self.database, self.world.clock.now)
        # The models' tables, not the migrations': a test in tests/contract compares them.
        Base.metadata.create_all(self.database.engine())
        if isinstance(self.database, CrashingDatabase):
            self.database.point = lambda name: self.world.point(name)
        self.world.fencing.confirmed = self.store.confirmation
        self.reports = Reports()
        self.engine = self.new_engine()

    def new_engine(self) -> Engine:
        """Return a fresh engine over the same world and the same database."""
        world = self.world
        pool = InlinePool()
        observer = Observer(
            telemetry=world.telemetry,
            cloud=world.nova,
            fencing=world.fencing,
            store=self.store,
            templates=RULES,
            thresholds=lambda agents: Thresholds().for_cluster(agents),
            clock=world.clock,
            policy=self.policy,
            pool=pool,
        )
        executor = Executor(
            store=self.store,
            cloud=world.nova,
            fencing=world.fencing,
            clock=world.clock,
            policy=self.policy,
            pool=pool,
            heard=observer.heard_again,
            after_service=observer.forget_services,
        )
        crew = Crew(
            store=self.store,
            observer=observer,
            executor=executor,
            reporter=self.reports,
            clock=world.clock,
            policy=self.policy,
            pool=pool,
        )
        lookout = Lookout(
            store=self.store,
            observer=observer,
            telemetry=world.telemetry,
            alarms=world.telemetry,
            clock=world.clock,
            crew=crew,
            policy=self.policy,
        )
        return Engine(
            store=self.store,
            leader=AlwaysLeads(),
            clock=world.clock,
            crew=crew,
            lookout=lookout,
            upkeep=Upkeep(observer, world.nova, world.clock, self.policy),
        )

    def fork(self, database: Database) -> Sim:
        """Return another cloud in the same state, with an engine that has just started.

        `database` becomes a copy of this one's, whatever is in it: one that has been used
        before knows its statements, and to compile them is most of the work.
        """
        self.world.fencing.confirmed = nobody
        other = Sim(self.policy, copy.deepcopy(self.world), database)
        self.world.fencing.confirmed = self.store.confirmation
        with self.database.engine().connect() as ours, other.database.engine().connect() as new:
            source, target = ours.connection.driver_connection, new.connection.driver_connection
            assert source is not None
            source.backup(target)
        other.reports.changes = list(self.reports.changes)
        return other

    def run(self, seconds: float) -> None:
        """Let virtual time pass, with cycles as often as the engine itself would have them."""
        end = self.world.clock.time + seconds
        while self.world.clock.time < end:
            self.turn(min(end - self.world.clock.time, self.engine.pause))

    def turn(self, seconds: float) -> None:
        """Let time pass, then look once."""
        self.world.pass_time(seconds)
        self.engine._guarded_cycle()

    def run_until(self, happened: Callable[[], bool], seconds: float = 300.0) -> None:
        """Let time pass until `happened`; fails when it does not within `seconds`."""
        end = self.world.clock.time + seconds
        while not happened():
            assert self.world.clock.time < end, f"not within {seconds} s; {self.story()}"
            self.turn(self.engine.pause)

    def incident(self, host: str) -> Any:
        """Return the host's latest incident."""
        return next((i for i in self.store.incidents() if i.host == host), None)

    def state(self, host: str) -> str:
        """Return the state of the host's latest incident; asked often, so asked cheaply."""
        query = (
            sa.select(IncidentRow.state)
            .where(IncidentRow.host == host)
            .order_by(IncidentRow.id.desc())
            .limit(1)
        )
        return self.database.read(lambda session: session.scalar(query)) or "none"

    def story(self) -> str:
        """Return what has happened so far, for a failing test's reader."""
        lines = [f"{t - START:7.1f} {what} {about}" for t, what, about in self.world.log]
        for incident in self.store.incidents():
            lines.append(f"incident {incident.id} {incident.host} {incident.state}")
            lines.append(f"  said: {incident.said}")
            lines += [f"  {s.time - START:7.1f} {s.step}: {s.sentence}" for s in incident.steps]
            lines += [f"  vm {vm.name} {vm.status} {vm.reason}" for vm in incident.vms]
        return "\n".join(lines)
