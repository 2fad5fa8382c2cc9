# SPDX-License-Identifier: Apache-2.0
"""Judging: what a host's readings mean under the rule files, in Aodh's three-valued logic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """State of a leaf or a rule, with Aodh's own names."""

    OK = "ok"
    ALARM = "alarm"
    UNKNOWN = "insufficient data"


@dataclass(frozen=True)
class Readings:
    """A host's latest measures: metric name -> value; a metric with no data is absent."""

    host: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """What one rule says of one host, and on what evidence."""

    rule: str  # "failure", "isolation", ...
    host: str
    state: State
    action: str  # "recover" | "report"
    severity: str
    evidence: str  # one sentence that names every reading used
