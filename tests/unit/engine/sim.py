# SPDX-License-Identifier: Apache-2.0
"""A small cloud with a virtual clock: what the engine's outside looks like from within.

It keeps what is *true* (which guest runs where, whose power is on) apart from what Nova,
telemetry and fencing *say*, so that a test can see when a belief was wrong.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as Pool
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import sqlalchemy as sa

from vmha_remediator.engine.crew import Crew
from vmha_remediator.engine.cycle import Engine
from vmha_remediator.engine.executor import Executor
from vmha_remediator.engine.lookout import Lookout
from vmha_remediator.engine.observer import Observer
from vmha_remediator.engine.upkeep import Upkeep
from vmha_remediator.errors import CloudRefused, CloudUnavailable, TelemetryUnavailable
from vmha_remediator.fencing.contract import FenceResult, Power, Proof
from vmha_remediator.remedy.facts import Migration, Server, ServerGroup, Service
from vmha_remediator.remedy.incident import Change
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.rules import judge, metrics, templates
from vmha_remediator.rules.judge import Readings, State
from vmha_remediator.rules.templates import Thresholds
from vmha_remediator.store import Store
from vmha_remediator.store.database import Database
from vmha_remediator.store.models import Base, IncidentRow

T = TypeVar("T")

RULES = templates.load()
START = 1_800_000_000.0
STEP = 0.5  # s of virtual time between two cycles
REPORT_EVERY = 10.0  # nova-compute's report_interval
SERVICE_DOWN_TIME = 60.0


#: State of a server after each action.
AFTER = {
    "start": "active",
    "stop": "stopped",
    "pause": "paused",
    "suspend": "suspended",
    "rescue": "rescued",
    "confirm-resize": "active",
}


class Crash(BaseException):
    """The engine dies here; nothing catches it, as nothing catches a SIGKILL."""


class TwoRun(AssertionError):
    """One VM runs on two hosts: what must never happen."""


@dataclass
class VirtualClock:
    """Hands that only a test turns."""

    time: float = START

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


@dataclass
class Host:
    """What is true of a host."""

    name: str
    powered: bool = True
    agent: bool = True
    network: bool = True
    storage: bool = True
    compute: bool = True
    beat: float = START
    lease: float = START
    reported: float = START
    isolated: bool = False  # as its slot says: written while it can, and left there

    def live(self, now: float) -> None:
        """Do what a host in this condition does until `now`."""
        if self.powered and self.agent and self.network:
            self.beat = now
        if self.powered and self.agent and self.storage:
            self.lease = now
            self.isolated = not self.network
        due = now - self.reported >= REPORT_EVERY
        if self.powered and self.compute and self.network and due:
            self.reported = now


@dataclass
class World:
    """Hosts, guests and the services around them."""

    names: Iterable[str] = ("h1", "h2", "h3", "h4")
    clock: VirtualClock = field(default_factory=VirtualClock)
    hosts: dict[str, Host] = field(init=False)
    guests: set[tuple[str, str]] = field(default_factory=set)  # (server id, host): true
    log: list[tuple[float, str, str]] = field(default_factory=list)
    #: Called before and after everything that changes the outside; a test may crash here.
    point: Callable[[str], None] = field(default=lambda name: None)

    def __post_init__(self) -> None:
        self.hosts = {name: Host(name) for name in self.names}
        self.nova = SimNova(self)
        self.telemetry = SimTelemetry(self)
        self.fencing = SimFencing(self)

    def note(self, what: str, about: str) -> None:
        self.log.append((self.clock.time, what, about))

    def noted(self, what: str) -> list[str]:
        """Return what the log says about one kind of event, in order."""
        return [about for _, kind, about in self.log if kind == what]

    def pass_time(self, seconds: float = STEP) -> None:
        self.clock.time += seconds
        for host in self.hosts.values():
            host.live(self.clock.time)
        self.nova.work()

    def run_guest(self, server_id: str, host: str) -> None:
        others = {h for s, h in self.guests if s == server_id and h != host}
        if others:
            raise TwoRun(f"{server_id} starts on {host} while it runs on {sorted(others)}")
        self.guests.add((server_id, host))

    def runs_on(self, server_id: str) -> list[str]:
        return sorted(host for s, host in self.guests if s == server_id)

    # -- faults -------------------------------------------------------------------------

    def power_off(self, name: str) -> None:
        self.hosts[name].powered = False
        self.guests = {(s, h) for s, h in self.guests if h != name}

    def power_on(self, name: str) -> None:
        """Boot it: guests do not come up by themselves, nova-compute tidies up and reports."""
        host = self.hosts[name]
        host.powered = host.agent = host.compute = True
        host.reported = self.clock.time - REPORT_EVERY
        self.nova.compute_started(name)

    def cut_off(self, name: str) -> None:
        """Cut network and storage: the host lives, and nobody can know it."""
        self.hosts[name].network = self.hosts[name].storage = False

    def heal(self, name: str) -> None:
        host = self.hosts[name]
        host.network = host.storage = host.agent = True


class SimTelemetry:
    """Measures and alarms, both from what is true; witnesses are any two other hosts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.silent: set[str] = set()
        self.down = False
        self.aodh_down = False
        self.evaluation: float | None = None  # the latest one; None: now
        self.otherwise: str | None = "ok"  # the state of an alarm that does not stand
        self.mute = False  # no alarm stands, whatever the measures say

    def hosts(self) -> list[str]:
        self._check()
        return sorted(self._world.hosts)

    def readings(self, host: str) -> Readings:
        return self.readings_of([host])[host]

    def readings_of(self, hosts: Iterable[str]) -> dict[str, Readings]:
        self._check()
        return {host: Readings(host, self._values(host)) for host in hosts}

    def alarming(self) -> list[tuple[str, str]]:
        if self.aodh_down:
            raise TelemetryUnavailable("Aodh cannot be reached")
        found: list[tuple[str, str]] = []
        for host in self._world.hosts if not self.mute else ():
            readings = Readings(host, self._values(host))
            for verdict in judge.judge(RULES, readings, Thresholds()):
                if verdict.state is State.ALARM:
                    found.append((verdict.rule, host))
        return found

    def evaluated(self) -> dict[str, str]:
        return {"first": str(self.evaluation or self._world.clock.time)}

    def state(self, rule: str, host: str) -> str | None:
        return "alarm" if (rule, host) in self.alarming() else self.otherwise

    def _check(self) -> None:
        if self.down:
            raise TelemetryUnavailable("Gnocchi cannot be reached")

    def _values(self, name: str) -> dict[str, float]:
        if name in self.silent or name not in self._world.hosts:
            return {}
        host, now = self._world.hosts[name], self._world.clock.time
        return {
            metrics.STORAGE.name: float(host.storage),
            metrics.HEARTBEAT_AGE.name: now - host.beat,
            metrics.LEASE_AGE.name: now - host.lease,
            metrics.REACHABLE.name: float(host.powered and host.network),
            metrics.ISOLATED.name: float(host.isolated),
            metrics.WITNESSES.name: 2.0,
        }


