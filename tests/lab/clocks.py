# SPDX-License-Identifier: Apache-2.0
"""A wall clock of its own for a host's agent and polling, to be set wrong while they run.

Linux has no namespace for the wall clock. libfaketime 0.9.10 was tried: under Python 3.11 its
clock_nanosleep answers EINVAL at random. So these processes start with `skew/sitecustomize.py`
on their path, which steps the clock inside them and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from tests.lab import layout

#: The services of a host that date what they say of hosts.
SERVICES = ("agent", "polling")
_SKEW = Path(__file__).with_name("skew")


def file(host: str) -> Path:
    """Return the file that says by how many seconds the host's clock is ahead."""
    return layout.host_dir(host) / "clock"


def own(host: str) -> bool:
    """Return whether services of the host that start now have a clock of their own."""
    return file(host).exists()


def set_ahead(host: str, seconds: float) -> None:
    """Set the host's clock so far ahead of the true time (negative: behind)."""
    temporary = file(host).with_suffix(".tmp")
    temporary.write_text(f"{seconds:g}\n")
    temporary.replace(file(host))


def forget(host: str) -> None:
    """Take the clock away; services that are started from now on have the machine's."""
    file(host).unlink(missing_ok=True)


def environment(host: str, service: str) -> dict[str, str]:
    """Return what gives a service that starts now the host's own clock; nothing without one."""
    if service not in SERVICES or not own(host):
        return {}
    return {
        "VMHA_LAB_CLOCK": str(file(host)),
        "PYTHONPATH": f"{_SKEW}:{layout.REPO}",
    }
