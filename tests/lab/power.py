# SPDX-License-Identifier: Apache-2.0
"""Measuring the power state of VMs, when asked for: a compute agent of Ceilometer a host.

It is one more process a host, which a lab that only breaks hosts can do without.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.lab import layout

NAME = "power"
INTERVAL = 5  # s between two polls of power.state
_FLAG = layout.STATE / "vm-alarms"


def enabled(host: str) -> bool:
    """Return whether hosts poll the power state of their VMs."""
    return _FLAG.exists()


def enable() -> bool:
    """Have hosts start a compute agent from now on; return whether that is news."""
    news = not _FLAG.exists()
    _FLAG.touch()
    return news


def disable() -> None:
    """Have hosts start none any more; those that run have to be stopped."""
    _FLAG.unlink(missing_ok=True)


def polling_file(host: str) -> Path:
    """Write and return the polling.yaml of a host's compute agent."""
    path = layout.host_dir(host) / "etc/power-polling.yaml"
    source = {"name": NAME, "interval": INTERVAL, "meters": ["power.state"]}
    path.write_text(yaml.safe_dump({"sources": [source]}))
    return path
