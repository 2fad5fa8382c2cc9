# SPDX-License-Identifier: Apache-2.0
"""The lab's log of what was done to it: one JSON object a line in EVENTS."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from tests.lab import layout
from tests.lab.errors import LabError


def record(kind: str, host: str | None = None, **detail: Any) -> dict[str, Any]:
    """Append one event and return it.

    Keys: `t` (wall clock, s), `mono` (monotonic clock of this machine, s, the same clock as in
    the guests' records), `kind`, `host`, `detail`. One write of one line, so that several
    writers do not tear each other's lines.
    """
    event = {
        "t": time.time(),
        "mono": time.monotonic(),
        "kind": kind,
        "host": host,
        "detail": detail,
    }
    layout.EVENTS.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(layout.EVENTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, json.dumps(event).encode() + b"\n")
    finally:
        os.close(fd)
    return event


def events() -> list[dict[str, Any]]:
    """Return every event so far, oldest first; a torn last line is left out."""
    try:
        lines = layout.EVENTS.read_text().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def last(kind: str, host: str) -> float:
    """Return the wall time (s) of the latest event of that kind on `host`.

    Raises `LabError` if there was none.
    """
    found = [e["t"] for e in events() if e["kind"] == kind and e["host"] == host]
    if not found:
        raise LabError(f"the event log knows of no {kind} of {host}")
    return float(found[-1])
