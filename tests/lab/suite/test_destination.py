# SPDX-License-Identifier: Apache-2.0
"""A host dies while it is given the VMs of another: fenced and left in its turn, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import boot, hosts, process, services
from tests.lab.drill.outcome import RECOVERED
from tests.lab.gather import violations
from tests.lab.services import base
from tests.lab.settings import Settings
from tests.lab.snapshot import Snapshot, VmView
from tests.lab.suite import odd
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.remediator import otherwise
from tests.lab.watch import Condition, both, incident_state, run_elsewhere

pytestmark = pytest.mark.lab

#: VMs beside those of a calm cloud, so that some are still to come when the first has arrived.
MORE = 3
ONE_BY_ONE: Settings = {"evacuation": {"parallel": 1}}


@pytest.fixture
def source(cloud: Cloud) -> Iterator[str]:
    """Yield a host with some more protected VMs; what they wrote is judged before they go."""
    host = cloud.busiest()
    more = boot.boot([boot.Plan(f"more-{n}", host, True) for n in range(MORE)], lambda _: None)
    try:
        yield host
        assert violations() == []
    finally:
        odd.delete(more)


def arrived(shot: Snapshot, vms: list[str], source: str) -> list[VmView]:
    """Return those of `vms` that Nova no longer has on their old host."""
    return [vm for vm in shot.vms if vm.id in vms and vm.host != source]


def left(host: str, vms: list[str]) -> Condition:
    """Return a condition: the VMs run on other hosts, once each, and `host` is done with."""
    return both(run_elsewhere(vms, host), incident_state(host, "failure", *RECOVERED))


def settled(shot: Snapshot, vms: list[str]) -> bool:
    """Tell whether Nova has done all that it was asked to do with these VMs."""
    return all(vm.task is None for vm in shot.vms if vm.id in vms)


def test_a_destination_that_dies_too_is_left_after_a_proof_of_its_own(
    cloud: Cloud, source: str
) -> None:
    """It is killed when the first VM has arrived and others are still to come (fault 46).

    The engine is dead at that moment, so that nothing is on its way: what Nova has asked of a host
    that dies waits for its return, and Nova does not say of which host.
    """
    moving = cloud.tagged_on(source)
    with otherwise(ONE_BY_ONE):
        hosts.kill(source)
        cloud.wait(
            lambda shot: bool(arrived(shot, moving, source)), f"a VM of {source} is elsewhere"
        )
        process.kill("remediator")
        shot = cloud.wait(
            lambda shot: settled(shot, moving), f"Nova is done with the VMs of {source}"
        )
        dest = arrived(shot, moving, source)[0].host
        everyone = sorted({*moving, *(vm.id for vm in shot.vms if vm.tagged and vm.host == dest)})
        hosts.kill(dest)
        assert str(cloud.observer.latest(source).state) == "evacuating"
        base.start(services.find("remediator"))
        cloud.wait(
            both(left(source, everyone), left(dest, everyone)),
            f"all protected VMs of {source} and {dest} run on the others",
            120,
        )
        for host in (source, dest):
            proof = cloud.observer.latest(host).proof
            assert proof is not None
            assert proof.driver == "redfish"
        hosts.boot_host(dest)
        cloud.wait(
            both(run_elsewhere(everyone, dest), incident_state(dest, "failure", "readmitted")),
            f"{dest} is taken back, and nothing else comes of it",
        )
