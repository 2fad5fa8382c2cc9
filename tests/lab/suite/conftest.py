# SPDX-License-Identifier: Apache-2.0
"""A calm cloud before every test: all hosts well, every VM running; invariants after it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.conftest import Lab
from tests.lab import layout, process
from tests.lab.drill.calm import calm, none_open
from tests.lab.gather import violations
from tests.lab.observe import Observer
from tests.lab.snapshot import Snapshot
from tests.lab.watch import Condition, watch


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
        """Heal everything, and wait until all is well and all VMs run."""
        return calm(self.observer, none_open)

    def wait_for_word(self, *either: str, timeout: float = 60.0) -> None:
        """Wait until the engine's latest sentence, or an open incident's, has one of `either`."""

        def said() -> bool:
            leader = self.observer.store.leader()
            open_ones = self.observer.store.incidents(active_only=True)
            words = [leader.said if leader else "", *(i.said for i in open_ones)]
            return any(word in sentence.lower() for sentence in words for word in either)

        process.wait_for(said, f"the engine to say: {either[0]}", timeout, interval=0.3)

    def leads(self, service: str) -> bool:
        """Tell whether the engine in this process of the controller leads."""
        leader, running = self.observer.store.leader(), process.find(service)
        if leader is None or running is None:
            return False
        return leader.owner.endswith(f":{running.pid}")

    def wait_for_a_move(self, host: str, timeout: float = 60.0) -> None:
        """Wait until Nova has been asked to start some of a host's VMs elsewhere."""

        def moving() -> bool:
            active = self.observer.store.active(host)
            vms = self.observer.store.incident(active.id).vms if active else ()
            return any(vm.started is not None for vm in vms)

        process.wait_for(moving, f"the VMs of {host} to move", timeout)


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
