# SPDX-License-Identifier: Apache-2.0
"""What openstackclient loads at every start: options, and how the client is made when needed.

Nothing else of this project is imported here, so that `openstack --help` stays as fast as it is.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

API_NAME = "vmha"
API_VERSION_OPTION = "os_vmha_api_version"
DEFAULT_API_VERSION = "1"
API_VERSIONS = {"1": "vmha_remediator.osc.client.Client"}
ENDPOINT = "OS_VMHA_ENDPOINT"


def make_client(instance: Any) -> Any:
    """Return the client over the session that openstackclient has logged in."""
    from vmha_remediator.osc.client import Client

    options = instance.get_configuration()
    return Client(
        instance.session,
        endpoint=options.get("vmha_endpoint"),
        region=instance.region_name,
        interface=instance.interface,
    )


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the global options."""
    parser.add_argument(
        "--os-vmha-api-version",
        metavar="<vmha-api-version>",
        default=os.environ.get("OS_VMHA_API_VERSION", DEFAULT_API_VERSION),
        help="VM high availability API version (Env: OS_VMHA_API_VERSION)",
    )
    parser.add_argument(
        "--os-vmha-endpoint",
        metavar="<vmha-endpoint>",
        default=os.environ.get(ENDPOINT, ""),
        help="Address of the VM high availability API, when the catalogue has no service of "
        f"type 'vmha' (Env: {ENDPOINT})",
    )
    return parser
