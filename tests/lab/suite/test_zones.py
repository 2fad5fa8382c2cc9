# SPDX-License-Identifier: Apache-2.0
"""Where VMs may go at all: their availability zone, host aggregates, and if no host is left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab import hosts, layout
from tests.lab.services import cloudapi
from tests.lab.suite import odd
from tests.lab.suite.arranged import WHY, all_run, out_of_use, servers, usual
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.remediator import otherwise
from tests.lab.suite.test_failure import recovered
from tests.lab.suite.test_people import run
from vmha_remediator.osc.careful import WANTED
from vmha_remediator.remedy.incident import VmRecord, VmStatus

pytestmark = pytest.mark.lab

ZONE = "east"
QUICK: dict[str, object] = {"retry_first": 0.5, "retry_limit": 2.0}  # s
FRESH: dict[str, object] = {"capacity_age": 1, "servers_age": 0, "view_age": 0}  # s


@contextmanager
def aggregate(name: str, members: Iterable[str], metadata: Mapping[str, str]) -> Iterator[None]:
    """Have a host aggregate for a while."""
    compute = cloudapi.connect().compute
    made = compute.create_aggregate(name=name)
    try:
        compute.set_aggregate_metadata(made, dict(metadata))
        for host in members:
            compute.add_host_to_aggregate(made, host)
        yield
    finally:
        for host in compute.get_aggregate(made).hosts or ():
            compute.remove_host_from_aggregate(made, host)
        compute.delete_aggregate(made)


def emptied(cloud: Cloud) -> tuple[str, str]:
    """Return two hosts without VMs: Nova puts no other into a zone. The next test boots more."""
    vms = cloud.look().vms
    count = Counter(vm.host for vm in vms)
    one, two = sorted(layout.HOSTS, key=lambda host: count[host])[:2]
    odd.delete([vm.id for vm in vms if vm.host in (one, two)])
    return one, two


def waiting(cloud: Cloud, host: str, vm: str, why: str) -> VmRecord:
    """Wait until a VM of a dead host is pending with a reason that says so; return its record."""

    def said(_: object) -> bool:
        active = cloud.observer.store.active(host)
        found = cloud.observer.store.incident(active.id).vm(vm) if active else None
        return found is not None and found.status is VmStatus.PENDING and why in found.reason

    cloud.wait(said, f"it is told that {vm} waits: {why}")
    found = cloud.observer.latest(host).vm(vm)
    assert found is not None
    return found


def attempts(cloud: Cloud, host: str, vm: str) -> int:
    """Return how often Nova has been asked to evacuate a VM of a host that failed."""
    record = cloud.observer.latest(host).vm(vm)
    return record.attempts if record is not None else 0


def capacity(host: str) -> dict[str, Any]:
    """Return what an operator is told of a host's VMs, if it failed now."""
    answer = run("vmha", "capacity", "list", "-f", "json")
    assert answer.returncode in (0, WANTED), answer.stderr
    rows: list[dict[str, Any]] = json.loads(answer.stdout)
    return next(row for row in rows if row["Host"] == host)


@pytest.mark.parametrize("candidates", ["scheduler", "spread"])
def test_a_vm_stays_in_its_availability_zone_or_waits_for_it(
    cloud: Cloud, candidates: str
) -> None:
    """And whether the zone can lose a host is told before it does."""
    host, other = emptied(cloud)
    asked = usual("vmha") | {"availability_zone": ZONE}
    with (
        aggregate("racks-1-2", (host, other), {"availability_zone": ZONE}),
        servers(host, {"z-1": asked, "z-2": asked}) as made,
        otherwise({"evacuation": {"candidates": candidates}, "api": FRESH}),
    ):
        vms = sorted(made.values())
        cloud.wait(all_run(vms), "the VMs of the zone run")
        assert capacity(host)["If it fails"] == "fits"
        with out_of_use(other):
            told = capacity(host)
            assert told["If it fails"] == "does not fit"
            assert f"no healthy host in availability zone {ZONE}" in told["Says"]
            hosts.kill(host)
            for vm in vms:
                record = waiting(cloud, host, vm, f"in availability zone {ZONE}")
                assert f"{other} (disabled: {WHY})" in record.reason
                assert "openstack aggregate add host racks-1-2 HOST" in record.reason
                assert record.attempts == 0  # Nova would only make it an error
        recovered(cloud, host, vms)
        assert {vm.host for vm in cloud.look().vms if vm.id in vms} == {other}


def test_hosts_that_an_aggregate_keeps_for_others_are_not_asked_for_ever(cloud: Cloud) -> None:
    """Nova's scheduler checks what is named; after three refusals it is left to choose."""
    host = cloud.busiest()
    free, *kept = (h for h in layout.HOSTS if h != host)
    (vm, *more) = cloud.tagged_on(host)
    with (
        aggregate("of-another-project", kept, {"filter_tenant_id": "another-project"}),
        otherwise({"evacuation": {"candidates": "spread", **QUICK}}),
    ):
        with out_of_use(free):
            hosts.kill(host)
            record = waiting(cloud, host, vm, "outside other projects' aggregates")
            assert all(f"{h}" in record.reason for h in kept)
            cloud.wait(lambda _: attempts(cloud, host, vm) >= 5, "it has been tried five times")
        recovered(cloud, host, [vm, *more])
        assert {v.host for v in cloud.look().vms if v.id in (vm, *more)} == {free}
        named = [s.sentence for s in cloud.observer.latest(host).steps if s.step == "evacuate"]
        mine = [text for text in named if text.startswith(f"{record.name}: evacuation to ")]
        assert len(mine) <= 3, mine
