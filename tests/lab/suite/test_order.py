# SPDX-License-Identifier: Apache-2.0
"""Which VMs come back, in which order, and where: by tags, wishes and policies."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.lab import hosts, layout, nova_api, process, timeline
from tests.lab.gather import evacuations
from tests.lab.services import cloudapi
from tests.lab.suite.arranged import all_run, servers, usual
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.remediator import otherwise
from tests.lab.suite.test_failure import recovered
from tests.lab.watch import both, incident_state, verdict
from vmha_remediator.remedy import reserves

pytestmark = pytest.mark.lab

FLAVOR, IMAGE = "m1.ha", "tiny-ha"  # both with evacuable=true


@pytest.fixture(scope="module")
def marked(lab: object) -> tuple[str, str]:
    """Return the ids of a flavor and an image that ask for protection."""
    cloud = cloudapi.connect()
    flavor = cloud.compute.find_flavor(FLAVOR)
    if flavor is None:
        flavor = cloud.compute.create_flavor(name=FLAVOR, ram=64, vcpus=1, disk=1)
        cloud.compute.create_flavor_extra_specs(flavor, {"evacuable": "true"})
    image = cloud.image.find_image(IMAGE) or cloud.image.create_image(
        IMAGE,
        data=bytes(1024),
        disk_format="raw",
        container_format="bare",
        visibility="public",
        evacuable="true",
        wait=True,
        validate_checksum=False,
    )
    return str(flavor.id), str(image.id)


def evacuated(vm: str) -> tuple[str, float, float]:
    """Return where a VM was evacuated last, when that was asked for, and when it was done."""
    record = evacuations(vm)[-1]
    assert record.status == "done"
    return str(record.dest), record.created, record.updated


def test_protected_in_four_ways_in_order_of_priority_and_dependence_and_spread(
    cloud: Cloud, marked: tuple[str, str]
) -> None:
    host, (flavor, image) = cloud.busiest(), marked
    plain = usual()
    wishes = {"vmha:depends-on": "o-flavor", "vmha:priority": "-9"}
    wanted: dict[str, dict[str, Any]] = {
        "o-tag": plain | {"tags": ["vmha"], "metadata": wishes},
        "o-metadata": plain | {"metadata": {"HA_Enabled": "True", "vmha:priority": "10"}},
        "o-flavor": plain | {"flavorRef": flavor, "metadata": {"vmha:priority": "-10"}},
        "o-image": plain | {"imageRef": image, "metadata": {"vmha:priority": "5"}},
        "o-nobody": plain,
    }
    with (
        servers(host, wanted) as made,
        otherwise({"evacuation": {"parallel": 1, "candidates": "spread"}}),
    ):
        cloud.wait(all_run(made.values()), "the marked servers run")
        protected = [*cloud.tagged_on(host), *(made[n] for n in wanted if n != "o-nobody")]
        hosts.kill(host)
        recovered(cloud, host, sorted(set(protected)), 150.0)
        incident = cloud.observer.latest(host)
        records = {vm.name: vm for vm in incident.vms}
        assert "o-nobody" not in records
        asked = sorted(records, key=lambda name: records[name].started or 0.0)
        assert asked[:2] == ["o-metadata", "o-image"]
        assert asked[-2:] == ["o-flavor", "o-tag"]  # it waits for the less important one
        started = {name: timeline.lives(made[name])[-1] for name in ("o-flavor", "o-tag")}
        assert started["o-flavor"][1] < started["o-tag"][1]
        named = [s.sentence for s in incident.steps if s.step == "evacuate"]
        assert all("evacuation to h" in sentence for sentence in named)
        assert len({vm.dest for vm in incident.vms}) > 1
        hosts.boot_host(host)
        cloud.wait(
            both(incident_state(host, "failure", "readmitted"), verdict(host, "well")),
            f"{host} is taken back",
        )


def test_a_destination_is_sent_the_next_vm_when_the_one_before_has_arrived(cloud: Cloud) -> None:
    """By Nova's own records: `parallel_per_host` is 1, and the cloud's limit is far away."""
    host, tagged = cloud.busiest(), usual("vmha")
    with (
        servers(host, {f"o-{n}": tagged for n in range(len(layout.HOSTS))}) as made,
        otherwise({"evacuation": {"parallel_per_host": 1, "candidates": "spread"}}),
    ):
        cloud.wait(all_run(made.values()), "the tagged servers run")
        protected = cloud.tagged_on(host)
        assert len(protected) > len(layout.HOSTS)  # so one destination at least gets several
        hosts.kill(host)
        recovered(cloud, host, protected, 150.0)
        moves = sorted(evacuated(vm) for vm in protected)
        crowded = [
            (dest, created, arrived)
            for (dest, _, arrived), (same, created, _) in pairwise(moves)
            if same == dest and created < arrived
        ]
        assert crowded == []


def test_a_reserve_is_enabled_for_a_failure_and_rests_again_when_it_is_empty(cloud: Cloud) -> None:
    host = cloud.busiest()
    reserve = next(h for h in reversed(layout.HOSTS) if h != host)
    protected = cloud.tagged_on(host)
    nova_api.set_service(reserve, status="disabled", disabled_reason=reserves.REASON)
    try:
        with otherwise({"evacuation": {"candidates": "reserved", "reserved_hosts": reserve}}):
            hosts.kill(host)
            recovered(cloud, host, protected)
            assert {vm.dest for vm in cloud.observer.latest(host).vms} == {reserve}
            assert nova_api.service(reserve)["status"] == "enabled"
            hosts.boot_host(host)
            cloud.wait(incident_state(host, "failure", "readmitted"), f"{host} is taken back")
            for vm in cloud.look().vms:
                if vm.host == reserve:
                    nova_api.request("DELETE", f"/servers/{vm.id}")
            process.wait_for(
                lambda: nova_api.service(reserve).get("disabled_reason") == reserves.REASON,
                f"{reserve} to rest",
                60.0,
                interval=1.0,
            )
    finally:
        nova_api.set_service(reserve, status="enabled")
