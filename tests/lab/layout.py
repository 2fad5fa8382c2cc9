# SPDX-License-Identifier: Apache-2.0
"""Where everything of the lab is: folder, addresses, ports, names. Data only."""

from __future__ import annotations

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
#: Not empty in the second lab of two that stand side by side; tools/beside sets it, and makes the
#: network and the mounts that this lab has for itself. Elsewhere it would meet the first one's.
SUFFIX = os.environ.get("VMHA_LAB_SUFFIX", "")
LAB = Path((os.environ.get("VMHA_LAB_DIR") or str(REPO / ".lab")) + SUFFIX)
LOGS = LAB / "log"
RUN = LAB / "run"  # one JSON a running process
ETC = LAB / "etc"
STATE = LAB / "state"
STORAGE = LAB / "storage"  # what the "array" holds; hosts see it through their own mount
EVENTS = LAB / "events.jsonl"  # faults and what the lab did, one JSON object a line
VENV_BIN = Path(os.environ.get("VMHA_VENV") or REPO / ".venv") / "bin"

HOSTS = ("h1", "h2", "h3", "h4")
CLUSTER = "lab"

BRIDGE = "vmha-br"
CONTROLLER = "10.77.0.1"
GATEWAY = "10.77.0.254"
PREFIX = 24
HOST_ADDRESS = {host: f"10.77.0.{10 + n}" for n, host in enumerate(HOSTS, 1)}

#: Every port is on CONTROLLER only, so the machine's own services are not in the way.
PORTS = {
    "mariadb": 3306,
    "rabbitmq": 5672,
    "rabbitmq-dist": 25672,
    "epmd": 14369,
    "redis": 6379,
    "keystone": 5000,
    "placement": 8003,
    "glance": 9292,
    "neutron": 9696,
    "nova": 8774,
    "gnocchi": 8041,
    "aodh": 8042,
    "vmha": 8778,
    "redfish": 8000,
    "heat": 8004,
}

CGROUP = f"vmha-lab{SUFFIX}"  # below the cgroup2 mount: it has ctl, h1/{services,guests}, ...


def netns(host: str) -> str:
    """Return the network namespace of a host."""
    return f"vmha-{host}"


def host_dir(host: str) -> Path:
    """Return a host's own folder (configuration, sockets, state, boot id)."""
    return LAB / "hosts" / host


def shared(host: str) -> Path:
    """Return the mount point of the shared storage as this host sees it."""
    return host_dir(host) / "shared"


def url(service: str) -> str:
    """Return the base URL of an HTTP service of the controller."""
    return f"http://{CONTROLLER}:{PORTS[service]}"
