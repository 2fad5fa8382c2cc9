# SPDX-License-Identifier: Apache-2.0
"""Each VM becomes again what it was, whatever Nova makes of it on the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import hosts, nova_api
from tests.lab.errors import LabError
from tests.lab.records import disks, lines, parse
from tests.lab.suite import odd
from tests.lab.suite.arranged import nightly
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.remediator import otherwise
from tests.lab.watch import incident_state
from vmha_remediator.remedy.incident import Incident, VmStatus

pytestmark = pytest.mark.lab

RECOVERED = ("recovered", "readmitted")


@pytest.fixture(
    params=[
        pytest.param("2.94", id="started by Nova", marks=nightly),
        pytest.param("", id="left stopped by Nova"),
    ]
)
def cloud_of_both_kinds(cloud: Cloud, request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """Yield the cloud with a remediator that asks Nova up to a microversion, or as it likes."""
    if not request.param:
        yield cloud
        return
    with otherwise({"cloud": {"compute_microversion_max": request.param}}):
        yield cloud


def _latest(cloud: Cloud, host: str) -> Incident:
    found = [i for i in cloud.observer.store.incidents() if i.host == host]
    return cloud.observer.store.incident(max(found, key=lambda i: i.opened).id)


def test_every_vm_becomes_again_what_it_was(cloud_of_both_kinds: Cloud) -> None:
    """One is deleted before Nova is asked for it, and one had been stopped (fault 50)."""
    cloud = cloud_of_both_kinds
    host = cloud.busiest()
    wanted = odd.all_of(host)
    with odd.servers(wanted, host) as ids:
        assert {o.name: odd.show(ids[o.name])["OS-EXT-SRV-ATTR:host"] for o in wanted} == {
            o.name: host for o in wanted
        }
        before = _written(ids["odd-stopped"])
        hosts.kill(host)
        nova_api.request("DELETE", f"/servers/{ids['odd-deleted']}")
        cloud.wait(incident_state(host, "failure", *RECOVERED), f"{host} is recovered")

        incident = _latest(cloud, host)
        records = {vm.name: vm for vm in incident.vms}
        for one in wanted:
            record = records.get(one.name)
            if not one.after:
                assert record is None or record.status is VmStatus.SKIPPED
                continue
            assert record is not None
            server = odd.show(ids[one.name])
            assert server["status"] == one.after, (one.name, record)
            assert (server["OS-EXT-SRV-ATTR:host"] != host) is one.moves, (one.name, record)
            assert record.status is (VmStatus.DONE if one.moves else VmStatus.PENDING)
        _locks_are_kept(ids)
        assert "memory is lost" in records["odd-paused"].reason
        assert "can be unshelved" in records["odd-shelved"].reason
        _hardly_ran(ids["odd-stopped"], before)
        _host_comes_back_as_its_operator_left_it(cloud, host)


def _written(vm: str) -> int:
    return sum(1 for _ in lines(disks()[vm]))


def _hardly_ran(vm: str, before: int) -> None:
    """Nova itself boots what it evacuates and ends it at once; nobody started it after that."""
    later = [parse(line) for line in lines(disks()[vm])][before:]
    assert len({record.start for record in later}) <= 1, "it was started more than once"
    assert len(later) < 50, "it ran for seconds"


def _locks_are_kept(ids: dict[str, str]) -> None:
    for name in ("odd-paused", "odd-stopped", "odd-locked"):
        server = odd.show(ids[name])
        assert (server["locked"], server["locked_reason"]) == (True, odd.REASON), name


def _host_comes_back_as_its_operator_left_it(cloud: Cloud, host: str) -> None:
    """Its records are completed before the force-down goes; an operator's disabling stays."""
    nova_api.set_service(host, status="disabled", disabled_reason="new disks")
    with pytest.raises(LabError, match="evacuation"):
        nova_api.set_service(host, forced_down=False)  # too early for anybody
    hosts.boot_host(host)
    cloud.wait(incident_state(host, "failure", "readmitted"), f"{host} is taken back")
    found = nova_api.service(host)
    assert (found["forced_down"], found["status"]) == (False, "disabled")
    assert found["disabled_reason"] == "new disks"
    nova_api.set_service(host, status="enabled")
