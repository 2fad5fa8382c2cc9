# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's three files for the vmha namespace, derived from the metrics table."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any
from urllib.parse import quote, urlencode

import yaml

from vmha_remediator.rules import metrics, vm_rule

POLLING, PIPELINE, RESOURCES = "polling.yaml", "pipeline.yaml", "vmha_resources.yaml"
#: The one pollster (entry point in ceilometer.poll.vmha) that yields all samples of a cycle.
POLLSTER = "vmha.host"
#: Where ceilometer's publisher finds the host's name in a sample.
HOST_ATTRIBUTE = ("host_name", "resource_metadata.host")
#: What Ceilometer's own resource type wants of a VM, and where that stands in a sample.
INSTANCE_ATTRIBUTES = {
    "host": "resource_metadata.(instance_host|host)",
    "display_name": "resource_metadata.display_name",
    "flavor_id": "resource_metadata.(instance_flavor_id|(flavor.id)|flavor_id)",
    "flavor_name": "resource_metadata.(instance_type|(flavor.name)|flavor_name)",
}
#: Seconds after which a publish is given up; ceilometer's own 6.05 outlasts three cycles.
PUBLISH_TIMEOUT = 3
HEADER = "# Written by 'vmha-manage telemetry render'; changes made here are overwritten.\n"


def files(directory: PurePath, interval: int, vms: bool = False) -> dict[str, str]:
    """Return file name -> text for ceilometer files that will lie in `directory` (absolute).

    `interval` is the polling interval in seconds. `vms`: the power state of VMs is taken in and
    kept as fine as our own metrics, too.
    """
    documents = {
        POLLING: polling(interval),
        PIPELINE: pipeline(directory, vms),
        RESOURCES: resource_definitions(vms),
    }
    return {
        name: HEADER + yaml.safe_dump(document, sort_keys=False)
        for name, document in documents.items()
    }


def polling(interval: int) -> dict[str, Any]:
    """Return polling.yaml: one source of its own, so that nobody else's pollster delays it."""
    return {"sources": [{"name": "vmha", "interval": interval, "meters": [POLLSTER]}]}


def pipeline(directory: PurePath, vms: bool = False) -> dict[str, Any]:
    """Return pipeline.yaml: our samples into a sink of their own.

    No archive policy stands in the address, since it would override that of every metric; the
    project filter is off, since it would cost a Keystone request and our samples have none.
    """
    options = urlencode(
        {
            "resources_definition_file": str(directory / RESOURCES),
            "enable_filter_project": "false",
            "timeout": PUBLISH_TIMEOUT,
        },
        quote_via=quote,
        safe="/",
    )
    meters = ["vmha.*", vm_rule.METRIC] if vms else ["vmha.*"]
    return {
        "sources": [{"name": "vmha", "meters": meters, "sinks": ["vmha"]}],
        "sinks": [{"name": "vmha", "publishers": [f"gnocchi://?{options}"]}],
    }


def resource_definitions(vms: bool = False) -> dict[str, Any]:
    """Return the publisher's resource definitions: our resource type and its metrics.

    The archive policy is not defined here: `telemetry setup` makes it, while ceilometer's
    publisher would lose samples whenever it is not allowed to.
    """
    name, source = HOST_ATTRIBUTE
    policy = metrics.ARCHIVE_POLICY.name
    hosts = {
        "resource_type": metrics.RESOURCE_TYPE,
        "metrics": {m: {"archive_policy_name": policy} for m in metrics.METRICS},
        "attributes": {name: source},
    }
    instances = {
        "resource_type": vm_rule.RESOURCE_TYPE,
        "metrics": {vm_rule.METRIC: {"archive_policy_name": policy}},
        "attributes": dict(INSTANCE_ATTRIBUTES),
    }
    return {
        "archive_policy_default": policy,
        "resources": [hosts, instances] if vms else [hosts],
    }
