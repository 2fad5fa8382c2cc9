# SPDX-License-Identifier: Apache-2.0
"""Which VMs are protected, and which come first."""

from __future__ import annotations

from collections.abc import Mapping

from vmha_remediator.remedy.facts import Server

TAG = "vmha"
METADATA = "HA_Enabled"
EVACUABLE = "evacuable"
PRIORITY = "vmha:priority"

#: What Nova's own boolean parser takes for true (oslo.utils strutils.TRUE_STRINGS).
_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})


def _true(values: Mapping[str, str], key: str) -> bool:
    return str(values.get(key, "")).strip().lower() in _TRUE


def is_protected(server: Server, protect: str = "tagged") -> bool:
    """Tell whether a server is to run again elsewhere; `protect` is "tagged" or "all"."""
    return (
        protect == "all"
        or TAG in server.tags
        or _true(server.metadata, METADATA)
        or _true(server.extra_specs, EVACUABLE)
        or _true(server.image_properties, EVACUABLE)
    )


def by(server: Server, protect: str = "tagged") -> str:
    """Return what protects a server, in words; empty when nothing does."""
    grounds = {
        f"tag {TAG}": TAG in server.tags,
        f"metadata {METADATA}": _true(server.metadata, METADATA),
        f"flavor {EVACUABLE}": _true(server.extra_specs, EVACUABLE),
        f"image {EVACUABLE}": _true(server.image_properties, EVACUABLE),
        "[evacuation] protect = all": protect == "all",
    }
    return next((ground for ground, holds in grounds.items() if holds), "")


def priority(server: Server) -> int:
    """Return the server's priority: higher comes first, 0 when unset or unreadable."""
    try:
        return int(str(server.metadata.get(PRIORITY, "0")).strip())
    except ValueError:
        return 0
