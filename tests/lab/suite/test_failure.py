# SPDX-License-Identifier: Apache-2.0
"""A host fails: its protected VMs run again elsewhere, once, and only after proof."""

from __future__ import annotations

import pytest

from tests.lab import hosts, process, redfish, services, settings
from tests.lab.drill.outcome import RECOVERED
from tests.lab.gather import evacuations
from tests.lab.invariants import NOVA_ROUNDING
from tests.lab.services import base
from tests.lab.suite import remediator
from tests.lab.suite.arranged import nightly
from tests.lab.suite.conftest import Cloud
from tests.lab.watch import both, incident_state, run_elsewhere, verdict

pytestmark = pytest.mark.lab

#: So long (s) the lock of a dead engine stays; a live one renews its own every 4 s.
LOCK_TIMEOUT = 6


def recovered(cloud: Cloud, host: str, protected: list[str], timeout: float = 90.0) -> None:
    """Wait until the protected VMs of a dead host run elsewhere and its incident says so."""
    cloud.wait(
        both(incident_state(host, "failure", *RECOVERED), run_elsewhere(protected, host)),
        f"the protected VMs of {host} run elsewhere",
        timeout,
    )


def held_without_proof(cloud: Cloud, host: str) -> None:
    """Kill a host whose BMC refuses: its incident waits for a person."""
    redfish.set_mode(host, "refuse")
    hosts.kill(host)
    cloud.wait(incident_state(host, "failure", "held"), f"the incident of {host} is held")


def moved_once(cloud: Cloud, host: str, protected: list[str]) -> None:
    """Nova took each of them away from the host once, in this test."""
    since = cloud.observer.since - NOVA_ROUNDING
    moved = [e.vm for e in evacuations() if e.created >= since and e.source == host]
    assert sorted(moved) == sorted(protected)


def test_power_loss_moves_every_protected_vm_and_no_other_and_the_host_that_returns_is_taken_back(
    cloud: Cloud,
) -> None:
    host = cloud.busiest()
    before, protected = cloud.look(), cloud.tagged_on(host)
    assert protected
    hosts.kill(host)
    recovered(cloud, host, protected)
    after = cloud.look().vm_hosts()
    others = {vm.id: vm.host for vm in before.vms if vm.id not in protected}
    assert {vm: after[vm] for vm in others} == others
    incident = cloud.observer.latest(host)
    assert incident.proof is not None
    assert incident.proof.proves == "power is off"
    assert [vm.attempts for vm in incident.vms] == [1] * len(protected)

    hosts.boot_host(host)
    shot = cloud.wait(
        both(incident_state(host, "failure", "readmitted"), verdict(host, "well")),
        f"{host} is taken back",
    )
    assert next(h.nova for h in shot.hosts if h.name == host) == "up"


def test_without_proof_the_incident_is_held_and_nothing_moves(cloud: Cloud) -> None:
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    held_without_proof(cloud, host)
    held = cloud.observer.latest(host)
    assert f"vmha-manage fence confirm {host}" in held.advice
    assert [vm for vm in held.vms if vm.started is not None] == []
    assert all(vm.host == host for vm in cloud.look().vms if vm.id in protected)

    remediator.manage("fence", "confirm", host, "--yes")
    recovered(cloud, host, protected)
    proof = cloud.observer.latest(host).proof
    assert proof is not None
    assert proof.driver == "manual"


def test_a_bmc_that_answers_again_is_asked_again(cloud: Cloud) -> None:
    """Until it answers nothing moves (fault 34)."""
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    redfish.set_mode(host, "hang")
    hosts.kill(host)
    cloud.wait(incident_state(host, "failure", "held"), f"the incident of {host} is held")
    assert all(vm.host == host for vm in cloud.look().vms if vm.id in protected)
    redfish.set_mode(host, "ok")
    recovered(cloud, host, protected)


@pytest.mark.parametrize("state", [pytest.param("fenced", marks=nightly), "evacuating"])
def test_an_engine_killed_on_the_way_goes_on_where_the_facts_are(cloud: Cloud, state: str) -> None:
    """Between fencing and evacuation (fault 36), and in the middle of that (fault 37)."""
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    hosts.kill(host)
    cloud.wait(
        incident_state(host, "failure", state, "evacuating", *RECOVERED),
        f"the incident of {host} is {state}",
    )
    remediator.crash()
    recovered(cloud, host, protected)
    moved_once(cloud, host, protected)


def test_another_engine_takes_over_from_one_that_is_killed_in_the_middle(cloud: Cloud) -> None:
    """Two engines, one database, a lock in Redis: what one begins the other ends (fault 37)."""
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    url = f"{settings.redis('leader')}&lock_timeout={LOCK_TIMEOUT}"
    one_by_one: settings.Settings = {
        "engine": {"coordination_url": url},
        "evacuation": {"parallel": 1},
    }
    with remediator.otherwise(one_by_one):
        process.wait_for(lambda: cloud.leads("remediator"), "the first engine to lead", 30)
        base.start(services.find("engine-2"))
        try:
            hosts.kill(host)
            cloud.wait_for_a_move(host)
            assert cloud.leads("remediator")
            process.kill("remediator")
            recovered(cloud, host, protected)
            assert cloud.leads("engine-2")
        finally:
            base.stop(services.find("engine-2"))
    moved_once(cloud, host, protected)