class SimFencing:
    """A BMC a host. `outcome`: "works", "dead" (no answer) or "lies" (says off, does nothing)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.outcome = "works"
        self.confirmed: Callable[[str], str | None] = _nobody

    def fence(self, host: str) -> FenceResult:
        self._world.point("before fence")
        word = self.confirmed(host)
        if self.outcome == "works":
            self._world.power_off(host)
            self._world.note("fence", host)
        self._world.point("after fence")
        if self.outcome == "dead" and word is None:
            return FenceResult("sim", None, "the BMC does not answer")
        return FenceResult("sim", Proof.POWER_OFF, word or "power reads off")

    def power(self, host: str) -> Power:
        if self.outcome == "dead":
            return Power.UNKNOWN
        if self.outcome == "lies":
            return Power.OFF
        return Power.ON if self._world.hosts[host].powered else Power.OFF


class SimNova:
    """Nova's side: what it believes, and the evacuations it works on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = itertools.count(1)
        self.servers_by_id: dict[str, Server] = {}
        self.records: list[Migration] = []
        self.forced: set[str] = set()
        self.disabled: dict[str, str] = {}
        self.touched: dict[str, float] = {}
        self.down = False
        self.full = False  # the scheduler finds no host
        self.capacity_for: set[str] | None = None  # hosts that may be chosen; None: all
        self.stays_stopped = False  # what it evacuates, as from microversion 2.95 on
        self.refuses: set[str] = set()  # actions
        self.server_groups: list[ServerGroup] = []

    def boot(self, name: str, host: str, *, tagged: bool = True, **fields: Any) -> Server:
        """Create a server that runs (or is stopped) on `host`."""
        server = Server(
            id=f"id-{name}",
            name=name,
            host=host,
            status="ACTIVE",
            vm_state="active",
            tags=frozenset({"vmha"} if tagged else ()),
        )
        server = replace(server, **fields)
        self.servers_by_id[server.id] = server
        if server.vm_state == "active":
            self._world.run_guest(server.id, host)
        return server

    # -- the cloud port -----------------------------------------------------------------

    def services(self) -> list[Service]:
        self._check()
        return [self._service(host) for host in self._world.hosts]

    def servers(self, host: str) -> list[Server]:
        self._check()
        return [s for s in self.servers_by_id.values() if s.host == host]

    def server(self, server_id: str) -> Server | None:
        self._check()
        return self.servers_by_id.get(server_id)

    def changed_since(self, time: float) -> list[Server]:
        self._check()
        return list(self.servers_by_id.values())

    def leaves_stopped(self) -> bool:
        return self.stays_stopped

    def called(self, name: str) -> list[Server]:
        self._check()
        return [s for s in self.servers_by_id.values() if s.name == name]

    def free_memory(self) -> dict[str, int]:
        self._check()
        load = {
            h: sum(s.host == h for s in self.servers_by_id.values()) for h in self._world.hosts
        }
        return {host: 8192 - 512 * count for host, count in load.items()}

    def evacuations(self, host: str) -> list[Migration]:
        self._check()
        return [record for record in self.records if record.source == host]

    def force_down(self, service_id: str, forced: bool) -> None:
        host = service_id.removeprefix("service-")
        with self._changing("force-down"):
            open_records = [r for r in self.records if r.source == host and _keeps_down(r)]
            if not forced and open_records:
                raise CloudRefused("400 the service has evacuation records that are not done")
            (self.forced.add if forced else self.forced.discard)(host)
            self.touched[host] = self._world.clock.time
            self._world.note("force-down" if forced else "unforce", host)

    def enable(self, service_id: str) -> None:
        host = service_id.removeprefix("service-")
        with self._changing("enable"):
            self.disabled.pop(host, None)
            self._world.note("enable", host)

    def disable(self, service_id: str, reason: str) -> None:
        host = service_id.removeprefix("service-")
        with self._changing("disable"):
            self.disabled[host] = reason
            self._world.note("disable", host)

    def evacuate(self, server_id: str, dest: str | None = None) -> None:
        server = self.servers_by_id[server_id]
        with self._changing("evacuate"):
            if server.host is None or self._service(server.host).up:
                raise CloudRefused("400 the compute service is up")
            if server.task_state or server.vm_state not in ("active", "stopped", "error"):
                raise CloudRefused(f"409 the server is {server.vm_state}/{server.task_state}")
            self._set(server, task_state="rebuilding")
            self.records.append(
                Migration(
                    id=f"m-{next(self._numbers)}",
                    server_id=server_id,
                    source=server.host,
                    dest=dest,
                    status="accepted",
                    created=self._world.clock.time,
                )
            )
            self._world.note("evacuate", server.name)

    def reset_state(self, server_id: str, to: str) -> None:
        with self._changing("reset-state"):
            server = self.servers_by_id[server_id]
            self._set(server, vm_state=to, status=to.upper(), task_state=None)
            self._world.note("reset", server.name)

    def act(self, server_id: str, action: str) -> None:
        server = self.servers_by_id[server_id]
        with self._changing(action):
            self._world.note(action, server.name)
            if action in self.refuses:
                raise CloudRefused(f"409 cannot {action} it now")
            to = AFTER[action]
            self._set(server, vm_state=to, status=to.upper())
            if action in ("start", "rescue") and not self._world.runs_on(server_id):
                self._world.run_guest(server_id, str(server.host))
            elif action in ("stop", "suspend"):
                self._world.guests -= {(server_id, str(server.host))}

    def groups(self) -> list[ServerGroup]:
        self._check()
        return self.server_groups

    def reboot(self, server_id: str) -> None:
        with self._changing("reboot"):
            server = self.servers_by_id[server_id]
            self._world.guests.discard((server_id, str(server.host)))
            self._set(server, vm_state="active", status="ACTIVE", fault="")
            self._world.run_guest(server_id, str(server.host))
            self._world.note("reboot", server.name)

    # -- what goes on by itself ---------------------------------------------------------

    def work(self) -> None:
        """Bring every evacuation one step on: accepted, pre-migrating, done or error."""
        for record in list(self.records):
            age = self._world.clock.time - record.created
            if record.status == "accepted" and age >= 0.5:
                dest = record.dest or self._choose()
                if dest is None:
                    self._fail(record)
                else:
                    self._record(record, status="pre-migrating", dest=dest)
            elif record.status == "pre-migrating" and age >= 1.5:
                self._arrive(record)

    def compute_started(self, host: str) -> None:
        """Do what a restarted nova-compute does about evacuations away from it."""
        for record in list(self.records):
            if record.source == host and _keeps_down(record):
                self._record(record, status="completed")

    def break_off(self, record: Migration) -> None:
        """Let the destination fail in the middle of it."""
        server = self.servers_by_id[record.server_id]
        fault = "the network could not be plugged"
        self._set(server, vm_state="error", status="ERROR", task_state=None, fault=fault)
        self._record(self.records[self._index(record)], status="failed")

    def _index(self, record: Migration) -> int:
        return next(n for n, r in enumerate(self.records) if r.id == record.id)

    def _arrive(self, record: Migration) -> None:
        dest = str(record.dest)
        server = self.servers_by_id.get(record.server_id)
        if server is None:
            self._record(record, status="failed")
            return
        if not self._world.hosts[dest].powered:
            return  # its conductor waits for a destination that is gone
        stopped = server.vm_state == "stopped" or (
            self.stays_stopped and server.vm_state != "error"
        )
        self._world.run_guest(server.id, dest)  # Nova starts it and stops it again
        if stopped:
            self._world.guests -= {(server.id, dest)}
        state = "stopped" if stopped else "active"
        self._set(
            server,
            host=dest,
            vm_state=state,
            status="SHUTOFF" if stopped else "ACTIVE",
            task_state=None,
            fault="",
        )
        self._record(record, status="done")

    def _fail(self, record: Migration) -> None:
        server = self.servers_by_id[record.server_id]
        fault = "No valid host was found."
        self._set(server, vm_state="error", status="ERROR", task_state=None, fault=fault)
        self._record(record, status="error")

    def _choose(self) -> str | None:
        if self.full:
            return None
        services = [self._service(host) for host in self._world.hosts]
        up = [service.host for service in services if service.up and service.enabled]
        if self.capacity_for is not None:
            up = [host for host in up if host in self.capacity_for]
        load = {h: sum(s.host == h for s in self.servers_by_id.values()) for h in up}
        return min(up, key=lambda h: (load[h], h), default=None)

    def _service(self, name: str) -> Service:
        host = self._world.hosts[name]
        fresh = self._world.clock.time - host.reported < SERVICE_DOWN_TIME
        return Service(
            id=f"service-{name}",
            host=name,
            up=fresh and name not in self.forced,
            enabled=name not in self.disabled,
            forced_down=name in self.forced,
            updated_at=max(host.reported, self.touched.get(name, 0.0)),
            disabled_reason=self.disabled.get(name),
        )

    def _set(self, server: Server, **fields: Any) -> None:
        self.servers_by_id[server.id] = replace(server, **fields)

    def _record(self, record: Migration, **fields: Any) -> None:
        self.records[self.records.index(record)] = replace(record, **fields)

    def _check(self) -> None:
        if self.down:
            raise CloudUnavailable("Nova cannot be reached")

    def _changing(self, what: str) -> _Around:
        self._check()
        return _Around(self._world, what)


