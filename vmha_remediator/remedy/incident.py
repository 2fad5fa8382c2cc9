# SPDX-License-Identifier: Apache-2.0
"""What is remembered of an incident: plain values, as the store returns them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vmha_remediator.remedy.states import FINAL, IncidentState

#: The only proof that allows an evacuation; the text of `fencing.contract.Proof.POWER_OFF`.
POWER_OFF = "power is off"

#: Steps that change the Nova service, as the journal names them: its updated_at shows them, too.
SERVICE_WRITES = frozenset({"force-down", "unforce", "disable-scheduling", "enable-scheduling"})


class VmStatus(StrEnum):
    """How far the recovery of one VM is."""

    WAITING = "waiting"  # journaled, to be evacuated
    REQUESTED = "requested"  # Nova has been asked, or is about to be
    MOVING = "moving"  # a migration record exists and is under way
    PENDING = "pending"  # not running elsewhere; `reason` says why
    DONE = "done"  # is on `dest` what it was before
    SKIPPED = "skipped"  # nothing to recover: deleted or moved by somebody else


#: Nothing more is expected of these in this incident's evacuation phase.
SETTLED = frozenset({VmStatus.PENDING, VmStatus.DONE, VmStatus.SKIPPED})
#: These count against the limit of evacuations at a time.
IN_FLIGHT = frozenset({VmStatus.REQUESTED, VmStatus.MOVING})


@dataclass(frozen=True)
class VmRecord:
    """One protected VM of a failed host; times are seconds since the epoch."""

    server_id: str
    name: str
    old_host: str
    status: VmStatus = VmStatus.WAITING
    vm_state: str = ""  # Nova's vm_state when it was journaled: what to restore
    task_state: str | None = None
    locked: bool = False
    locked_reason: str | None = None
    priority: int = 0
    dest: str | None = None
    migration_id: str | None = None
    attempts: int = 0
    not_before: float = 0.0
    reason: str = ""
    started: float | None = None  # first evacuation accepted by Nova
    finished: float | None = None
    wish: str = ""  # the state that it is to have in the end, "active" or what it was
    reset_to: str = ""  # the state into which it was reset, so that Nova evacuates it
    acted: str = ""  # what was last asked for on its way back to what it was
    may_run_on: str | None = None  # an evacuation there failed half-way


@dataclass(frozen=True)
class StepRecord:
    """One line of an incident's journal; `ok` is None while the step is under way."""

    time: float
    step: str
    sentence: str
    ok: bool | None
    finished: float | None = None
    other_cell: str | None = None  # the host that Nova refused as it is in another cell


@dataclass(frozen=True)
class ProofRecord:
    """What fencing proved, by which driver, on what evidence, and when."""

    driver: str
    proves: str
    evidence: str
    time: float


@dataclass(frozen=True)
class Change:
    """One change of an incident, to be reported once.

    `again`: an engine died while it was telling, so it may have been told before.
    """

    id: int
    incident_id: int
    host: str
    rule: str
    severity: str
    time: float
    before: IncidentState | None
    after: IncidentState
    sentence: str
    again: bool = False


@dataclass(frozen=True)
class Incident:
    """One situation of one host, from the first evidence to its end."""

    id: int
    host: str
    rule: str
    action: str  # "recover" | "report"
    severity: str
    state: IncidentState
    evidence: str  # the sentence on which it was opened
    reason: str  # why it is in this state
    advice: str  # what a person can do, when held
    opened: float
    updated: float
    epoch: int
    version: int
    closed: float | None = None
    held_by: str = ""  # which guard or failure holds it
    held_from: IncidentState | None = None
    released_by: str = ""
    waived: frozenset[str] = frozenset()  # guards that a person has overruled
    fencing_since: float | None = None
    proof: ProofRecord | None = None
    forced_by_us: bool = False
    heard_since: float | None = None  # heard again, without a break, since
    well_since: float | None = None  # rule no longer holds, without a break, since
    powered_since: float | None = None  # seen switched on after its proof, not heard yet
    said: str = ""  # the latest cycle's sentence
    steps: tuple[StepRecord, ...] = ()
    vms: tuple[VmRecord, ...] = ()

    @property
    def active(self) -> bool:
        """Tell whether it is not over."""
        return self.state not in FINAL

    @property
    def fencing_begun(self) -> bool:
        """Tell whether the host may have been told to go off."""
        return self.fencing_since is not None

    @property
    def proven_off(self) -> bool:
        """Tell whether a proof that the power is off is stored."""
        return self.proof is not None and self.proof.proves == POWER_OFF

    def last_step(self, names: frozenset[str]) -> float:
        """Return when the latest of these steps ended, or 0.0 when there was none."""
        return max((s.finished or s.time for s in self.steps if s.step in names), default=0.0)

    def vm(self, server_id: str) -> VmRecord | None:
        """Return the record of one VM."""
        return next((vm for vm in self.vms if vm.server_id == server_id), None)
