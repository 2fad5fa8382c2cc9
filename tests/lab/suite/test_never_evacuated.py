# SPDX-License-Identifier: Apache-2.0
"""VMs that Nova never evacuates: told with the reason, asked for once at most, no other waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab import hosts, nova_api
from tests.lab.errors import LabError
from tests.lab.services import cloudapi, infra
from tests.lab.suite import odd
from tests.lab.suite.arranged import all_run, servers, usual
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.remediator import otherwise
from tests.lab.suite.test_zones import QUICK, attempts, waiting
from tests.lab.watch import both, incident_state, run_elsewhere

pytestmark = pytest.mark.lab

TPM = "m1.tpm"
#: Nova's books of a share that is attached; the lab has no Manila to attach one.
SHARE = """
INSERT INTO nova_cell1.share_mapping
(uuid, instance_uuid, share_id, status, tag, export_location, share_proto)
VALUES (UUID(), '{vm}', UUID(), 'active', 'a-share', 'nfs:/a-share', 'NFS');
"""
UNSHARE = "DELETE FROM nova_cell1.share_mapping WHERE instance_uuid = '{vm}';"


@pytest.fixture
def with_tpm(cloud: Cloud) -> Iterator[str]:
    """Yield the id of a flavor with a virtual TPM, which the lab's hosts say they have."""
    compute = cloudapi.connect().compute
    flavor = compute.create_flavor(name=TPM, ram=64, vcpus=1, disk=1)
    try:
        specs = {"hw:tpm_version": "2.0", "hw:tpm_model": "tpm-crb"}
        compute.create_flavor_extra_specs(flavor, specs)
        yield str(flavor.id)
    finally:
        compute.delete_flavor(flavor)


@contextmanager
def shared(vm: str) -> Iterator[None]:
    """Have a share attached to a server for a while."""
    infra.sql(SHARE.format(vm=vm))
    try:
        yield
    finally:
        infra.sql(UNSHARE.format(vm=vm))


def test_what_nova_never_evacuates_is_told_once_and_hinders_no_other(
    cloud: Cloud, with_tpm: str
) -> None:
    """The one is known before, of the other Nova's refusal tells; both start where they were."""
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    wanted = {"r-tpm": usual("vmha") | {"flavorRef": with_tpm}, "r-share": usual("vmha")}
    with servers(host, wanted) as made, otherwise({"evacuation": QUICK}):
        cloud.wait(all_run(made.values()), "the VMs that will be refused run")
        with shared(made["r-share"]):
            hosts.kill(host)
            cloud.wait(
                both(incident_state(host, "failure", "recovered"), run_elsewhere(protected, host)),
                f"what can leave {host} has left it",
            )
            for name, why, asked in (
                ("r-tpm", "it has a virtual TPM", 0),
                ("r-share", "it has a share attached", 1),
            ):
                record = waiting(cloud, host, made[name], why)
                assert "bring its host back" in record.reason
                assert record.attempts == asked
            for name, words in (
                ("r-tpm", "not supported for vTPM-enabled instance"),
                ("r-share", "not supported with instances that have shares"),
            ):
                with pytest.raises(LabError, match=words):
                    nova_api.post(f"/servers/{made[name]}/action", {"evacuate": {}})
            for _ in range(12):
                cloud.look()
            assert attempts(cloud, host, made["r-share"]) == 1
        hosts.boot_host(host)
        cloud.wait(
            both(incident_state(host, "failure", "readmitted"), all_run(made.values())),
            f"{host} is taken back and starts them",
        )
        assert {odd.show(vm)["OS-EXT-SRV-ATTR:host"] for vm in made.values()} == {host}