def _nobody(_host: str) -> str | None:
    """Nobody has confirmed anything."""
    return None


def _keeps_down(record: Migration) -> bool:
    return record.status in ("accepted", "pre-migrating", "done")


class _Around:
    """Offers a place to crash before and after a change."""

    def __init__(self, world: World, what: str) -> None:
        self._world, self._what = world, what

    def __enter__(self) -> None:
        self._world.point(f"before {self._what}")

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            self._world.point(f"after {self._what}")


class InlinePool(Pool):
    """Does work at once, in the caller's thread: a test knows when it is done."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future

    def map(self, fn: Callable[..., T], *iterables: Iterable[Any], **_: Any) -> Iterator[T]:
        return iter([fn(*args) for args in zip(*iterables, strict=True)])


class CrashingDatabase(Database):
    """A database that offers a place to crash after every commit.

    Dying before one is dying after the one before it, or after the deed in between.
    """

    point: Callable[[str], None] | None = None

    def write(self, work: Callable[[Any], T]) -> T:
        result = super().write(work)
        if self.point is not None:
            self.point("after write")
        return result


@dataclass
class AlwaysLeads:
    """A leadership that nobody disputes."""

    number: int = 1

    def hold(self) -> int | None:
        return self.number

    def stop(self) -> None:
        self.number = 0


@dataclass
class Reports:
    """Remembers what was reported."""

    changes: list[Change] = field(default_factory=list)

    def report(self, change: Change) -> None:
        self.changes.append(change)

    def told(self) -> list[str]:
        """Return the changes as "host:state", in order."""
        return [f"{change.host}:{change.after}" for change in self.changes]


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
        self.world.fencing.confirmed = _nobody
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
