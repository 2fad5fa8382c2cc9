# SPDX-License-Identifier: Apache-2.0
"""PURE: what all qualified witnesses together say of one host, and its metrics."""

from __future__ import annotations

from typing import NamedTuple

from vmha_remediator.rules import metrics

#: The metrics of a reading, in the order of `values`.
_NAMES = (
    metrics.HEARTBEAT_AGE.name,
    metrics.LEASE_AGE.name,
    metrics.REACHABLE.name,
    metrics.ISOLATED.name,
    metrics.WITNESSES.name,
    metrics.WATCHDOG.name,
)


class Reading(NamedTuple):
    """What all qualified witnesses together say of one host; None: not published.

    The agent tells it the pollster as a bare row: new fields go to the end, with a default.
    """

    slot: int
    host: str
    heartbeat_age: float | None
    lease_age: float | None
    reachable: bool | None
    isolated: bool | None
    witnesses: int
    suspect: bool
    watchdog: float | None = None


def values(reading: Reading) -> dict[str, float]:
    """Return the metrics of one reading; what is not known is absent."""
    r = reading
    told = (r.heartbeat_age, r.lease_age, r.reachable, r.isolated, r.witnesses, r.watchdog)
    return {
        name: round(value, 3) if type(value) is float else float(value)
        for name, value in zip(_NAMES, told, strict=True)
        if value is not None
    }
