# SPDX-License-Identifier: Apache-2.0
"""Server groups and no capacity: a VM waits with a reason until a host can take it."""

from __future__ import annotations

import pytest

from tests.lab import boot, hosts, layout, nova_api, process
from tests.lab.errors import LabError
from tests.lab.gather import evacuations
from tests.lab.services import cloudapi
from tests.lab.suite import odd
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.remediator import otherwise
from tests.lab.watch import both, incident_state, run_elsewhere
from vmha_remediator.remedy.incident import Incident, VmStatus

pytestmark = pytest.mark.lab


def _group(name: str, policy: str) -> str:
    body = {"server_group": {"name": name, "policy": policy}}
    return str(nova_api.post("/os-server-groups", body)["server_group"]["id"])


def _member(name: str, host: str, group: str) -> str:
    """Boot a protected member of a group on a host."""
    compute, image = cloudapi.connect().compute, cloudapi.connect().image
    body = {
        "server": {
            "name": name,
            "imageRef": image.find_image(boot.IMAGE).id,
            "flavorRef": compute.find_flavor(boot.FLAVOR).id,
            "networks": "none",
            "host": host,
            "tags": ["vmha"],
        },
        "os:scheduler_hints": {"group": group},
    }
    vm = str(nova_api.post("/servers", body)["server"]["id"])
    odd.wait_status(vm, "ACTIVE")
    return vm


def _incident(cloud: Cloud, host: str) -> Incident:
    found = [i for i in cloud.observer.store.incidents() if i.host == host]
    return cloud.observer.store.incident(max(found, key=lambda i: i.opened).id)


def _forget(groups: list[str], vms: list[str]) -> None:
    odd.delete(vms)
    for group in groups:
        try:
            nova_api.request("DELETE", f"/os-server-groups/{group}")
        except LabError:
            continue


def test_a_vm_for_which_there_is_no_host_waits_until_there_is_one(cloud: Cloud) -> None:
    """A strict group on every host leaves no room (fault 45); two soft members part in turn."""
    host = cloud.busiest()
    others = [h for h in layout.HOSTS if h != host]
    strict, soft = _group("strict", "anti-affinity"), _group("soft", "soft-anti-affinity")
    vms: list[str] = []
    try:
        alone = _member("strict-0", host, strict)
        vms.append(alone)
        vms += [_member(f"strict-{n}", h, strict) for n, h in enumerate(others, 1)]
        pair = [_member(f"soft-{n}", host, soft) for n in (0, 1)]
        vms += pair
        hosts.kill(host)
        cloud.wait(
            both(incident_state(host, "failure", "recovered"), run_elsewhere(pair, host)),
            f"what can leave {host} has left it",
        )
        record = _incident(cloud, host).vm(alone)
        assert record is not None
        assert record.status is VmStatus.PENDING
        assert "No valid host" in record.reason
        assert record.attempts >= 3

        odd.delete([vms[1]])  # room at last
        cloud.wait(run_elsewhere([alone], host), "the one that waited runs", 120)
        assert odd.show(alone)["OS-EXT-SRV-ATTR:host"] == others[0]
        moves = sorted(e.created for e in evacuations() if e.vm in pair)
        assert moves[1] > moves[0], "both members moved at the same time"
    finally:
        hosts.boot_host(host)
        _forget([strict, soft], vms)


def test_strict_affinity_waits_with_its_way_out_and_what_has_no_host_is_left_alone(
    cloud: Cloud,
) -> None:
    host = cloud.busiest()
    together = _group("together", "affinity")
    vms: list[str] = []
    try:
        pair = [_member(f"together-{n}", host, together) for n in (0, 1)]
        (offloaded,) = boot.boot([boot.Plan("offloaded", host, True)], lambda _: None)
        vms += [*pair, offloaded]
        for action, status in (("shelve", "SHELVED"), ("shelveOffload", "SHELVED_OFFLOADED")):
            odd.act(offloaded, {action: None})
            odd.wait_status(offloaded, status)
        with otherwise({"evacuation": {"retry_limit": 5}}):
            hosts.kill(host)
            cloud.wait(incident_state(host, "failure", "recovered"), f"{host} is recovered")
            incident = cloud.observer.latest(host)
            assert incident.vm(offloaded) is None
            for vm in pair:
                record = incident.vm(vm)
                assert record is not None
                assert record.status is VmStatus.PENDING
                assert f"openstack server group delete {together}" in record.reason
            nova_api.request("DELETE", f"/os-server-groups/{together}")
            cloud.wait(run_elsewhere(pair, host), "without their group they run elsewhere", 120)
            assert odd.show(offloaded)["status"] == "SHELVED_OFFLOADED"
    finally:
        hosts.boot_host(host)
        _forget([together], vms)


def test_a_host_that_returns_in_the_middle_starts_nothing(cloud: Cloud) -> None:
    """And what was moved away from it is removed there (fault 47)."""
    host = cloud.busiest()
    protected, before = cloud.tagged_on(host), len(evacuations())

    def statuses() -> set[str]:  # of this test's: others may have left a failed one
        now = evacuations()[before:]
        return {e.status for e in now if e.vm in protected and e.source == host}

    hosts.kill(host)
    cloud.wait(
        incident_state(host, "failure", "evacuating", "recovered"), f"{host} is being evacuated"
    )
    hosts.boot_host(host)
    cloud.wait(run_elsewhere(protected, host), f"the VMs of {host} run elsewhere")
    try:
        process.wait_for(
            lambda: statuses() == {"completed"},
            "nova-compute to complete the records",
            60,
            interval=1.0,
        )
    except LabError:  # they arrived after it had looked for what was moved away
        hosts.restart_services(host, ["compute"])
    cloud.wait(incident_state(host, "failure", "readmitted"), f"{host} is taken back")
    assert statuses() == {"completed"}
