# SPDX-License-Identifier: Apache-2.0
"""All checks in one table, by area; pure: a `Seen` goes in, findings come out."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from vmha_remediator.doctor import hosts, services, settings
from vmha_remediator.doctor.finding import Check, Finding, Seen

AREAS: Mapping[str, tuple[Check, ...]] = {
    services.AREA: services.CHECKS,
    hosts.AREA: hosts.CHECKS,
    settings.AREA: settings.CHECKS,
}


def examine(seen: Seen, areas: Collection[str] = tuple(AREAS)) -> list[Finding]:
    """Return every finding of these areas, in the order of the tables."""
    return [
        finding
        for area, checks in AREAS.items()
        if area in areas
        for check in checks
        for finding in check(seen)
    ]
