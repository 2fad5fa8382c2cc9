# SPDX-License-Identifier: Apache-2.0
"""The controllers: the real engine and store, with reports that are remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tests.scenarios.sim.clockwork import EPOCH, Event, InlinePool, Pool, Process
from tests.scenarios.sim.telemetry import VM_RULE
from vmha_remediator.engine.crew import Crew
from vmha_remediator.engine.cycle import Engine
from vmha_remediator.engine.executor import Executor
from vmha_remediator.engine.observer import Observer
from vmha_remediator.engine.upkeep import Upkeep
from vmha_remediator.engine.vm_watch import VmWatch
from vmha_remediator.errors import StoreUnavailable
from vmha_remediator.remedy.facts import Maintenance
from vmha_remediator.remedy.incident import Change, Incident
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.vm_failure import Limits
from vmha_remediator.rules.templates import Thresholds
from vmha_remediator.store import Doorbell, Store
from vmha_remediator.store.database import Database
from vmha_remediator.store.models import Base

if TYPE_CHECKING:
    from tests.scenarios.sim.world import World

T = TypeVar("T")
#: A leader that does not say so for this long has lost the lock, in seconds.
SESSION = 10.0


class FlakyDatabase(Database):
    """A database that can go away."""

    gone = False
    version = 0  # of the incidents in it
    _beside = False

    def write(self, work: Callable[[Any], T]) -> T:
        self.check()
        self.version += not self._beside
        return super().write(work)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """What is written meanwhile is no part of any incident."""
        self._beside = True
        try:
            yield
        finally:
            self._beside = False

    def read(self, work: Callable[[Any], T]) -> T:
        self.check()
        return super().read(work)

    @contextmanager
    def seen_through(self) -> Iterator[None]:
        """Read what is in it though it is gone: for those who judge, not for those who act."""
        gone, self.gone = self.gone, False
        try:
            yield
        finally:
            self.gone = gone

    def check(self) -> None:
        if self.gone:
            raise StoreUnavailable("the database cannot be used now")


class QuickStore(Store):
    """The store, which does not ask SQLite again while nothing has been written."""

    def __init__(self, database: FlakyDatabase, clock: Callable[[], float]) -> None:
        super().__init__(database, clock)
        self._flaky = database
        self._rung = True
        self._known: dict[tuple[Any, ...], tuple[int, Any]] = {}

    def ring(self, rule: str, host: str, source: str) -> None:
        with self._flaky.beside():
            super().ring(rule, host, source)
        self._rung = True

    def has_doorbells(self) -> bool:
        self._rung = self._rung and super().has_doorbells()
        return self._rung

    def take_doorbells(self) -> list[Doorbell]:
        self._flaky.check()
        if not self._rung:
            return []
        with self._flaky.beside():
            taken = super().take_doorbells()
        self._rung = False
        return taken

    def say(self, epoch: int, sentence: str) -> None:
        with self._flaky.beside():
            super().say(epoch, sentence)

    def incidents(self, active_only: bool = False, limit: int | None = None) -> list[Incident]:
        ask = super().incidents
        return self._once(("incidents", active_only), lambda: ask(active_only, limit))

    def incident(self, incident_id: int) -> Incident:
        ask = super().incident
        return self._once(("incident", incident_id), lambda: ask(incident_id))

    def active(self, host: str) -> Incident | None:
        ask = super().active
        return self._once(("active", host), lambda: ask(host))

    def unreported(self) -> list[Change]:
        ask = super().unreported
        return self._once(("unreported",), ask)

    def maintenance(self) -> dict[str, Maintenance]:
        # Some flags end by themselves, so this one is asked for each second anew.
        return self._once(("maintenance", int(self._clock())), super().maintenance)

    def confirmation(self, host: str) -> str | None:
        ask = super().confirmation
        return self._once(("confirmation", host), lambda: ask(host))

    def _once(self, key: tuple[Any, ...], ask: Callable[[], T]) -> T:
        self._flaky.check()
        version, found = self._known.get(key, (-1, None))
        if version != self._flaky.version:
            found = ask()
            self._known[key] = (self._flaky.version, found)
        return cast("T", found)


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
        self.database = FlakyDatabase("sqlite://")
        self.store = QuickStore(self.database, self.clock.now)
        Base.metadata.create_all(self.database.engine())

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
        return Engine(
            store=self.store,
            observer=observer,
            telemetry=world.telemetry,
            alarms=world.telemetry,
            leader=Leading(world, name),
            clock=self.clock,
            crew=crew,
            upkeep=Upkeep(observer, world.nova, self.clock, self.policy),
            name=name,
            vms=vms,
        )
