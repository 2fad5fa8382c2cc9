# SPDX-License-Identifier: Apache-2.0
"""The controllers: the real engine and store, with reports that are remembered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from tests.scenarios.sim.clockwork import EPOCH, Event, InlinePool, Pool, Process
from tests.scenarios.sim.store import QuickStore, empty_database
from tests.scenarios.sim.telemetry import VM_RULE
from vmha_remediator.engine.crew import Crew
from vmha_remediator.engine.cycle import Engine
from vmha_remediator.engine.executor import Executor
from vmha_remediator.engine.lookout import Lookout
from vmha_remediator.engine.observer import Observer
from vmha_remediator.engine.upkeep import Upkeep
from vmha_remediator.engine.vm_watch import VmWatch
from vmha_remediator.errors import StoreUnavailable
from vmha_remediator.remedy.incident import Change
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.vm_failure import Limits
from vmha_remediator.rules.templates import Thresholds

if TYPE_CHECKING:
    from tests.scenarios.sim.world import World

#: A leader that does not say so for this long has lost the lock, in seconds.
SESSION = 10.0


@dataclass
class LockService:
    """What tooz gives: one holder, until its session ends."""

    holder: str = ""
    until: float = 0.0
    number: int = 0


@dataclass
class Leading:
    """One engine's way to the lock."""

    world: World
    name: str
    number: int = 0

    def hold(self) -> int | None:
        lock, now = self.world.control.lock, self.world.clockwork.now
        if lock.holder != self.name:
            if lock.holder and now < lock.until:
                return None
            lock.holder, lock.number = self.name, lock.number + 1
            self.number = lock.number
        lock.until = now + SESSION
        return self.number

    def stop(self) -> None:
        lock = self.world.control.lock
        if lock.holder == self.name:
            lock.holder = ""


@dataclass
class Clock:
    """The controllers' clock."""

    world: World

    def now(self) -> float:
        return EPOCH + self.world.clockwork.now

    def monotonic(self) -> float:
        return self.world.clockwork.now + 1000.0


@dataclass
class Control:
    """The store that survives, and the engines that may not."""

    world: World
    policy: Policy = field(default_factory=Policy)
    lock: LockService = field(default_factory=LockService)
    reports: list[Change] = field(default_factory=list)
    engines: dict[str, Process] = field(default_factory=dict)
    bells: dict[str, Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = Clock(self.world)
        self.database = empty_database()
        self.store = QuickStore(self.database, self.clock.now)

    def start(self, name: str = "engine") -> None:
        """Start an engine unless it runs."""
        running = self.engines.get(name)
        if running is not None and running.alive:
            return
        process = Process(name, self.world.controller)
        self.engines[name] = process
        bell = self.bells[name] = Event(self.world.clockwork)
        stop: Any = Event(self.world.clockwork)
        self.world.clockwork.spawn(
            process, lambda: self.make(name).run(stop, cast(Any, bell)), name
        )

    def kill(self, name: str = "engine") -> None:
        self.engines[name].kill()

    def ring(self, rule: str, host: str, source: str = "aodh") -> None:
        """Be the webhook receiver: write a row, wake the engine here."""
        try:
            self.store.ring(rule, host, source)
        except StoreUnavailable:
            return
        for name, process in self.engines.items():
            if process.alive and not process.stopped:
                self.bells[name].set()

    def report(self, change: Change) -> None:
        """Be the reporter: told once a change."""
        self.reports.append(change)
        before = f"{change.before} -> " if change.before else ""
        self.world.log("report", f"{change.host} {change.rule} {before}{change.after}")
        self.world.log("     |", change.sentence)
        self.world.reported(change)

    def make(self, name: str) -> Engine:
        """Return an engine over this world's services, as engine.loop makes it."""
        world, clockwork = self.world, self.world.clockwork
        observer = Observer(
            telemetry=world.telemetry,
            cloud=world.nova,
            fencing=world.bmcs,
            store=self.store,
            templates=world.rules,
            thresholds=lambda agents: Thresholds().for_cluster(agents),
            clock=self.clock,
            policy=self.policy,
            pool=InlinePool(),
        )
        executor = world.make_executor(
            Executor,
            store=self.store,
            cloud=world.nova,
            fencing=world.bmcs,
            clock=self.clock,
            policy=self.policy,
            pool=InlinePool(),
            heard=observer.heard_again,
            after_service=observer.forget_services,
        )
        crew = Crew(
            store=self.store,
            observer=observer,
            executor=executor,
            reporter=self,
            clock=self.clock,
            policy=self.policy,
            pool=Pool(clockwork),
        )
        vms = VmWatch(
            store=self.store,
            cloud=world.nova,
            power=world.telemetry.power_state,
            observer=observer,
            clock=self.clock,
            pool=crew.pool,
            template=VM_RULE,
            limits=Limits(window=self.policy.vm_window),
            deposed=crew.depose,
        )
        observer.vm_facts = vms.facts
        lookout = Lookout(
            store=self.store,
            observer=observer,
            telemetry=world.telemetry,
            alarms=world.telemetry,
            clock=self.clock,
            crew=crew,
            policy=self.policy,
        )
        return Engine(
            store=self.store,
            leader=Leading(world, name),
            clock=self.clock,
            crew=crew,
            lookout=lookout,
            upkeep=Upkeep(observer, world.nova, self.clock, self.policy),
            name=name,
            vms=vms,
        )
