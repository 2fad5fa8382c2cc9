# SPDX-License-Identifier: Apache-2.0
"""Which version this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed() -> str:
    """Return the version of the installed distribution."""
    try:
        return version("vmha")
    except PackageNotFoundError:
        return "(not installed)"
