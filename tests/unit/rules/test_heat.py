# SPDX-License-Identifier: Apache-2.0
"""The Heat templates: the same rules as the rule files, and a server like Heat's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    found = load(template)["resources"][alarm]["properties"]["composite_rule"]
    # Heat's own way to write a group.
    return {found["operator"]: plain(found["rules"])}


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


#: Properties that a template may give to an OS::Nova::Server.
MUCH = {
    "name": "web",
    "image": "ubuntu",
    "flavor": "m1.small",
    "networks": [{"network": "a=b", "fixed_ip": "10.0.0.1"}, {"port": "p-1"}],
    "block_device_mapping_v2": [{"volume_id": "v-1", "boot_index": 0}],
    "tags": ["shop"],
    "metadata": {"role": "web"},
    "scheduler_hints": {"group": "g-1"},
}
LITTLE = {"flavor": "m1.small", "image": "ubuntu"}


def test_a_server_of_any_template_becomes_a_protected_one() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.unit.rules.heat_parser"],
        input=json.dumps([MUCH, LITTLE]),
        capture_output=True,
        text=True,
        cwd=FOLDER.parents[1],
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    much, little = json.loads(done.stdout.splitlines()[-1])
    server = much["server"]
    assert server["networks"] == MUCH["networks"]
    assert server["block_device_mapping_v2"] == [{"volume_id": "v-1", "boot_index": "0"}]
    assert server["tags"] == ["vmha", "shop"]
    assert server["metadata"] == {"role": "web", "HA_Enabled": "True", "vmha:priority": 0}
    assert server["scheduler_hints"] == {"group": "g-1"}
    (action,) = much["alarm"]["alarm_actions"]
    assert action.startswith("trust+http://ctl:8778/v1/vms/")
    # What a template does not say is not made up.
    for name in ("networks", "key_name", "security_groups", "availability_zone"):
        assert name not in little["server"]
