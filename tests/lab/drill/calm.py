# SPDX-License-Identifier: Apache-2.0
"""A calm cloud: no fault, all hosts well, every VM runs."""

from __future__ import annotations

import contextlib
import os
import signal

from tests.lab import (
    boot,
    clocks,
    hosts,
    layout,
    net,
    process,
    redfish,
    services,
    starve,
    storage,
)
from tests.lab.observe import Observer
from tests.lab.services import base
from tests.lab.snapshot import Snapshot
from tests.lab.watch import Condition, all_well, both, runs_well, watch

VMS = 12
TIMEOUT = 120.0  # s
SETTLED = ("cleared", "readmitted")


def heal() -> None:
    """Undo every fault there is, and start what is off."""
    net.gateway(True)
    for host in layout.HOSTS:
        redfish.set_mode(host, "ok")
        starve.feed(host)
        if hosts.frozen(host):
            hosts.thaw(host)
        if net.present(host):
            net.heal(host)
        if hosts.power_state(host) == "on" and storage.mounted(host):
            storage.set_mode(host, "ok")
        if clocks.own(host):
            clocks.forget(host)
            hosts.restart_services(host, clocks.SERVICES)
        _continue(host)
        hosts.boot_host(host)
    for service in services.ALL:
        if not process.alive(service.name):
            base.start(service)


def calm(observer: Observer, closed: Condition) -> Snapshot:
    """Heal everything and wait until all is well, `closed` holds and all VMs run.

    Incidents that were left held are released, as an operator would. Raises `LabError`.
    """
    observer.since = 0.0
    heal()
    shot = observer.look()
    if not shot.notes and both(closed, all_well, _all_run)(shot) and len(shot.vms) >= VMS:
        return shot
    release_held(observer)
    watch(observer, all_well, "all hosts are well", TIMEOUT)
    boot.restart_dead(*layout.HOSTS)
    boot.top_up(VMS, lambda _: None)  # first: in a fresh lab no host has any VM to be free with
    return watch(observer, both(closed, _all_run), "every VM runs, incidents are closed", TIMEOUT)


def release_held(observer: Observer) -> None:
    """Release incidents that were left held, as an operator would."""
    for incident in observer.store.incidents(active_only=True):
        if str(incident.state) == "held":
            observer.store.release(incident.id, "the next fault")


def none_open(shot: Snapshot) -> bool:
    """Tell whether every incident is closed."""
    return all(i.state in SETTLED for i in shot.incidents)


def _all_run(shot: Snapshot) -> bool:
    return all(runs_well(vm) for vm in shot.vms)


def _continue(host: str) -> None:
    """Let services that were stopped by a signal run on."""
    for service in hosts.SERVICES:
        if found := process.find(hosts.process_name(host, service.name)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(found.pid, signal.SIGCONT)
