# SPDX-License-Identifier: Apache-2.0
"""Doing: each step of a plan, journaled before and after; those on VMs are done by `vm_deeds`.

A step that fails ends its plan; what was done so far is found again by the facts, and the next
cycle plans from there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import Executor as Pool
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.journal import Journal
from vmha_remediator.engine.ports import Cloud, Fencing
from vmha_remediator.engine.vm_deeds import AT_ONCE, VmDeeds
from vmha_remediator.errors import CloudRefused
from vmha_remediator.remedy import pieces, reserves, steps
from vmha_remediator.remedy import proof as proofs
from vmha_remediator.remedy.incident import POWER_OFF, Incident, ProofRecord
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.store import Store


@dataclass
class Executor:
    """Does steps on behalf of one leader's epoch."""

    store: Store
    cloud: Cloud
    fencing: Fencing
    clock: Clock
    policy: Policy
    pool: Pool
    heard: Callable[[Incident], bool]
    after_service: Callable[[], None] = field(default=lambda: None)

    def __post_init__(self) -> None:
        self.journal = Journal(self.store, self.clock)
        self.vms = VmDeeds(self.journal, self.cloud, self.policy, self.pool)

    def run(self, incident: Incident, plan: steps.Plan, epoch: int, looked: float) -> Incident:
        """Do every step in order and return the incident as it is then.

        `looked` is when the facts were read (monotonic s). Raises what the first failing step
        raises, and `CloudUnavailable` when that was too long ago.
        """
        for kind, group in itertools.groupby(plan.steps, type):
            self.journal.check_pause(looked)
            if kind in AT_ONCE:
                AT_ONCE[kind](self.vms, incident, list(group), epoch)
                continue
            for step in group:
                incident = _HANDLERS[kind](self, incident, step, epoch)
        return incident

    # -- the incident -------------------------------------------------------------------

    def _move(self, incident: Incident, step: steps.Move, epoch: int) -> Incident:
        return self.store.move(incident, step.to, step.sentence, epoch=epoch, **step.fields)

    def _note(self, incident: Incident, step: steps.Note, epoch: int) -> Incident:
        return self.store.update(incident, epoch=epoch, **step.fields)

    def _count_onset(self, incident: Incident, step: steps.CountOnset, epoch: int) -> Incident:
        return self.store.update(incident, epoch=epoch, onset=step.window, **step.fields)

    def _hold(self, incident: Incident, step: steps.Hold, epoch: int) -> Incident:
        return self.store.move(
            incident,
            S.HELD,
            step.reason,
            epoch=epoch,
            advice=step.advice,
            held_by=step.by,
            held_from=incident.state,
            released_by="",
            **step.fields,
        )

    # -- the host -----------------------------------------------------------------------

    def _fence(self, incident: Incident, step: steps.Fence, epoch: int) -> Incident:
        with self.journal.around(incident, step, f"switch {step.host} off", epoch) as ending:
            result = self.fencing.fence(step.host, partial(self.heard, incident))
            ending.ok = result.proof is not None and result.proof.value == POWER_OFF
            ending.sentence = f"{result.driver}: {result.evidence}"
        if result.proof is None or not ending.ok:
            why = proofs.given_up if result.given_up else proofs.no_proof
            return self._not_proven(incident, why(incident, result.evidence), epoch)
        proof = ProofRecord(result.driver, result.proof.value, result.evidence, self.clock.now())
        sentence = f"{step.host}: {result.proof.value} ({ending.sentence})"
        fields = {**pieces.FRESH, "proof": proof}
        return self.store.move(incident, S.FENCED, sentence, epoch=epoch, **fields)

    def _not_proven(self, incident: Incident, hold: steps.Hold, epoch: int) -> Incident:
        """Hold the incident, or leave it held with the newest reason."""
        if incident.state is not S.HELD:
            return self._hold(incident, hold, epoch)
        if incident.reason == hold.reason:
            return incident
        return self.store.update(incident, epoch=epoch, reason=hold.reason, advice=hold.advice)

    def _forget_word(self, incident: Incident, step: steps.ForgetWord, epoch: int) -> Incident:
        self.store.forget_word(incident, step.sentence, epoch=epoch)
        return incident

    def _force_down(self, incident: Incident, step: steps.ForceDown, epoch: int) -> Incident:
        if not incident.forced_by_us:
            # Written before it is done: after a crash it must not pass for an operator's.
            incident = self.store.update(incident, epoch=epoch, forced_by_us=True)
        doing = f"force nova-compute on {step.host} down"
        with self.journal.around(incident, step, doing, epoch):
            self.cloud.force_down(step.service_id, True)
        return self._service_changed(incident)

    def _unforce(self, incident: Incident, step: steps.Unforce, epoch: int) -> Incident:
        doing = f"take the force-down of nova-compute on {step.host} back"
        with self.journal.around(incident, step, doing, epoch):
            self.cloud.force_down(step.service_id, False)
        incident = self.store.update(incident, epoch=epoch, forced_by_us=False)
        return self._service_changed(incident)

    def _disable(self, incident: Incident, step: steps.DisableScheduling, epoch: int) -> Incident:
        with self.journal.around(incident, step, f"keep new VMs off {step.host}", epoch):
            self.cloud.disable(step.service_id, step.reason)
        return self._service_changed(incident)

    def _enable(self, incident: Incident, step: steps.EnableScheduling, epoch: int) -> Incident:
        with self.journal.around(incident, step, f"let new VMs onto {step.host} again", epoch):
            self.cloud.enable(step.service_id)
        return self._service_changed(incident)

    def _use_reserve(self, incident: Incident, step: steps.UseReserve, epoch: int) -> Incident:
        try:
            with self.journal.around(incident, step, reserves.said(step.host), epoch):
                self.cloud.enable(step.service_id)
        except CloudRefused:
            pass  # it is in the journal, and others are left
        return self._service_changed(incident)

    def _service_changed(self, incident: Incident) -> Incident:
        self.after_service()
        return incident

    def _journal_vms(self, incident: Incident, step: steps.JournalVms, epoch: int) -> Incident:
        names = ", ".join(sorted(record.name for record in step.records))
        doing = "; ".join((f"wrote down {len(step.records)} VMs: {names}", *step.remarks))
        with self.journal.around(incident, step, doing, epoch):
            self.store.save_vms(incident, step.records, epoch=epoch)
        return self.store.incident(incident.id)


_HANDLERS: Mapping[type[steps.Step], Callable[[Executor, Incident, Any, int], Incident]] = {
    steps.Move: Executor._move,
    steps.Note: Executor._note,
    steps.CountOnset: Executor._count_onset,
    steps.Hold: Executor._hold,
    steps.Fence: Executor._fence,
    steps.ForgetWord: Executor._forget_word,
    steps.ForceDown: Executor._force_down,
    steps.Unforce: Executor._unforce,
    steps.DisableScheduling: Executor._disable,
    steps.EnableScheduling: Executor._enable,
    steps.UseReserve: Executor._use_reserve,
    steps.JournalVms: Executor._journal_vms,
}
