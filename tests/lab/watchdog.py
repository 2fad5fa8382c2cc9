# SPDX-License-Identifier: Apache-2.0
"""An emulated watchdog for a host that is to have one: its daemon is the lab's, not the host's.

It stands for a board's own timer: it counts on while the host stands still, and resets it by
taking its power away. Hosts have none unless `enable` gave them one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import yaml

from tests.lab import cgroup, layout, process, redfish
from tests.lab.credentials import write_private

#: Seconds from the last feed to the reset.
TIMEOUT = 5.0


def device(host: str) -> Path:
    """Return the unix socket that is the host's watchdog device."""
    return layout.host_dir(host) / "watchdog.dev"


def line(host: str) -> Path:
    """Return the unix socket between the host's agent and its feeder."""
    return layout.host_dir(host) / "watchdog.sock"


def enabled(host: str) -> bool:
    """Return whether the host has a watchdog."""
    return host in _hosts()


def enable(host: str) -> None:
    """Give the host a watchdog; services that are started from now on use it."""
    _save({*_hosts(), host})
    power_on(host)


def disable(host: str) -> None:
    """Take the watchdog away, armed or not; its feeder has to be stopped first."""
    _save(_hosts() - {host})
    process.stop(_name(host), timeout=2.0)
    cgroup.remove(_cgroup(host))


def power_on(host: str) -> None:
    """Start the host's watchdog anew, unarmed, as a power cycle does; nothing without one."""
    if not enabled(host):
        return
    process.stop(_name(host), timeout=2.0)
    process.forget(_name(host))
    python: list[str | Path] = [layout.VENV_BIN / "python", "-m", "tests.lab.watchdog_daemon"]
    process.spawn(_name(host), [*python, host], cgroup=_cgroup(host))
    process.wait_for(device(host).is_socket, f"the watchdog of {host}", 20)


def down() -> None:
    """Remove every watchdog."""
    for host in sorted(_hosts()):
        disable(host)
    cgroup.remove("watchdog")


def agent_options(host: str) -> dict[str, object]:
    """Return what the agent's configuration says about the watchdog."""
    if not enabled(host):
        return {}
    return {
        "watchdog_driver": "socket",
        "watchdog_timeout": TIMEOUT,
        "watchdog_device": device(host),
        "watchdog_socket": line(host),
    }


def fence_by(host: str, drivers: Iterable[str] | None) -> None:
    """Have the remediator fence the host by these drivers only; None: by the usual ones."""
    path = layout.ETC / "vmha/fencing.yaml"
    document = yaml.safe_load(path.read_text())
    usual = redfish.pinned(host)
    document["hosts"][host] = usual if drivers is None else {"drivers": list(drivers)}
    write_private(path, yaml.safe_dump(document))


def _name(host: str) -> str:
    return f"{host}-watchdog-device"


def _cgroup(host: str) -> str:
    return f"watchdog/{host}"


def _hosts() -> set[str]:
    try:
        return set(json.loads(_file().read_text()))
    except FileNotFoundError:
        return set()


def _save(hosts: set[str]) -> None:
    write_private(_file(), json.dumps(sorted(hosts)))


def _file() -> Path:
    return layout.STATE / "watchdogs.json"
