# SPDX-License-Identifier: Apache-2.0
"""What is done to the lab for each fault, and how that is undone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from tests.lab import clocks, gather, hosts, layout, net, process, services, starve, storage
from tests.lab.drill.ground import Ground, the_master
from tests.lab.errors import LabError
from tests.lab.services import base

Deed = Callable[[Ground], None]

#: Percent of one core for a starving host: its services alone want about 10 on a quiet machine.
STARVING = 5.0
HOUR = 3600.0  # s
_READY = 60.0  # s for an agent that was started to be qualified


# --- the host -------------------------------------------------------------------------------


def power_loss(ground: Ground) -> None:
    """Take the power away."""
    hosts.kill(ground.victim)


def fast_reboot(ground: Ground) -> None:
    """Take the power away and give it back at once."""
    hosts.kill(ground.victim)
    hosts.boot_host(ground.victim)


def switch_on(ground: Ground) -> None:
    """Boot the host, or start what it misses."""
    if hosts.frozen(ground.victim):
        hosts.thaw(ground.victim)
    hosts.boot_host(ground.victim)


def freeze(ground: Ground) -> None:
    """Let the host stand still."""
    hosts.freeze(ground.victim)


def freeze_for(seconds: float) -> Deed:
    """Return a deed: the host stands still for so long."""

    def deed(ground: Ground) -> None:
        hosts.freeze(ground.victim)
        ground.look(seconds)
        hosts.thaw(ground.victim)

    return deed


def starve_it(ground: Ground) -> None:
    """Leave the host next to no CPU."""
    starve.starve(ground.victim, STARVING)


def feed(ground: Ground) -> None:
    """Give the host its CPU back."""
    starve.feed(ground.victim)


def own_clock(ground: Ground) -> None:
    """Give the host's agent and polling a clock of their own, and wait until they are well."""
    clocks.set_ahead(ground.victim, 0.0)
    hosts.restart_services(ground.victim, clocks.SERVICES)
    process.wait_for(
        lambda: gather.qualified(ground.victim), f"{ground.victim} to take part again", _READY
    )


def clock_step(seconds: float) -> Deed:
    """Return a deed: the host's wall clock steps by so much."""

    def deed(ground: Ground) -> None:
        clocks.set_ahead(ground.victim, seconds)

    return deed


def right_clock(ground: Ground) -> None:
    """Set the clock right."""
    clocks.set_ahead(ground.victim, 0.0)


# --- its services ---------------------------------------------------------------------------


def kill_services(*names: str) -> Deed:
    """Return a deed: these services of the host die without warning."""

    def deed(ground: Ground) -> None:
        for name in names:
            process.kill(hosts.process_name(ground.victim, name))

    return deed


def stop_agent(ground: Ground) -> None:
    """Hold the agent where it stands (SIGSTOP)."""
    os.kill(_pid(ground.victim, "agent"), signal.SIGSTOP)


def continue_agent(ground: Ground) -> None:
    """Let the agent run on (SIGCONT)."""
    os.kill(_pid(ground.victim, "agent"), signal.SIGCONT)


def end_agent(ground: Ground) -> None:
    """End the agent as an administrator would: its slot says that it leaves."""
    process.stop(hosts.process_name(ground.victim, "agent"))


def crash_loop(times: int, pause: float) -> Deed:
    """Return a deed: the agent dies as soon as it has started, again and again."""

    def deed(ground: Ground) -> None:
        for _ in range(times):
            process.kill(hosts.process_name(ground.victim, "agent"))
            ground.look(pause)
            hosts.start_services(ground.victim, ["agent"])
        process.kill(hosts.process_name(ground.victim, "agent"))

    return deed


# --- the network ----------------------------------------------------------------------------


def cut(inbound: bool = True, outbound: bool = True) -> Deed:
    """Return a deed: the host's network is cut, both ways or one."""
    return lambda ground: net.cut(ground.victim, inbound, outbound)


def heal_network(ground: Ground) -> None:
    """Take every network fault off every host."""
    for host in layout.HOSTS:
        net.heal(host)


def alone(ground: Ground) -> None:
    """Keep the host from all others; controller and gateway are on another network."""
    net.partition([ground.others, (ground.victim,)], shared=True)


def halves(ground: Ground) -> None:
    """Split the hosts into two and two; controller and gateway are on another network."""
    one, *rest = ground.others
    net.partition([(ground.victim, one), rest], shared=True)


def nobody_hears(ground: Ground) -> None:
    """Keep every host from every other; controller and gateway are on another network."""
    net.partition([(host,) for host in layout.HOSTS], shared=True)


def from_master(ground: Ground) -> None:
    """Keep the host and the master from each other, and from nobody else."""
    net.part(ground.victim, the_master())


def loss(percent: int) -> Deed:
    """Return a deed: every host loses packets at random, each way."""

    def deed(ground: Ground) -> None:
        for host in layout.HOSTS:
            net.loss(host, percent)

    return deed


def flap(times: int, seconds: float, up: float | None = None) -> Deed:
    """Return a deed: the host's network is down for `seconds` and up for as long, or for `up`."""

    def deed(ground: Ground) -> None:
        for _ in range(times):
            net.cut(ground.victim)
            ground.look(seconds)
            net.heal(ground.victim)
            ground.look(seconds if up is None else up)

    return deed


def gateway_down(ground: Ground) -> None:
    """Let the gateway fall silent."""
    net.gateway(False)


def gateway_up(ground: Ground) -> None:
    """Let the gateway answer."""
    net.gateway(True)


# --- the storage ----------------------------------------------------------------------------


def storage_mode(
    mode: str, *, ms: float = 0.0, under: str = "/", everywhere: bool = False
) -> Deed:
    """Return a deed: requests of the host, or of all hosts, fare like that."""

    def deed(ground: Ground) -> None:
        for host in layout.HOSTS if everywhere else (ground.victim,):
            storage.set_mode(host, mode, ms=ms, under=under)

    return deed


def short_stalls(times: int, seconds: float) -> Deed:
    """Return a deed: the host's storage hangs for so long, works as long, and again."""

    def deed(ground: Ground) -> None:
        for _ in range(times):
            storage.set_mode(ground.victim, "stall")
            ground.look(seconds)
            storage.set_mode(ground.victim, "ok")
            ground.look(seconds)

    return deed


def heal_storage(ground: Ground) -> None:
    """Let every request of every host be done."""
    for host in layout.HOSTS:
        if hosts.power_state(host) == "on":
            storage.set_mode(host, "ok")


def cut_everything(ground: Ground) -> None:
    """Take network and storage away together; the VMs live."""
    net.cut(ground.victim)
    storage.set_mode(ground.victim, "stall")


# --- the controller -------------------------------------------------------------------------


def stop_service(*names: str) -> Deed:
    """Return a deed: services of the controller end."""

    def deed(ground: Ground) -> None:
        for name in names:
            base.stop(services.find(name))

    return deed


def start_service(*names: str) -> Deed:
    """Return a deed: services of the controller start, in this order."""

    def deed(ground: Ground) -> None:
        for name in names:
            base.start(services.find(name))

    return deed


def restart(*names: str) -> Deed:
    """Return a deed: services of the controller end and start again."""

    def deed(ground: Ground) -> None:
        for name in reversed(names):
            base.stop(services.find(name))
        start_service(*names)(ground)

    return deed


def nothing(ground: Ground) -> None:
    """Do nothing: the deed has undone itself."""


def _pid(host: str, service: str) -> int:
    found = process.find(hosts.process_name(host, service))
    if found is None:
        raise LabError(f"{service} of {host} does not run")
    return found.pid
