# SPDX-License-Identifier: Apache-2.0
"""Telling people: mail, chat, pagers, and whatever else apprise knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import apprise

from vmha_remediator.conf import report as report_conf
from vmha_remediator.errors import ConfigError, NotTold
from vmha_remediator.remedy.incident import Change
from vmha_remediator.remedy.states import IncidentState

#: How bad a change is, in apprise's words, by the state that the incident is in now.
KINDS: Mapping[IncidentState, str] = {
    IncidentState.DETECTED: "failure",
    IncidentState.HELD: "failure",
    IncidentState.REPORTED: "warning",
    IncidentState.RECOVERED: "success",
    IncidentState.READMITTED: "success",
    IncidentState.CLEARED: "success",
}


class Apprise:
    """Mail, chat, pagers: each change as a title and a sentence."""

    def __init__(self, path: str, states: Collection[str], timeout: float) -> None:
        """Raises `ConfigError` naming the line that apprise does not understand."""
        self._states, self._timeout = frozenset(states), timeout
        if strange := self._states - {str(state) for state in IncidentState}:
            raise ConfigError(
                f"[report] apprise_states: no such state: {', '.join(sorted(strange))}"
            )
        self._apprise = apprise.Apprise()
        for number, address in report_conf.addresses(path):
            if not self._apprise.add(address):
                raise ConfigError(
                    f"[report] apprise_file {path}, line {number}: apprise does not understand "
                    "this address"
                )

    def report(self, change: Change) -> None:
        """Tell of it, if it is of a state that is told; raises `NotTold`."""
        if str(change.after) not in self._states:
            return
        again = " (may have been told before)" if change.again else ""
        told = self._apprise.notify(
            body=change.sentence,
            title=f"{change.rule} of {change.host}: {change.after}{again}",
            notify_type=KINDS.get(change.after, "info"),
            timeout=self._timeout,
        )
        if not told:
            raise NotTold("apprise reached nobody, or not everybody")
