# SPDX-License-Identifier: Apache-2.0
"""What the rules say of a host, with the readings that they said it on."""

from __future__ import annotations

from dataclasses import dataclass

from vmha_remediator.rules.judge import Readings, Verdict


@dataclass(frozen=True)
class Judged:
    """What the rules say of one host."""

    readings: Readings
    verdicts: tuple[Verdict, ...]
    standing: Verdict | None
