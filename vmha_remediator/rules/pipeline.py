# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's three files for the vmha namespace, derived from the metrics table."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any
from urllib.parse import quote, urlencode

import yaml

from vmha_remediator.rules import metrics

POLLING, PIPELINE, RESOURCES = "polling.yaml", "pipeline.yaml", "vmha_resources.yaml"
#: The one pollster (entry point in ceilometer.poll.vmha) that yields all samples of a cycle.
POLLSTER = "vmha.host"
#: Where ceilometer's publisher finds the host's name in a sample.
HOST_ATTRIBUTE = ("host_name", "resource_metadata.host")
#: Seconds after which a publish is given up; ceilometer's own 6.05 outlasts three cycles.
PUBLISH_TIMEOUT = 3
HEADER = "# Written by 'vmha-manage telemetry render'; changes made here are overwritten.\n"


def files(directory: PurePath, interval: int) -> dict[str, str]:
    """Return file name -> text for ceilometer files that will lie in `directory` (absolute).

    `interval` is the polling interval in seconds.
    """
    documents = {
        POLLING: polling(interval),
        PIPELINE: pipeline(directory),
        RESOURCES: resource_definitions(),
    }
    return {
        name: HEADER + yaml.safe_dump(document, sort_keys=False)
        for name, document in documents.items()
    }


def polling(interval: int) -> dict[str, Any]:
    """Return polling.yaml: one source of its own, so that nobody else's pollster delays it."""
    return {"sources": [{"name": "vmha", "interval": interval, "meters": [POLLSTER]}]}


def pipeline(directory: PurePath) -> dict[str, Any]:
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
    return {
        "sources": [{"name": "vmha", "meters": ["vmha.*"], "sinks": ["vmha"]}],
        "sinks": [{"name": "vmha", "publishers": [f"gnocchi://?{options}"]}],
    }


def resource_definitions() -> dict[str, Any]:
    """Return the publisher's resource definitions: our resource type and its metrics.

    The archive policy is not defined here: `telemetry setup` makes it, while ceilometer's
    publisher would lose samples whenever it is not allowed to.
    """
    name, source = HOST_ATTRIBUTE
    policy = metrics.ARCHIVE_POLICY.name
    return {
        "archive_policy_default": policy,
        "resources": [
            {
                "resource_type": metrics.RESOURCE_TYPE,
                "metrics": {m: {"archive_policy_name": policy} for m in metrics.METRICS},
                "attributes": {name: source},
            }
        ],
    }
