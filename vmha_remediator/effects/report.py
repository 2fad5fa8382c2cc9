# SPDX-License-Identifier: Apache-2.0
"""Telling people: one report for each change of an incident."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from oslo_log import log

from vmha_remediator.remedy.incident import Change
from vmha_remediator.remedy.states import IncidentState

#: States that need somebody's eyes.
ALARMING = frozenset({IncidentState.DETECTED, IncidentState.HELD, IncidentState.REPORTED})


class Reporter(Protocol):
    """One way of telling people. It may raise: the others are told all the same."""

    def report(self, change: Change) -> None:
        """Tell of one change.

        It is called once a change; a second time, with `change.again` set, only when an engine
        died while it was telling, so that nobody knows whether anybody heard it.
        """


class LogReporter:
    """Reports into the service's log."""

    def __init__(self) -> None:
        self._log = log.getLogger("vmha.report")

    def report(self, change: Change) -> None:
        """Write one line: a warning when somebody should look, else an information."""
        level = logging.WARNING if change.after in ALARMING else logging.INFO
        before = f"{change.before} -> " if change.before else ""
        self._log.log(
            level,
            "incident %s host=%s rule=%s severity=%s %s%s%s: %s",
            change.incident_id,
            change.host,
            change.rule,
            change.severity,
            before,
            change.after,
            " (may have been told before)" if change.again else "",
            change.sentence,
        )


class Reporters:
    """Several reporters as one."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = tuple(reporters)
        self._log = log.getLogger(__name__)

    def report(self, change: Change) -> None:
        """Tell everybody; one that fails is logged and does not keep the others from it."""
        for reporter in self._reporters:
            try:
                reporter.report(change)
            except Exception:  # noqa: BLE001 (somebody else's code at the rim; logged)
                self._log.exception("%s could not report", type(reporter).__name__)

    def close(self) -> None:
        """Let reports that are under way be told."""
        for reporter in self._reporters:
            close = getattr(reporter, "close", None)
            if close is not None:
                close()
