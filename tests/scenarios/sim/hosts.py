# SPDX-License-Identifier: Apache-2.0
"""A host: its power, its clocks, its processes, and the guests that really run on it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from tests.scenarios.sim.clockwork import Process
from tests.scenarios.sim.storage import CLUSTER, Path
from vmha_pollsters import conf as configuration
from vmha_pollsters.agent.daemon import Agent

if TYPE_CHECKING:
    from tests.scenarios.sim.world import World

GATEWAY = "10.0.0.254"
#: How long a machine takes from power to its services, in seconds.
BOOT = 20.0


@dataclass(eq=False)
class Plain:
    """A machine that only answers: the gateway, a controller."""

    name: str
    address: str
    hung: bool = False
    booted: float = 0.0
    skew: float = 0.0

    def answers(self) -> bool:
        return not self.hung

    def lag(self) -> float:
        return 0.0


@dataclass(eq=False)
class Host:
    """What is true of a host, whatever anybody believes."""

    name: str
    address: str
    world: World = field(repr=False)
    powered: bool = True
    hung: bool = False
    boots: int = 1
    booted: float = -1000.0
    answers_from: float = -1000.0  # its kernel is up since, or will be
    skew: float = 0.0
    starved: float = 0.0  # s, the longest wait for the CPU
    storage: Path = field(default_factory=Path)
    guests: set[str] = field(default_factory=set)
    agent: Agent | None = None
    agent_name: str = ""  # under which the agent claims; default: the host's
    priority: int = 0
    processes: dict[str, Process] = field(default_factory=dict)
    seen_since: float | None = 0.0  # somebody could see that it lives, without a break

    def answers(self) -> bool:
        up = self.world.clockwork.now >= self.answers_from
        return self.powered and not self.hung and up

    def lag(self) -> float:
        if not self.starved:
            return 0.0
        return self.world.random.uniform(0.0, self.starved)

    @property
    def boot_id(self) -> uuid.UUID:
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{self.name} boot {self.boots}")

    # -- processes ----------------------------------------------------------------------

    def start(self, kind: str) -> None:
        """Start a process unless it runs: "agent", "poller" or "compute"."""
        running = self.processes.get(kind)
        if not self.powered or (running is not None and running.alive):
            return
        process = Process(f"{self.name} {kind}", self)
        self.processes[kind] = process
        work: dict[str, Callable[[], Any]] = {
            "agent": self._run_agent,
            "poller": lambda: self.world.telemetry.poll(self),
            "compute": lambda: self.world.nova.compute(self),
            "vm-poller": lambda: self.world.telemetry.poll_vms(self),
        }
        self.world.clockwork.spawn(process, work[kind], kind)

    def kill(self, kind: str) -> None:
        process = self.processes.get(kind)
        if process is not None and process.alive:
            process.kill()
        if kind == "agent":
            self.agent = None

    def stop(self, kind: str) -> None:
        self.processes[kind].stopped = True

    def cont(self, kind: str) -> None:
        process = self.processes[kind]
        process.stopped = False
        self.world.clockwork.release(process)

    def runs(self, kind: str) -> bool:
        """Tell whether a process works right now."""
        process = self.processes.get(kind)
        return self.answers() and process is not None and process.alive and not process.stopped

    def _run_agent(self) -> None:
        self.agent = Agent(self._conf())
        self.agent.run()

    def _conf(self) -> cfg.ConfigOpts:
        folder = self.world.folder
        boot = folder / f"{self.name}.boot"
        boot.write_text(str(self.boot_id))
        conf = cfg.ConfigOpts()
        conf.register_opts(configuration.OPTS, group=configuration.GROUP)
        conf([], project="vmha", prog="vmha-agent", default_config_files=[])
        values = {
            "host": self.agent_name or self.name,
            "address": self.address,
            "cluster": CLUSTER,
            "key_file": str(_key(folder)),
            "boot_id_file": str(boot),
            "lease_path": "/slots",
            "priority": self.priority,
            "isolation_addresses": [GATEWAY],
        }
        for name, value in values.items():
            conf.set_override(name, value, group=configuration.GROUP)
        return conf

    # -- the machine --------------------------------------------------------------------

    def power_off(self) -> None:
        """Take the power away: everything on it is gone at once."""
        if not self.powered:
            return
        self.powered = self.hung = False
        for kind in list(self.processes):
            self.kill(kind)
        for vm in sorted(self.guests):
            self.world.guest_ends(vm, self)

    def power_on(self, takes: float = BOOT) -> None:
        """Boot: the kernel answers after half of the time, the services start at its end."""
        if self.powered:
            return
        self.powered = True
        self.boots += 1
        self.booted = self.world.clockwork.now
        self.answers_from = self.booted + takes / 2
        boot = self.boots
        self.world.clockwork.after(takes, lambda: self._booted(boot))

    def _booted(self, boot: int) -> None:
        if self.powered and self.boots == boot:
            for kind in self.world.kinds:
                self.start(kind)

    def hang(self) -> None:
        """Let the kernel stop: nothing runs, nothing answers, nothing is lost."""
        self.hung = True

    def unhang(self) -> None:
        self.hung = False
        for process in self.processes.values():
            self.world.clockwork.release(process)

    def slot_age(self) -> float | None:
        """Return how long ago its agent last wrote its slot, None: never."""
        written = self.storage.renewed
        return None if written is None else self.world.clockwork.now - written


def _key(folder: File) -> File:
    key = folder / "key"
    if not key.exists():
        key.write_text("0123456789abcdef0123456789abcdef")
    return key


def rng(seed: object) -> random.Random:
    return random.Random(str(seed))
