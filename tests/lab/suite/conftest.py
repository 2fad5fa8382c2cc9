# SPDX-License-Identifier: Apache-2.0
"""A calm cloud before every test: all hosts well, every VM running; invariants after it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.conftest import Lab
from tests.lab import boot, hosts, layout, net, process, redfish, services, storage
from tests.lab.observe import Observer
from tests.lab.services import base
from tests.lab.snapshot import Snapshot
from tests.lab.verbs_hosts import violations
from tests.lab.watch import Condition, all_well, both, runs_well, watch

VMS = 12
CALM = 120.0  # s
SETTLED = ("cleared", "readmitted")


class Cloud:
    """What a test does to the lab and sees of it."""

    def __init__(self) -> None:
        self.observer = Observer()

    def wait(self, until: Condition, what: str, timeout: float = 90.0) -> Snapshot:
        """Watch until it is so; fails the test after `timeout` seconds."""
        return watch(self.observer, until, what, timeout)

    def look(self) -> Snapshot:
        """Return what can be seen now."""
        return self.observer.look()

    def tagged_on(self, host: str) -> list[str]:
        """Return the ids of the protected VMs of a host."""
        return [vm.id for vm in self.look().vms if vm.tagged and vm.host == host]

    def busiest(self) -> str:
        """Return the host with most protected VMs."""
        vms = [vm for vm in self.look().vms if vm.tagged]
        return max(layout.HOSTS, key=lambda host: sum(vm.host == host for vm in vms))

    def calm(self) -> Snapshot:
        """Heal everything, start what is off, and wait until all is well and all VMs run."""
        self.observer.since = 0.0
        for host in layout.HOSTS:
            redfish.set_mode(host, "ok")
            if hosts.frozen(host):
                hosts.thaw(host)
            if net.present(host):
                net.heal(host)
            if hosts.power_state(host) == "on" and storage.mounted(host):
                storage.set_mode(host, "ok")
            hosts.boot_host(host)
        for service in services.ALL:
            if not process.alive(service.name):
                base.start(service)
        self.release_held()
        self.wait(both(all_well, _no_incident), "every host is well, no incident is open", CALM)
        for host in layout.HOSTS:
            boot.restart_dead(host)
        missing = VMS - len(boot.names())
        if missing > 0:
            boot.boot(boot.plan(missing, layout.HOSTS, boot.mixed, "vm", boot.names()))
        return self.wait(lambda s: all(runs_well(vm) for vm in s.vms), "every VM runs", CALM)

    def wait_for_word(self, service: str, timeout: float = 60.0) -> None:
        """Wait until the engine's latest sentence, or an open incident's, names `service`."""

        def said() -> bool:
            leader = self.observer.store.leader()
            open_ones = self.observer.store.incidents(active_only=True)
            words = [leader.said if leader else "", *(i.said for i in open_ones)]
            return any(service in sentence.lower() for sentence in words)

        process.wait_for(said, f"the engine to name {service}", timeout, interval=0.5)

    def release_held(self) -> None:
        """Release incidents that a test left held, as an operator would."""
        for incident in self.observer.store.incidents(active_only=True):
            if str(incident.state) == "held":
                self.observer.store.release(incident.id, "the next test")


def _no_incident(shot: Snapshot) -> bool:
    return all(i.state in SETTLED for i in shot.incidents if i.host in layout.HOSTS)


@pytest.fixture(scope="session")
def _cloud(lab: Lab) -> Cloud:
    return Cloud()


@pytest.fixture
def cloud(_cloud: Cloud) -> Iterator[Cloud]:
    """Yield a calm cloud; after the test every invariant must hold."""
    _cloud.calm()
    _cloud.observer.since = time.time()  # a test sees its own incidents only
    yield _cloud
    assert violations() == []
