# SPDX-License-Identifier: Apache-2.0
"""Whether the services that the engine asks all the time answer; only hints are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from vmha_remediator.effects.clock import Clock
from vmha_remediator.remedy import services
from vmha_remediator.rules.judge import State, Verdict


@dataclass
class Health:
    """Since when each service does not answer, and why not."""

    clock: Clock
    after: float = 30.0  # s without an answer until it is told
    _since: dict[str, float] = field(default_factory=dict, init=False)
    verdicts: dict[str, Verdict] = field(default_factory=dict, init=False)

    def works(self, host: str) -> None:
        """Note that a service has answered."""
        self._since.pop(host, None)
        self.verdicts[host] = services.answers(host)

    def fails(self, host: str, why: str) -> None:
        """Note that a service has not answered."""
        now = self.clock.monotonic()
        since = self._since.setdefault(host, now)
        self.verdicts[host] = services.unreachable(host, why, now - since)

    def standing(self) -> list[Verdict]:
        """Return the services that have not answered for long enough to be told."""
        now = self.clock.monotonic()
        return [
            verdict
            for host, verdict in self.verdicts.items()
            if verdict.state is State.ALARM and now - self._since[host] >= self.after
        ]
