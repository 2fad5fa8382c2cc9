# SPDX-License-Identifier: Apache-2.0
"""No BMC at all: a host that lost network and storage together is reset by its own watchdog.

Fault 33. Its VMs live until then, and may write; nothing of it may overlap with their next life.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import faults, hosts, layout, net, process, redfish, storage, watchdog
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.test_failure import latest, recovered
from tests.lab.watch import both, incident_state, verdict
from vmha_pollsters.ask import ask
from vmha_remediator.errors import AgentUnavailable

pytestmark = pytest.mark.lab

HOST = "h3"


def armed() -> bool:
    """Tell whether the host's slot holds its promise, as all others read it."""
    others = [host for host in layout.HOSTS if host != HOST]
    try:
        told = [ask(str(layout.host_dir(h) / "agent.sock"), "status")["peers"] for h in others]
    except AgentUnavailable:
        return False
    return all(any(p["host"] == HOST and p["watchdog"] for p in peers) for peers in told)


def restart_agent() -> None:
    """Start the agent, and the feeder before it, with the configuration as it is now."""
    process.stop(hosts.process_name(HOST, "agent"))
    hosts.start_services(HOST, ["watchdog", "agent"])


@pytest.fixture
def host(cloud: Cloud) -> Iterator[str]:
    """Yield a host with a watchdog and without a BMC."""
    try:
        watchdog.enable(HOST)
        restart_agent()
        process.wait_for(armed, f"the watchdog of {HOST} to be armed", 30)
        redfish.set_mode(HOST, "refuse")
        watchdog.fence_by(HOST, ["watchdog"])
        yield HOST
    finally:
        watchdog.fence_by(HOST, None)
        redfish.set_mode(HOST, "ok")
        process.stop(hosts.process_name(HOST, "watchdog"))
        watchdog.disable(HOST)
        if hosts.power_state(HOST) == "on":
            restart_agent()


@pytest.mark.parametrize("under", ["/", "/vmha"], ids=["all storage", "the leases only"])
def test_cut_off_from_everything_it_is_reset_and_its_vms_run_elsewhere(
    cloud: Cloud, host: str, under: str
) -> None:
    protected = cloud.tagged_on(host)
    assert protected
    net.cut(host)
    storage.set_mode(host, "stall", under=under)
    faults.record("cut-off", host, under=under)
    recovered(cloud, host, protected, timeout=180.0)

    proof = latest(cloud, host).proof
    assert proof is not None
    assert (proof.driver, proof.proves) == ("watchdog", "power is off")
    assert "promise" in proof.evidence
    resets = [e["t"] for e in faults.events() if e["kind"] == "watchdog" and e["host"] == host]
    assert resets and resets[-1] < proof.time


def test_a_killed_agent_costs_no_vm_its_life(cloud: Cloud, host: str) -> None:
    before = cloud.look().vm_hosts()
    process.kill(hosts.process_name(host, "agent"))
    cloud.wait(
        both(verdict(host, "agent-down"), incident_state(host, "agent-down", "reported")),
        f"the agent of {host} is down",
    )
    looks = [cloud.look() for _ in range(12)]
    assert hosts.power_state(host) == "on"
    assert all(shot.vm_hosts() == before for shot in looks)
