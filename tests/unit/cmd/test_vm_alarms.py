# SPDX-License-Identifier: Apache-2.0
"""vmha-manage alarms ... --vms: one alarm for each protected VM."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.unit.cmd.conftest import Machine
from tests.unit.cmd.test_manage_alarms import Cloud
from tests.unit.effects.telemetry_server import serving
from tests.unit.remedy.build import server as vm
from vmha_remediator.effects.nova import Nova
from vmha_remediator.remedy.facts import Server


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """Return what Nova knows; a test may change it."""
    known = [vm("web"), vm("db"), vm("toy", tags=frozenset())]
    monkeypatch.setattr(Nova, "all_servers", lambda self: known)
    return known


@pytest.fixture
def cloud(machine: Machine, servers: list[Server]) -> Iterator[Cloud]:
    with serving() as made:
        with machine.config_file.open("a") as file:
            file.write(
                "[cloud]\nauth_type = none\n"
                f"[telemetry]\ngnocchi_endpoint = {made.url}\naodh_endpoint = {made.url}\n"
            )
        yield Cloud(made)


def test_each_protected_vm_gets_its_alarm_once(machine: Machine, cloud: Cloud) -> None:
    status, out, err = machine.manage("alarms", "sync", "--vms")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "+ vmha-vm:id-db",
        "+ vmha-vm:id-web",
        "2 protected VMs: 2 created, 0 changed, 0 deleted, 0 unchanged",
    ]
    assert cloud.named("vmha-vm:id-web")["alarm_actions"][0].startswith(
        "http://127.0.0.1:8778/v1/vms/id-web?sig="
    )
    _, out, _ = machine.manage("alarms", "sync", "--vms")
    assert out == "2 protected VMs: 0 created, 0 changed, 0 deleted, 2 unchanged\n"


def test_a_vm_that_is_gone_loses_its_alarm_and_hosts_keep_theirs(
    machine: Machine, cloud: Cloud, servers: list[Server]
) -> None:
    machine.manage("alarms", "sync")
    machine.manage("alarms", "sync", "--vms")
    servers.pop(0)
    _, out, _ = machine.manage("alarms", "sync", "--vms", "--dry-run")
    assert out.splitlines()[0] == ("- vmha-vm:id-web (its VM is gone or not protected any more)")
    assert len(cloud.alarms) == 17
    machine.manage("alarms", "sync", "--vms")
    assert len(cloud.alarms) == 16
    _, out, _ = machine.manage("alarms", "sync")
    assert out.splitlines() == ["3 hosts, 5 rules: 0 created, 0 changed, 0 deleted, 15 unchanged"]


def test_they_are_listed_and_deleted_apart(machine: Machine, cloud: Cloud) -> None:
    machine.manage("alarms", "sync")
    machine.manage("alarms", "sync", "--vms")
    _, out, _ = machine.manage("alarms", "list", "--vms", "--json")
    assert [row["server"] for row in json.loads(out)] == ["id-db", "id-web"]
    _, out, _ = machine.manage("alarms", "list", "--json")
    assert len(json.loads(out)) == 15
    _, out, _ = machine.manage("alarms", "delete", "--vms")
    assert out.splitlines()[-1] == "2 alarms deleted"
    assert len(cloud.alarms) == 15


def test_many_of_them_are_said_to_cost_time(
    machine: Machine, cloud: Cloud, servers: list[Server]
) -> None:
    servers.extend(vm(f"vm-{n}") for n in range(200))
    status, _, err = machine.manage("alarms", "sync", "--vms", "--dry-run")
    assert status == 0
    assert "202 alarms on VMs make every evaluation by Aodh about 2 s longer" in err
