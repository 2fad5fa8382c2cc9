# SPDX-License-Identifier: Apache-2.0
"""What an onlooker sees of the cloud at one moment. Data only; `observe.py` takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HostView:
    """One host: what its evidence says, what Aodh and Nova make of it."""

    name: str
    power: str
    readings: Mapping[str, float]  # metric name -> value; absent: no data
    alarms: Mapping[str, str]  # rule -> Aodh's state
    nova: str  # "up", "down", "forced down"

    @property
    def verdict(self) -> str:
        """Return the rules whose alarm fires, or "well"."""
        firing = [rule for rule, state in self.alarms.items() if state == "alarm"]
        if firing:
            return ", ".join(firing)
        silent = [s for s in self.alarms.values() if s == "insufficient data"]
        return "no verdict" if silent or not self.alarms else "well"


@dataclass(frozen=True)
class VmView:
    """One VM: where Nova says it is, and where its processes really are."""

    id: str
    name: str
    tagged: bool
    host: str  # Nova's
    status: str
    task: str | None
    running_on: tuple[str, ...]  # hosts that have a process of it
    last_write: float | None  # seconds ago, from its disk
    writer: str | None  # host of the last record on its disk


@dataclass(frozen=True)
class IncidentView:
    """One incident and the sentences of its journal."""

    id: str
    host: str
    rule: str
    state: str
    steps: tuple[tuple[float, str, str], ...] = ()  # wall time, step, sentence


@dataclass(frozen=True)
class Snapshot:
    """Everything at one moment; `notes` says what could not be read."""

    at: float
    hosts: tuple[HostView, ...] = ()
    vms: tuple[VmView, ...] = ()
    incidents: tuple[IncidentView, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def vm_hosts(self) -> dict[str, str]:
        """Return VM id -> host that Nova says."""
        return {vm.id: vm.host for vm in self.vms}

    def whole(self) -> Snapshot:
        """Return this snapshot with nothing left to be read."""
        return self
