# SPDX-License-Identifier: Apache-2.0
"""The agent's line to the feeder: grounds go down, "armed" comes back."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from vmha_pollsters.line import Line

LOG = logging.getLogger(__name__)

#: The feeder answers at once; an agent must not wait for one that is stuck.
TIMEOUT = 0.2


@dataclass(frozen=True)
class Armed:
    """A watchdog that is armed and fed: its time-out and the host's promise, in seconds."""

    timeout: float
    promise: float


class Tether:
    """Used by the agent's tick; connects again whenever it has to."""

    def __init__(self, path: str) -> None:
        self._line = Line(path, TIMEOUT)
        self.problem: str | None = None

    def tell(self, grounds: float | None) -> Armed | None:
        """Tell the newest grounds (monotonic seconds); return what may be promised now."""
        try:
            answer = json.loads(self._line.ask(json.dumps({"grounds": grounds}).encode()))
            armed = Armed(float(answer["timeout"]), float(answer["promise"]))
            self._note(answer["problem"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            self.close()
            self._note(f"vmha-agent watchdog does not answer on {self._line.path}: {exc}")
            return None
        return armed if answer["armed"] is True else None

    def close(self) -> None:
        """Drop the line; the next word opens it again."""
        self._line.close()

    def _note(self, problem: str | None) -> None:
        if problem and problem != self.problem:
            LOG.error("%s; nothing is promised", problem)
        self.problem = problem
