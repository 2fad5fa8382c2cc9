# SPDX-License-Identifier: Apache-2.0
"""What is true: the hosts, whose power is on, which guest runs where; and what befalls them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.unit.engine.sim.nova import SimNova
from tests.unit.engine.sim.witnesses import SimFencing, SimTelemetry

START = 1_800_000_000.0
STEP = 0.5  # s of virtual time between two cycles
REPORT_EVERY = 10.0  # nova-compute's report_interval


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
