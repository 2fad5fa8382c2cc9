# SPDX-License-Identifier: Apache-2.0
"""Every fault that is played on the real lab: what is done, and what has to come of it.

Numbers are those of the project's list of faults. Most have a scenario of the same kind on a
virtual clock (`tests/scenarios`), where times, orders and clusters can be had that a lab cannot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.lab.drill import deeds
from tests.lab.drill.deeds import Deed
from tests.lab.drill.ground import Pick, anyone, busiest, follower, master, witness
from tests.lab.drill.outcome import Expected, nothing, recovery, told
from tests.lab.errors import LabError
from vmha_remediator.rules import timing

#: The longest that it takes to notice a death, and a little (s).
DETECTION = timing.total(timing.detection())[1] + 1.0
#: So long (s) a fault of which nothing may come stands: not even a report, which waits longer.
OUTLAST = DETECTION + 5.0
#: A renewal every 2 s, late by less than the 8 s that a lease may be old.
SLOW_MS = 1000.0
SHORT_STALL = 5.0  # s


@dataclass(frozen=True)
class Fault:
    """One fault; `what` completes "the lab: ...", `scenario` is a folder of tests/scenarios."""

    number: int
    name: str
    what: str
    do: Deed
    undo: Deed
    expected: Expected
    scenario: str
    on: Pick = anyone
    prepare: Deed = deeds.nothing
    within: float = 60.0  # s for what has to come
    outlast: float = OUTLAST  # s of looking on when nothing may come
    quick: bool = False  # part of the ordinary tests


_STALL = deeds.storage_mode("stall")
_STALL_ALL = deeds.storage_mode("stall", everywhere=True)
_SLOW_ALL = deeds.storage_mode("slow", ms=SLOW_MS, everywhere=True)
_BLOCKED = deeds.storage_mode("stall", under="/vmha")
_ERRORS = deeds.storage_mode("error")
_BUS = ("rabbitmq",)
_TELEMETRY = ("gnocchi", "gnocchi-metricd")
_INGEST = "ceilometer-agent-notification"
_NET, _DISK, _UP = deeds.heal_network, deeds.heal_storage, deeds.switch_on
_NO = deeds.nothing

FAULTS: tuple[Fault, ...] = (
    # --- host and processes
    Fault(1, "power-loss", "a host loses power",
          deeds.power_loss, _UP, recovery(), "power-loss", busiest),
    Fault(2, "power-loss-master", "the master's host loses power",
          deeds.power_loss, _UP, recovery(), "power-loss-of-master", master),
    Fault(3, "agent-killed", "an agent is killed",
          deeds.kill_services("agent"), _UP, told("agent-down"), "agent-killed", quick=True),
    Fault(4, "agent-stopped", "an agent is stopped (SIGSTOP) and goes on later",
          deeds.stop_agent, deeds.continue_agent, told("agent-down"), "agent-stopped",
          quick=True),
    Fault(5, "agent-crash-loop", "an agent dies as soon as it has started, again and again",
          deeds.crash_loop(4, 7.0), _UP, told("agent-down"), "agent-crash-loop-mute"),
    Fault(6, "lease-keeper-blocked", "an agent's lease I/O hangs, its heartbeats do not",
          _BLOCKED, _DISK, told("storage-lost"), "lease-keeper-blocked", quick=True),
    Fault(7, "agent-and-compute-killed", "agent and nova-compute are killed, the kernel lives",
          deeds.kill_services("agent", "compute"), _UP, told("agent-down"),
          "agent-and-compute-dead"),
    Fault(8, "freeze-5s", "a host stands still for five seconds",
          deeds.freeze_for(5.0), _NO, nothing(writes=False), "host-hangs-5s", quick=True),
    Fault(9, "freeze", "a host stands still until it is fenced",
          deeds.freeze, _UP, recovery(), "host-hangs-100s", busiest),
    Fault(10, "fast-reboot", "a host reboots inside the window",
          deeds.fast_reboot, _UP, nothing("agent-down", writes=False), "fast-reboot"),
    Fault(11, "starved-target", "a host gets next to no CPU",
          deeds.starve_it, deeds.feed, nothing("agent-down", writes=False), "target-starved"),
    Fault(12, "starved-master", "the master gets next to no CPU",
          deeds.starve_it, deeds.feed, nothing("agent-down", writes=False), "master-starved",
          master),
    # --- network
    Fault(15, "isolation", "a host's network is cut",
          deeds.cut(), _NET, told("isolation"), "isolation", quick=True),
    Fault(16, "partition", "a host and the three others do not hear each other",
          deeds.alone, _NET, told("partition"), "split-2-3"),
    Fault(17, "split-2-2", "two hosts and the two others do not hear each other",
          deeds.halves, _NET, told("network-outage", of_cluster=True), "split-2-2", quick=True),
    Fault(18, "host-master-cut", "a host and the master do not hear each other",
          deeds.from_master, _NET, nothing(), "host-master-cut", follower, quick=True),
    Fault(19, "one-way-out", "what a host sends is lost",
          deeds.cut(inbound=False), _NET, told("partition"), "one-way-out"),
    Fault(20, "one-way-in", "what is sent to a host is lost",
          deeds.cut(outbound=False), _NET, nothing(), "one-way-in"),
    Fault(21, "loss-30", "30 % of all hosts' packets are lost, each way",
          deeds.loss(30), _NET, nothing(), "loss-30-percent"),
    Fault(22, "flap", "a host's network is down for ten seconds and up for ten, twice",
          deeds.flap(2, 10.0), _NET, nothing("isolation", "flapping"), "flapping-link",
          outlast=0.0),
    Fault(22, "flapping", "a host's network is down for 18 seconds and up for 16, thrice",
          deeds.flap(3, 18.0, up=16.0), _NET, told("flapping", "isolation"), "flapping-link"),
    Fault(23, "network-outage", "no host hears another; telemetry has a network of its own",
          deeds.nobody_hears, _NET, told("network-outage", of_cluster=True),
          "network-outage-is-reported"),
    Fault(24, "gateway-down", "the gateway alone is silent",
          deeds.gateway_down, deeds.gateway_up, nothing(), "gateway-down"),
    # --- storage
    Fault(26, "storage-stall", "a host's storage hangs, its guests' too",
          _STALL, _DISK, told("storage-lost", writes=False), "storage-stalls-on-observer"),
    Fault(27, "storage-stall-witness", "the storage of one that watches hangs",
          _STALL, _DISK, told("storage-lost", writes=False), "storage-stalls-on-observer",
          witness),
    Fault(28, "storage-outage", "the storage hangs for everybody",
          _STALL_ALL, _DISK, told("storage-outage", of_cluster=True, writes=False),
          "storage-outage-is-reported", quick=True),
    Fault(29, "storage-errors", "a host's storage answers with I/O errors",
          _ERRORS, _DISK, told("storage-lost", writes=False), "storage-errors"),
    Fault(30, "storage-slow", "each request of every host takes a second",
          _SLOW_ALL, _DISK, nothing(), "storage-slow"),
    Fault(30, "storage-short-stalls", "a host's storage hangs for five seconds, three times",
          deeds.short_stalls(3, SHORT_STALL), _DISK, nothing(writes=False),
          "storage-stalls-5s", outlast=0.0),
    Fault(33, "cut-everything", "a host loses network and storage together, its VMs live",
          deeds.cut_everything, _UP, recovery(), "network-and-storage-cut", busiest),
    # --- telemetry, clocks, the controller
    Fault(41, "telemetry-silent-host", "an agent is ended in good order, its host stays in use",
          deeds.end_agent, _UP, told("telemetry-silent"), "telemetry-silent-for-a-host",
          within=130.0),
    Fault(41, "telemetry-silent", "nothing of anybody gets into Gnocchi",
          deeds.stop_service(_INGEST), deeds.start_service(_INGEST),
          told("telemetry-silent", of_cluster=True), "telemetry-silence-is-reported",
          within=130.0),
    Fault(51, "clock-ahead", "a host's clock steps an hour ahead",
          deeds.clock_step(deeds.HOUR), deeds.right_clock, nothing(), "clock-one-hour-ahead",
          prepare=deeds.own_clock),
    Fault(51, "clock-behind", "a host's clock steps an hour back",
          deeds.clock_step(-deeds.HOUR), deeds.right_clock, nothing(), "clock-one-hour-behind",
          prepare=deeds.own_clock),
    Fault(52, "rabbitmq-restart", "RabbitMQ is restarted",
          deeds.restart(*_BUS), _NO, nothing(), "rabbit-restart"),
    Fault(52, "gnocchi-restart", "Gnocchi's API and metricd are restarted",
          deeds.restart(*_TELEMETRY), _NO, nothing(), "gnocchi-down"),
    Fault(52, "keystone-restart", "Keystone is restarted",
          deeds.restart("keystone"), _NO, nothing(), "keystone-restart"),
    Fault(52, "mariadb-restart", "MariaDB is restarted",
          deeds.restart("mariadb"), _NO, nothing(), "database-restart"),
)  # fmt: skip


def chosen(words: Iterable[str]) -> tuple[Fault, ...]:
    """Return the faults with these names or numbers, all if there are none, in their order.

    Raises `LabError` for a word that is neither.
    """
    wanted = list(words)
    known = {f.name for f in FAULTS} | {str(f.number) for f in FAULTS}
    if unknown := [word for word in wanted if word not in known]:
        raise LabError(f"no fault {', '.join(unknown)}: see 'soak --list'")
    return tuple(f for f in FAULTS if not wanted or {f.name, str(f.number)} & set(wanted))
