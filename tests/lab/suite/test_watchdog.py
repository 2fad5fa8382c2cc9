# SPDX-License-Identifier: Apache-2.0
"""No BMC at all: a host that lost network and storage together is reset by its own watchdog.

Fault 33. Its VMs live until then, and may write; nothing of it may overlap with their next life.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import faults, hosts, layout, net, process, redfish, storage, watchdog
from tests.lab.suite.arranged import nightly
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.test_failure import recovered
from tests.lab.watch import both, incident_state, verdict
from vmha_pollsters.ask import ask
from vmha_remediator.errors import AgentUnavailable

pytestmark = pytest.mark.lab


def armed(host: str) -> bool:
    """Tell whether the host's slot holds its promise, as all others read it."""
    others = [other for other in layout.HOSTS if other != host]
    try:
        told = [ask(str(layout.host_dir(o) / "agent.sock"), "status")["peers"] for o in others]
    except AgentUnavailable:
        return False
    return all(any(p["host"] == host and p["watchdog"] for p in peers) for peers in told)


def restart_agent(host: str) -> None:
    """Start the agent, and the feeder before it, with the configuration as it is now."""
    process.stop(hosts.process_name(host, "agent"))
    hosts.start_services(host, ["watchdog", "agent"])


@pytest.fixture
def host(cloud: Cloud) -> Iterator[str]:
    """Yield the host with most protected VMs, with a watchdog and without a BMC."""
    host = cloud.busiest()
    try:
        watchdog.enable(host)
        restart_agent(host)
        process.wait_for(lambda: armed(host), f"the watchdog of {host} to be armed", 30)
        redfish.set_mode(host, "refuse")
        watchdog.fence_by(host, ["watchdog"])
        yield host
    finally:
        watchdog.fence_by(host, None)
        redfish.set_mode(host, "ok")
        process.stop(hosts.process_name(host, "watchdog"))
        watchdog.disable(host)
        if hosts.power_state(host) == "on":
            restart_agent(host)


@pytest.mark.parametrize(
    "under",
    [
        pytest.param("/", id="all storage"),
        pytest.param("/vmha", id="the leases only", marks=nightly),
    ],
)
def test_cut_off_from_everything_it_is_reset_and_its_vms_run_elsewhere(
    cloud: Cloud, host: str, under: str
) -> None:
    """Nobody can switch it off; that it did so itself is waited for (fault 33)."""
    protected = cloud.tagged_on(host)
    assert protected
    net.cut(host)
    storage.set_mode(host, "stall", under=under)
    faults.record("cut-off", host, under=under)
    recovered(cloud, host, protected, timeout=180.0)

    proof = cloud.observer.latest(host).proof
    assert proof is not None
    assert (proof.driver, proof.proves) == ("watchdog", "power is off")
    assert "promise" in proof.evidence
    assert faults.last("watchdog", host) < proof.time


def test_a_killed_agent_costs_no_vm_its_life(cloud: Cloud, host: str) -> None:
    before = cloud.look().vm_hosts()
    process.kill(hosts.process_name(host, "agent"))
    cloud.wait(
        both(incident_state(host, "agent-down", "reported"), verdict(host, "agent-down")),
        f"the agent of {host} is down",
    )
    looks = [cloud.look() for _ in range(12)]
    assert hosts.power_state(host) == "on"
    assert all(shot.vm_hosts() == before for shot in looks)
