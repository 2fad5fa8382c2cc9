# SPDX-License-Identifier: Apache-2.0
"""The cloud at one moment, for people: what is measured, what it means, what Nova says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vmha_remediator.remedy.facts import Service
from vmha_remediator.rules.judge import Readings, Verdict


@dataclass(frozen=True)
class Sight:
    """What telemetry and the rules say of one host now."""

    readings: Readings
    verdicts: tuple[Verdict, ...]
    standing: Verdict | None


@dataclass(frozen=True)
class Look:
    """One look at the cloud; a part that could not be seen is None and named in `trouble`."""

    sights: Mapping[str, Sight] | None
    services: Mapping[str, Service] | None
    trouble: tuple[str, ...]
    time: float
