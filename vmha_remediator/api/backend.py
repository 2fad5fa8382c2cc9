# SPDX-License-Identifier: Apache-2.0
"""What the API stands on: the store, and a view of the cloud."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from vmha_remediator.remedy.capacity import Space
from vmha_remediator.remedy.facts import Server
from vmha_remediator.remedy.look import Look
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.store import Store


class View(Protocol):
    """The cloud as it is now; safe to use from threads."""

    def look(self) -> Look:
        """Return the hosts; never raises for a service that is away."""

    def servers(self) -> tuple[Server, ...]:
        """Return all servers of all projects; raises `CloudUnavailable`."""

    def space(self, wait: float) -> Space:
        """Return the room on all hosts after at most `wait` s; raises `CloudUnavailable`."""

    def examined(self, servers: list[Server]) -> list[Server]:
        """Return servers with what their ports and shares tell, where that can be read."""

    def alarms(self) -> list[dict[str, Any]]:
        """Return our alarms as Aodh holds them; raises `TelemetryUnavailable`."""


@dataclass(frozen=True)
class Backend:
    """Everything that handlers may use."""

    store: Store
    view: View
    clock: Callable[[], float]
    limits: Callable[[int], Thresholds]  # the rules' thresholds for so many agents
    policy: Policy = field(default_factory=Policy)  # what is protected, and what takes VMs
    doorbell: Callable[[], None] = lambda: None
