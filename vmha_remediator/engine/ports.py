# SPDX-License-Identifier: Apache-2.0
"""What the engine needs of the outside; `effects` and `fencing` offer it, and so do tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from vmha_remediator.fencing.contract import FenceResult, Heard, Power
from vmha_remediator.remedy.facts import Aggregate, Migration, Server, ServerGroup, Service
from vmha_remediator.rules.judge import Readings


class Telemetry(Protocol):
    """The measures; raises `TelemetryUnavailable`."""

    def hosts(self) -> list[str]: ...

    def readings(self, host: str) -> Readings: ...

    def readings_of(self, hosts: Iterable[str]) -> dict[str, Readings]: ...


class Alarms(Protocol):
    """Our alarms; raises `TelemetryUnavailable`."""

    def alarming(self) -> list[tuple[str, str]]:
        """Return (rule, host) of those in state alarm."""

    def evaluated(self) -> dict[str, str]:
        """Return when some alarms were last evaluated, by their ids."""

    def state(self, rule: str, host: str) -> str | None:
        """Return the state of one alarm; None: there is none that is evaluated."""


class Cloud(Protocol):
    """Nova; raises `CloudUnavailable` and `CloudRefused`."""

    def services(self) -> list[Service]: ...

    def servers(self, host: str) -> list[Server]: ...

    def server(self, server_id: str) -> Server | None: ...

    def changed_since(self, time: float) -> list[Server]: ...

    def leaves_stopped(self) -> bool: ...

    def called(self, name: str) -> list[Server]: ...

    def free_memory(self) -> dict[str, int]: ...

    def evacuations(self, host: str) -> list[Migration]: ...

    def evacuations_to(self, host: str) -> list[Migration]: ...

    def groups(self) -> list[ServerGroup]: ...

    def aggregates(self) -> list[Aggregate]: ...

    def force_down(self, service_id: str, forced: bool) -> None: ...

    def enable(self, service_id: str) -> None: ...

    def disable(self, service_id: str, reason: str) -> None: ...

    def evacuate(self, server_id: str, dest: str | None = None) -> None: ...

    def reset_state(self, server_id: str, to: str) -> None: ...

    def act(self, server_id: str, action: str) -> None: ...

    def runs(self, server_id: str) -> bool | None: ...

    def queued_at(self, server_id: str, source: str) -> frozenset[str]: ...

    def reboot(self, server_id: str) -> None: ...


class Fencing(Protocol):
    """The way to turn a host off and to see whether it is; does not raise for a dead BMC."""

    def fence(self, host: str, heard: Heard) -> FenceResult: ...

    def power(self, host: str) -> Power: ...


class Leading(Protocol):
    """Whether this engine leads."""

    def hold(self) -> int | None:
        """Return the number of this leadership, a new one each time it is won; None: not now."""

    def stop(self) -> None:
        """Give it back."""
