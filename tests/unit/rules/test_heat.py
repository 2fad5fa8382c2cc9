# SPDX-License-Identifier: Apache-2.0
"""The Heat templates: the same rules as the rule files, and a server like Heat's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from vmha_remediator.remedy import order, protect
from vmha_remediator.rules import templates, vm_rule
from vmha_remediator.rules.model import Thresholds

FOLDER = Path(__file__).parents[3] / "alarm-templates/heat"
#: What stands for a parameter of a template, and for a placeholder of a rule file.
STANDS_FOR = {
    "server": "$server_id",
    "resource_id": "$resource_id",
    "power_granularity": "$granularity",
    "heartbeat_age": "$heartbeat_age",
    "lease_age": "$lease_age",
    "witnesses": "$witnesses",
}
FACADE = """
import json
from heat.engine import properties
from heat.engine.resources.openstack.nova.server import Server
schema = properties.schemata(Server.properties_schema)
print(json.dumps({
    "types": {name: prop.allowed_param_prop_type() for name, prop in schema.items()},
    "required": [name for name, prop in schema.items() if prop.required],
    "attributes": list(Server.attributes_schema),
}))
"""


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return document


def plain(node: Any) -> Any:
    """Return a rule with get_param and get_resource replaced by what they stand for."""
    if isinstance(node, dict):
        for function in ("get_param", "get_resource"):
            if set(node) == {function}:
                return STANDS_FOR[node[function]]
        return {key: plain(value) for key, value in node.items()}
    return [plain(member) for member in node] if isinstance(node, list) else node


def rule(template: str, alarm: str) -> Any:
    return plain(load(template)["resources"][alarm]["properties"]["composite_rule"])


def test_a_servers_alarm_is_the_rule_on_vms() -> None:
    assert rule("ha-server", "alarm") == vm_rule.load().rule


def test_a_hosts_alarm_is_the_rule_of_failure_with_its_thresholds() -> None:
    (failure,) = (t for t in templates.load() if t.name == "failure")
    wanted = json.loads(json.dumps(failure.rule).replace('"$granularity"', "10"))
    assert rule("host-rule", "failure") == wanted
    parameters, limits = load("host-rule")["parameters"], Thresholds()
    for name in ("heartbeat_age", "lease_age", "witnesses"):
        assert parameters[name]["default"] == getattr(limits, name)


def test_a_server_is_tagged_and_carries_priority_and_dependency() -> None:
    text = (FOLDER / "ha-server.yaml").read_text()
    server = load("ha-server")["resources"]["server"]["properties"]
    assert server["tags"]["list_concat"][0] == [protect.TAG]
    for key in (protect.METADATA, protect.PRIORITY, order.DEPENDS_ON):
        assert key in text
    (limits,) = load("ha-server")["parameters"]["priority"]["constraints"]
    assert limits["range"] == {"min": -protect.HIGHEST, "max": protect.HIGHEST}


@pytest.fixture(scope="module")
def facade() -> dict[str, Any]:
    """Return what Heat itself says of OS::Nova::Server (its import would patch this process)."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FACADE],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


#: Heat's parameter types as the property types that they are given to.
TYPES = {
    "string": "String",
    "number": "Number",
    "json": "Map",
    "boolean": "Boolean",
    "comma_delimited_list": "List",
}


def test_a_server_can_stand_where_heats_own_stood(facade: dict[str, Any]) -> None:
    document = load("ha-server")
    parameters, outputs = document["parameters"], document["outputs"]
    assert set(facade["attributes"]) <= set(outputs)
    assert "OS::stack_id" in outputs
    needed = [name for name, p in parameters.items() if "default" not in p]
    assert needed == facade["required"]
    for name, kind in facade["types"].items():
        if name in parameters:
            assert kind == TYPES[parameters[name]["type"]], name
    assert load("environment")["resource_registry"]["OS::Nova::Server"] == "ha-server.yaml"
