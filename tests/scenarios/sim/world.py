# SPDX-License-Identifier: Apache-2.0
"""The simulated cloud as a whole: what is true, who is told, and what is written down."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.scenarios.sim import patches
from tests.scenarios.sim.bmc import Bmcs
from tests.scenarios.sim.clockwork import Clockwork
from tests.scenarios.sim.control import Control
from tests.scenarios.sim.hosts import GATEWAY, Host, Plain, rng
from tests.scenarios.sim.invariants import Invariants
from tests.scenarios.sim.network import Network, Station
from tests.scenarios.sim.nova import Nova
from tests.scenarios.sim.storage import Area
from tests.scenarios.sim.telemetry import RULES, Telemetry
from vmha_remediator.engine.executor import Executor
from vmha_remediator.remedy.facts import Migration, Server
from vmha_remediator.remedy.incident import Change
from vmha_remediator.remedy.policy import Policy

LOGGERS = ("vmha_pollsters", "vmha_remediator")


@dataclass(frozen=True)
class Cluster:
    """What a scenario begins with."""

    hosts: tuple[str, ...] = ("h1", "h2", "h3", "h4")
    vms: Mapping[str, Sequence[str]] = field(default_factory=dict)  # host -> protected VMs
    plain: Mapping[str, Sequence[str]] = field(default_factory=dict)  # host -> other VMs
    stopped: Mapping[str, Sequence[str]] = field(default_factory=dict)  # protected, switched off
    metadata: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # VM -> its own
    #: host -> VM -> its state in Nova: protected VMs that are neither running nor stopped
    odd: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    apart: Mapping[str, Sequence[str]] = field(default_factory=dict)  # anti-affinity groups
    leaves_stopped: bool = False  # what it evacuates, as Nova does from microversion 2.95 on
    priorities: Mapping[str, int] = field(default_factory=dict)
    vm_alarms: bool = False  # power.state of each VM is polled and has an alarm
    resume_guests: bool = False  # nova-compute starts its guests when its host boots
    slots: int = 0  # of the area; 0: two more than hosts
    latency: float = 0.0  # s, of every request to the storage
    policy: Mapping[str, Any] = field(default_factory=dict)


class World:
    """Everything there is; used within `running`."""

    def __init__(self, cluster: Cluster, seed: object = 0) -> None:
        self.cluster = cluster
        self.random = rng(seed)
        self.clockwork = Clockwork()
        self.lines: list[str] = []
        self.folder = Path()
        self.network = Network(self.clockwork, self.random)
        self.area = Area(cluster.slots or len(cluster.hosts) + 2)
        self.hosts = {
            name: Host(name, f"10.0.0.{n}", self, priority=cluster.priorities.get(name, 0))
            for n, name in enumerate(cluster.hosts, 1)
        }
        self.gateway = Plain("gw", GATEWAY)
        self.controller = Plain("ctl", "10.0.0.250")
        stations: list[Station] = [*self.hosts.values(), self.gateway, self.controller]
        for station in stations:
            self.network.join(station)
        self.repaired = False  # for good: no fault that waited for its time comes any more
        self.rules = RULES
        self.make_executor: Callable[..., Executor] = lambda cls, **parts: cls(**parts)
        self.invariants = Invariants(self)
        self.telemetry = Telemetry(self)
        self.nova = Nova(self)
        self.nova.resume_guests = cluster.resume_guests
        self.nova.stays_stopped = cluster.leaves_stopped
        self.nova.apart = {name: frozenset(vms) for name, vms in cluster.apart.items()}
        self.bmcs = Bmcs(self)
        self.control = Control(self, Policy(**cluster.policy))
        self.clockwork.after_step = self.invariants.after_step

    @contextmanager
    def running(self) -> Iterator[World]:
        """Start everything; the cloud ends with the block."""
        handler = _Ear(self)
        with tempfile.TemporaryDirectory(prefix="vmha-sim-") as folder:
            self.folder = Path(folder)
            with patches.virtual(self), handler.listening():
                self._boot()
                try:
                    yield self
                finally:
                    self.clockwork.after_step = lambda: None
                    self.clockwork.close()
                    self.control.database.dispose()

    def _boot(self) -> None:
        self._boot_vms(self.cluster.vms)
        self._boot_vms(self.cluster.plain, tagged=False)
        self._boot_vms(self.cluster.stopped, vm_state="stopped", status="SHUTOFF")
        for host, states in self.cluster.odd.items():
            for name, state in states.items():
                self.nova.boot(name, host, vm_state=state, status=state.upper())
        for machine in self.hosts.values():
            machine.storage.latency = self.cluster.latency
            for kind in self.kinds:
                machine.start(kind)
        aodh = self._service("aodh")
        self.clockwork.spawn(aodh, self.telemetry.evaluate_for_ever, "aodh")
        self.control.start()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the processes of a host, in the order in which it starts them."""
        extra = ("vm-poller",) if self.cluster.vm_alarms else ()
        return ("agent", "poller", "compute", *extra)

    def _boot_vms(self, vms: Mapping[str, Sequence[str]], **fields: Any) -> None:
        for host, names in vms.items():
            for name in names:
                metadata = self.cluster.metadata.get(name, {})
                self.nova.boot(name, host, metadata=metadata, **fields)

    def _service(self, name: str) -> Any:
        from tests.scenarios.sim.clockwork import Process

        return Process(name, self.controller)

    def run_until(self, second: float) -> None:
        self.clockwork.run_until(second)

    # -- what happens, told by those to whom it happens ---------------------------------

    def log(self, who: str, sentence: str) -> None:
        """Write one line of the story."""
        self.lines.append(f"{self.clockwork.now:8.3f} {who:<9} {sentence}")

    def guest_starts(self, vm: str, host: Host) -> None:
        host.guests.add(vm)
        if self.clockwork.now > 0:
            self.log("guest", f"{vm} starts on {host.name}")
        self.invariants.guest_started(vm, host)

    def guest_ends(self, vm: str, host: Host) -> None:
        if vm in host.guests:
            host.guests.discard(vm)
            self.log("guest", f"{vm} ends on {host.name}")

    def fenced(self, host: str) -> None:
        """A BMC is about to take the power of a host away."""
        self.invariants.fencing(self.hosts[host])

    def restarting(self, server: Server) -> None:
        self.invariants.restarting(server)

    def evacuation_accepted(self, server: Server, record: Migration) -> None:
        self.invariants.evacuating(server, record)

    def evacuated(self, vm: str, source: str, dest: str) -> None:
        self.invariants.evacuated(vm, source, dest)

    def reported(self, change: Change) -> None:
        self.invariants.reported(change)


class _Ear(logging.Handler):
    """Writes down what the product logs: agents from INFO on, the engine from WARNING on."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    @contextmanager
    def listening(self) -> Iterator[None]:
        loggers = [logging.getLogger(name) for name in LOGGERS]
        before = [(logger.level, logger.propagate) for logger in loggers]
        for logger in loggers:
            logger.addHandler(self)
            logger.setLevel(logging.INFO)
            logger.propagate = False
        try:
            yield
        finally:
            for logger, (level, propagate) in zip(loggers, before, strict=True):
                logger.removeHandler(self)
                logger.setLevel(level)
                logger.propagate = propagate

    def emit(self, record: logging.LogRecord) -> None:
        task = self._world.clockwork.task
        if task is None:
            return
        engine = record.name.startswith("vmha_remediator")
        if record.name == "vmha_pollsters.pollsters":
            return
        if engine and (record.levelno < logging.WARNING or record.exc_info):
            if record.exc_info:
                self._world.invariants.violation(
                    "no failed cycle", f"{record.getMessage()}: {record.exc_info[1]!r}"
                )
            return
        name = task.process.name.removesuffix(" agent")
        self._world.log(name, record.getMessage())
