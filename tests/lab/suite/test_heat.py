# SPDX-License-Identifier: Apache-2.0
"""Heat stacks: a customer's server and group survive their hosts; a rule kept in Heat is ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Lab
from tests.lab import guests, hosts, layout, process, services, verbs_vms
from tests.lab.guests import GuestView
from tests.lab.services import base, cloudapi, heat
from tests.lab.suite.conftest import Cloud
from vmha_remediator.remedy import vm_failure
from vmha_remediator.rules import metrics, templates
from vmha_remediator.rules.model import Thresholds, render

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


NO_NETWORK = '[{"allocate_network": "none"}]'


@pytest.fixture(scope="module")
def heat_up(lab: Lab) -> Iterator[None]:
    """Have Heat run for the tests of this file."""
    base.start(services.find(heat.NAME))
    cloudapi.connect.cache_clear()  # its catalogue is from before
    yield
    heat.stop()


@pytest.fixture
def measured(cloud: Cloud, heat_up: None) -> Iterator[None]:
    """Have the power of each VM measured."""
    verbs_vms.alarms_on()
    yield
    verbs_vms.alarms_off()


@contextmanager
def stack_of(who: str, name: str, template: Path, **more: Any) -> Iterator[dict[str, Any]]:
    """Make a stack as somebody of clouds.yaml; yield its outputs, and delete it."""
    heat_of = cloudapi.connect(who)
    heat_of.delete_stack(name, wait=True)  # one that a test left behind
    try:
        stack = heat_of.create_stack(
            name, template_file=str(template), wait=True, timeout=180, **more
        )
        assert stack.status == "CREATE_COMPLETE", stack.status_reason
        yield {output["output_key"]: output["output_value"] for output in stack.outputs}
    finally:
        heat_of.delete_stack(name, wait=True)


@pytest.fixture
def server(measured: None, tmp_path: Path) -> Iterator[str]:
    """Yield the id of the server in a stack that was made with our environment."""
    template, more = tmp_path / "plain.yaml", tmp_path / "more.yaml"
    template.write_text(yaml.safe_dump(PLAIN))
    defaults = {"vmha_url": f"trust+{layout.url('vmha')}"}
    more.write_text(yaml.safe_dump({"parameter_defaults": defaults}))
    files = [str(TEMPLATES / "environment.yaml"), str(more)]
    with stack_of("lab-demo", STACK, template, environment_files=files) as outputs:
        yield outputs["web"]


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


def members(group: dict[str, Any]) -> set[str]:
    """Return the ids of a group's servers that are there."""
    return set(group["servers"].values()) & {found["id"] for found in guests.servers()}


def alarms(prefix: str = "") -> list[dict[str, Any]]:
    """Return Aodh's alarms whose name begins so."""
    answer = cloudapi.connect().session.get(
        "/v2/alarms", endpoint_filter={"service_type": "alarming"}, timeout=30
    )
    return [alarm for alarm in answer.json() if alarm["name"].startswith(prefix)]


def test_a_group_heals_itself(cloud: Cloud, heat_up: None) -> None:
    before = Counter(alarm["name"] for alarm in alarms())
    more = {"image": "tiny", "flavor": "m1.tiny", "networks": NO_NETWORK, "size": 2}
    with stack_of("lab-demo", "herd", TEMPLATES / "ha-group.yaml", **more) as group:
        first = members(group)
        homes = {str(look(vm).nova_host) for vm in first}
        assert (len(first), len(homes)) == (2, 2)
        assert all("vmha" in s["tags"] for s in guests.servers() if s["id"] in first)

        home = min(homes)
        (lost,) = [vm for vm in first if look(vm).nova_host == home]
        hosts.kill(home)
        others = set(layout.HOSTS) - {home}
        process.wait_for(lambda: runs(lost, others), "the member to run elsewhere", 90)

        # One that somebody deletes is made anew by a check and an update.
        customer = cloudapi.connect("lab-demo")
        customer.delete_server(lost, wait=True)
        customer.orchestration.check_stack(customer.get_stack("herd"))
        process.wait_for(
            lambda: customer.get_stack("herd").status.startswith("CHECK_F"), "the check", 60
        )
        updated = customer.update_stack(
            "herd", template_file=str(TEMPLATES / "ha-group.yaml"), wait=True, timeout=120, **more
        )
        (output,) = updated.outputs
        now = members({"servers": output["output_value"]})
        assert len(now) == 2 and lost not in now
    assert not now & {found["id"] for found in guests.servers()}
    assert Counter(alarm["name"] for alarm in alarms()) == before


def test_a_rule_kept_in_heat_is_the_rule_file_and_is_evaluated(
    cloud: Cloud, heat_up: None
) -> None:
    host = layout.HOSTS[1]
    more = {
        "host": host,
        "resource_id": metrics.resource_id(host),
        "vmha_url": f"trust+{layout.url('vmha')}",
    }
    (ours,) = [template for template in templates.load() if template.name == "failure"]
    with stack_of("lab-admin", "rule", TEMPLATES / "host-rule.yaml", **more) as outputs:
        process.wait_for(
            lambda: [a["state"] for a in alarms() if a["alarm_id"] == outputs["alarm"]] == ["ok"],
            "Aodh to evaluate the alarm",
            60,
        )
        (alarm,) = [a for a in alarms() if a["alarm_id"] == outputs["alarm"]]
        assert alarm["type"] == "composite"
        assert alarm["composite_rule"] == render(ours, host, Thresholds())
        (action,) = alarm["alarm_actions"]
        assert action.startswith("trust+http://")
        address = layout.url("vmha").partition("//")[2]
        assert action.endswith(f"{address}/v1/alarms/failure/{host}")
    assert outputs["alarm"] not in {alarm["alarm_id"] for alarm in alarms()}
