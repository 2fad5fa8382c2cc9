# SPDX-License-Identifier: Apache-2.0
"""The steps a plan is made of; the executor knows how to do each, and each is idempotent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from vmha_remediator.remedy.incident import VmRecord
from vmha_remediator.remedy.states import IncidentState


@dataclass(frozen=True)
class Step:
    """Base of all steps."""

    @property
    def name(self) -> str:
        """Return the step's name in the journal: force-down for ForceDown."""
        return "".join(f"-{c.lower()}" if c.isupper() else c for c in type(self).__name__)[1:]


@dataclass(frozen=True)
class Move(Step):
    """Bring the incident into another state; one report follows."""

    to: IncidentState
    sentence: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Note(Step):
    """Remember something without a change of state and without a report."""

    fields: dict[str, Any]


@dataclass(frozen=True)
class CountOnset(Step):
    """Note that the host has got into its situation again; counted for `window` seconds.

    `fields` are remembered with it: both are written down, or neither.
    """

    window: float
    fields: dict[str, Any]


@dataclass(frozen=True)
class Hold(Step):
    """Stop and wait for a person: why, and what they can do."""

    by: str
    reason: str
    advice: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fence(Step):
    """Turn the host off and store the proof; without one the incident is held."""

    host: str


@dataclass(frozen=True)
class ForgetWord(Step):
    """Take a person's word that the host is off back: it is heard."""

    sentence: str


@dataclass(frozen=True)
class ForceDown(Step):
    """Tell Nova at once what it would otherwise find out in a minute."""

    service_id: str
    host: str


@dataclass(frozen=True)
class Unforce(Step):
    """Take our own force-down back."""

    service_id: str
    host: str


@dataclass(frozen=True)
class DisableScheduling(Step):
    """Keep new VMs off the host."""

    service_id: str
    host: str
    reason: str


@dataclass(frozen=True)
class EnableScheduling(Step):
    """Let new VMs in again, where we had kept them off."""

    service_id: str
    host: str


@dataclass(frozen=True)
class UseReserve(Step):
    """Enable a reserve host for this failure; one that Nova refuses hinders nothing else."""

    NAME: ClassVar[str] = "use-reserve"
    service_id: str
    host: str


@dataclass(frozen=True)
class JournalVms(Step):
    """Write down protected VMs as they were, before anything is done to them."""

    records: tuple[VmRecord, ...]
    remarks: tuple[str, ...] = ()  # what people should know of their wishes


@dataclass(frozen=True)
class FollowVm(Step):
    """Write down what the facts say of a VM's recovery."""

    record: VmRecord
    sentence: str = ""  # goes into the journal when it says something new


@dataclass(frozen=True)
class ResetState(Step):
    """Bring a VM into a state from which Nova evacuates."""

    record: VmRecord
    to: str  # "active" | "error"
    because: str


@dataclass(frozen=True)
class Evacuate(Step):
    """Ask Nova to run a VM elsewhere; `dest` None lets the scheduler choose."""

    record: VmRecord
    dest: str | None = None


@dataclass(frozen=True)
class StartVm(Step):
    """Start a VM that arrived stopped although it had been running."""

    record: VmRecord


@dataclass(frozen=True)
class RestartVm(Step):
    """Start a VM afresh on its own host, which is back, whatever became of its guest."""

    record: VmRecord


@dataclass(frozen=True)
class RestoreVm(Step):
    """Bring a VM that has arrived one step nearer to what it was: pause, suspend, rescue, stop."""

    record: VmRecord
    action: str


@dataclass(frozen=True)
class ConfirmResize(Step):
    """Confirm the resize of a VM: Nova does so on the host it came from, which lives."""

    record: VmRecord


@dataclass(frozen=True)
class Plan:
    """What to do now, and one sentence that says so, or what is being waited for."""

    steps: tuple[Step, ...]
    sentence: str
