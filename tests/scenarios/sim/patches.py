# SPDX-License-Identifier: Apache-2.0
"""The seam: while a scenario runs, the product's modules see virtual time, threads and sockets.

Nothing of the product is replaced but what it imports from the standard library to wait, and
the two ends that touch the outside (the slots file and the probe).
"""

from __future__ import annotations

import random
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from unittest import mock

from ceilometer import sample
from oslo_db.sqlalchemy import engines

from tests.scenarios.sim import clockwork as cw
from tests.scenarios.sim import network
from tests.scenarios.sim.hosts import Host
from tests.scenarios.sim.storage import Blocks
from vmha_pollsters import pollsters
from vmha_pollsters.agent import daemon, probe
from vmha_pollsters.agent.heartbeat import endpoint
from vmha_pollsters.agent.storage import keeper

if TYPE_CHECKING:
    from tests.scenarios.sim.world import World

PRODUCT = ("vmha_pollsters", "vmha_remediator.engine")
PROBE_TIMEOUT = 1.0
ECHO = 0.004
NO_ID = uuid.UUID(int=0)


@contextmanager
def virtual(world: World) -> Iterator[None]:
    """Let the product run on `world` as long as this lasts."""
    clockwork = world.clockwork
    sockets, select = network.modules(world.network, lambda: _here(world))
    with ExitStack() as stack:

        def put(module: ModuleType, name: str, value: Any) -> None:
            stack.enter_context(mock.patch.object(module, name, value))

        stand_ins: dict[str, tuple[ModuleType, Any]] = {
            "time": (time, cw.Time(clockwork)),
            "threading": (threading, _threading(clockwork)),
        }
        for module in _product():
            for name, (real, stand_in) in stand_ins.items():
                if getattr(module, name, None) is real:
                    put(module, name, stand_in)
        put(endpoint, "socket", sockets)
        put(endpoint, "select", select)
        put(daemon, "SlotFile", lambda _path: _blocks(world))
        put(daemon, "Prober", partial(probe.Prober, attempt=partial(_attempt, world)))
        put(daemon, "os", SimpleNamespace(_exit=partial(_exit, world)))
        put(probe, "ThreadPoolExecutor", lambda *_a, **_k: cw.Pool(clockwork))
        put(keeper, "secrets", _secrets(world.random))
        # oslo.db lets other threads run at every return of a connection; there are none here.
        put(engines, "time", SimpleNamespace(sleep=lambda _seconds: None, time=time.time))
        put(pollsters, "ask", world.telemetry.ask)
        # The kernel is asked for every sample's id, which nobody reads here.
        put(sample, "uuid", SimpleNamespace(uuid1=lambda: NO_ID))
        yield


def _product() -> list[ModuleType]:
    names = [n for n in sys.modules if n.startswith(PRODUCT)]
    return [sys.modules[name] for name in sorted(names)]


def _threading(clockwork: cw.Clockwork) -> SimpleNamespace:
    return SimpleNamespace(
        Event=partial(cw.Event, clockwork),
        Lock=partial(cw.Lock, clockwork),
        Thread=partial(cw.Thread, clockwork),
    )


def _secrets(chance: random.Random) -> SimpleNamespace:
    return SimpleNamespace(token_bytes=chance.randbytes, choice=chance.choice)


def _here(world: World) -> Host:
    machine = world.clockwork.running().process.machine
    assert isinstance(machine, Host)
    return machine


def _blocks(world: World) -> Blocks:
    return Blocks(world.clockwork, world.area, _here(world).storage)


def _attempt(world: World, address: str, _port: int) -> dict[str, bool | None]:
    """Stand for one probe: an echo, and a connection that is refused at once."""
    answered = world.network.ping(_here(world), address)
    world.clockwork.park(ECHO if answered else PROBE_TIMEOUT)
    return {"icmp": answered, "tcp": answered}


def _exit(world: World, _status: int) -> NoReturn:
    process = world.clockwork.running().process
    world.log(process.name, "ends itself")
    process.kill()
    raise cw.Killed
