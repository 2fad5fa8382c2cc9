# SPDX-License-Identifier: Apache-2.0
"""Heat's own parser on a stack with our environment, without a cloud: run as a program.

Standard input: a list of properties of an OS::Nova::Server each. Standard output: what the server
and the alarm in its place would be given, as JSON. Apart from the tests, since Heat patches its
process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from heat.common import context, environment_format
from heat.engine import environment, resources, stack, template
from heat.engine.resources.openstack.nova.server import Server
from oslo_config import cfg

FOLDER = Path(__file__).parents[3] / "alarm-templates/heat"
URL = "trust+http://ctl:8778"


def main() -> None:
    """Parse, check against Heat's own server, print."""
    cfg.CONF([], project="heat", default_config_files=[])
    resources.initialise()
    print(json.dumps([_parse(properties) for properties in json.load(sys.stdin)]))


def _parse(properties: Any) -> dict[str, Any]:
    env = environment_format.parse((FOLDER / "environment.yaml").read_text())
    env["parameter_defaults"] = {"vmha_url": URL}
    server = {"type": "OS::Nova::Server", "properties": properties}
    parsed = template.Template(
        {"heat_template_version": "2018-08-31", "resources": {"web": server}},
        files={"ha-server.yaml": (FOLDER / "ha-server.yaml").read_text()},
        env=environment.Environment(env),
    )
    caller = context.RequestContext(user_id="u", project_id="p", auth_url="http://keystone")
    whole = stack.Stack(caller, "shop", parsed, strict_validate=False)
    facade = whole["web"]
    facade._validate_against_facade(Server)
    nested = facade._parse_nested_stack("web", facade.child_template(), facade.child_params())
    found = nested.t.resource_definitions(nested)
    return {name: found[name].freeze()._properties for name in found}


if __name__ == "__main__":
    main()
