# SPDX-License-Identifier: Apache-2.0
"""Which VMs are protected, and which come first."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vmha_remediator.remedy.facts import Server

TAG = "vmha"
METADATA = "HA_Enabled"
EVACUABLE = "evacuable"
PRIORITY = "vmha:priority"
#: Priorities go from minus this to this.
HIGHEST = 1000

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
    text = server.metadata.get(PRIORITY, "0").strip()
    return int(text) if not _is_bad(text) else 0


def bad_priority(server: Server) -> str:
    """Return what is wrong with the server's priority, or nothing."""
    text = server.metadata.get(PRIORITY, "0").strip()
    if not _is_bad(text):
        return ""
    return (
        f"its {PRIORITY} '{text}' is not a whole number from -{HIGHEST} to {HIGHEST}: 0 is taken"
    )


def _is_bad(text: str) -> bool:
    return not re.fullmatch(r"[+-]?[0-9]{1,4}", text) or abs(int(text)) > HIGHEST
