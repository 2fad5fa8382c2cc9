# SPDX-License-Identifier: Apache-2.0
"""A customer's Heat stack: its server is protected, dies, and survives its host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import guests, hosts, layout, process, services, verbs_vms
from tests.lab.guests import GuestView
from tests.lab.services import base, cloudapi, heat
from tests.lab.suite.conftest import Cloud
from vmha_remediator.remedy import vm_failure

pytestmark = pytest.mark.lab

TEMPLATES = layout.REPO / "alarm-templates/heat"
STACK = "shop"
#: What a customer wrote who never heard of vmha.
PLAIN = {
    "heat_template_version": "2018-08-31",
    "resources": {
        "web": {
            "type": "OS::Nova::Server",
            "properties": {
                "name": "shop-web",
                "image": "tiny",
                "flavor": "m1.tiny",
                "networks": [{"allocate_network": "none"}],
                "tags": ["shop"],
                "metadata": {"role": "web"},
            },
        }
    },
    "outputs": {"web": {"value": {"get_resource": "web"}}},
}


@pytest.fixture
def customer(cloud: Cloud) -> Iterator[Any]:
    """Yield a customer's connection to a cloud with Heat, where VMs' power is measured."""
    verbs_vms.alarms_on()
    base.start(services.find(heat.NAME))
    cloudapi.connect.cache_clear()
    yield cloudapi.connect("lab-demo")
    heat.stop()
    verbs_vms.alarms_off()


@pytest.fixture
def server(customer: Any, tmp_path: Path) -> Iterator[str]:
    """Yield the id of the server in a stack that was made with our environment."""
    template, more = tmp_path / "plain.yaml", tmp_path / "more.yaml"
    template.write_text(yaml.safe_dump(PLAIN))
    defaults = {"vmha_url": f"trust+{layout.url('vmha')}"}
    more.write_text(yaml.safe_dump({"parameter_defaults": defaults}))
    customer.delete_stack(STACK, wait=True)  # one that a test left behind
    try:
        stack = customer.create_stack(
            STACK,
            template_file=str(template),
            environment_files=[str(TEMPLATES / "environment.yaml"), str(more)],
            wait=True,
            timeout=180,
        )
        assert stack.status == "CREATE_COMPLETE", stack.status_reason
        (output,) = stack.outputs
        yield output["output_value"]
    finally:
        customer.delete_stack(STACK, wait=True)


def look(vm: str) -> GuestView:
    return next(guest for guest in guests.guests() if guest.vm == vm)


def runs(vm: str, on: set[str]) -> bool:
    guest = look(vm)
    well = guest.status == "ACTIVE" and guest.task is None
    return well and guest.running_on == (guest.nova_host,) and guest.nova_host in on


def test_a_stacks_server_is_protected_and_survives_its_guest_and_its_host(
    cloud: Cloud, server: str
) -> None:
    found = next(s for s in guests.servers() if s["id"] == server)
    assert set(found["tags"]) == {"vmha", "shop"}
    assert found["metadata"] == {"role": "web", "HA_Enabled": "True", "vmha:priority": "0"}
    home = found["OS-EXT-SRV-ATTR:host"]
    process.wait_for(lambda: runs(server, {home}), "the server to run", 60, interval=0.5)

    # Only the stack's own alarm, which calls by trust, can ring for it.
    guests.kill(server)
    store, subject = cloud.observer.store, vm_failure.subject(server)
    process.wait_for(
        lambda: (
            len(store.restarts(server, cloud.observer.since, subject)) == 1
            and runs(server, {home})
        ),
        "the server to be restarted in place",
        90,
        interval=0.5,
    )

    hosts.kill(home)
    others = set(layout.HOSTS) - {home}
    process.wait_for(lambda: runs(server, others), "the server to run elsewhere", 90, interval=0.5)
