# SPDX-License-Identifier: Apache-2.0
"""Doing: each step of a plan, journaled before and after.

The journal's first line is written with the leader's epoch, so a deposed leader is stopped
before it acts. A step that fails ends its plan; what was done so far is found again by the
facts, and the next cycle plans from there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor as Pool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.ports import Cloud, Fencing
from vmha_remediator.errors import CloudRefused, CloudUnavailable, VmhaError
from vmha_remediator.remedy import home, pieces, reserves, steps, vm_case
from vmha_remediator.remedy import proof as proofs
from vmha_remediator.remedy.incident import POWER_OFF, Incident, ProofRecord, VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)

#: An engine that needs longer (s) from the look to a step, or from a step's line in the journal
#: to the deed, has stood still: the host may live again, another engine may lead. A step waits for
#: its turn, and each request takes 10 s.
STOOD_STILL = 30.0


@dataclass
class _Said:
    """What a step has to say when it ends well."""

    sentence: str


@dataclass
class Executor:
    """Does steps on behalf of one leader's epoch."""

    store: Store
    cloud: Cloud
    fencing: Fencing
    clock: Clock
    policy: Policy
    pool: Pool
    after_service: Callable[[], None] = field(default=lambda: None)

    def run(
        self, incident: Incident, plan: steps.Plan, epoch: int, looked: float | None = None
    ) -> Incident:
        """Do every step in order and return the incident as it is then.

        `looked` is when the facts were read (monotonic s). Raises what the first failing step
        raises, and `CloudUnavailable` when that was too long ago.
        """
        looked = self.clock.monotonic() if looked is None else looked
        for kind, group in itertools.groupby(plan.steps, type):
            self._check_pause(looked)
            if kind in _AT_ONCE:
                _AT_ONCE[kind](self, incident, list(group), epoch)
                continue
            for step in group:
                incident = _HANDLERS[kind](self, incident, step, epoch)
        return incident

    @contextmanager
    def _journaled(
        self, incident: Incident, step: steps.Step, doing: str, epoch: int
    ) -> Iterator[_Said]:
        """Write the step down before it is done, and how it ended after."""
        began = self.clock.monotonic()
        number = self.store.begin_step(incident, step.name, doing, epoch=epoch)
        said = _Said(doing)
        try:
            self._check_pause(began)
            yield said
        except VmhaError as exc:
            self.store.finish_step(number, False, f"{doing}: {exc}")
            raise
        self.store.finish_step(number, True, said.sentence)
        LOG.info("incident %s: %s", incident.id, said.sentence)

    def _check_pause(self, began: float) -> None:
        """Refuse to act on what was read and written down before a pause; the next plan looks."""
        pause = self.clock.monotonic() - began
        if pause > STOOD_STILL:
            raise CloudUnavailable(f"not done, this engine stood still for {pause:.0f} s")

    # -- the incident -------------------------------------------------------------------

    def _move(self, incident: Incident, step: steps.Move, epoch: int) -> Incident:
        return self.store.move(incident, step.to, step.sentence, epoch=epoch, **step.fields)

    def _note(self, incident: Incident, step: steps.Note, epoch: int) -> Incident:
        return self.store.update(incident, epoch=epoch, **step.fields)

    def _count_onset(self, incident: Incident, step: steps.CountOnset, epoch: int) -> Incident:
        self.store.count_onset(incident.host, step.window, epoch=epoch)
        return incident

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
        doing, began = f"switch {step.host} off", self.clock.monotonic()
        number = self.store.begin_step(incident, step.name, doing, epoch=epoch)
        try:
            self._check_pause(began)
        except CloudUnavailable as exc:
            self.store.finish_step(number, False, f"{doing}: {exc}")
            raise
        result = self.fencing.fence(step.host)
        proven = result.proof is not None and result.proof.value == POWER_OFF
        told = f"{result.driver}: {result.evidence}"
        self.store.finish_step(number, proven, told)
        LOG.info("incident %s: %s", incident.id, told)
        if result.proof is None or not proven:
            return self._not_proven(incident, proofs.no_proof(incident, result.evidence), epoch)
        proof = ProofRecord(result.driver, result.proof.value, result.evidence, self.clock.now())
        sentence = f"{step.host}: {result.proof.value} ({told})"
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
        with self._journaled(incident, step, f"force nova-compute on {step.host} down", epoch):
            self.cloud.force_down(step.service_id, True)
        return self._service_changed(incident)

    def _unforce(self, incident: Incident, step: steps.Unforce, epoch: int) -> Incident:
        doing = f"take the force-down of nova-compute on {step.host} back"
        with self._journaled(incident, step, doing, epoch):
            self.cloud.force_down(step.service_id, False)
        incident = self.store.update(incident, epoch=epoch, forced_by_us=False)
        return self._service_changed(incident)

    def _disable(self, incident: Incident, step: steps.DisableScheduling, epoch: int) -> Incident:
        with self._journaled(incident, step, f"keep new VMs off {step.host}", epoch):
            self.cloud.disable(step.service_id, step.reason)
        return self._service_changed(incident)

    def _enable(self, incident: Incident, step: steps.EnableScheduling, epoch: int) -> Incident:
        with self._journaled(incident, step, f"let new VMs onto {step.host} again", epoch):
            self.cloud.enable(step.service_id)
        return self._service_changed(incident)

    def _use_reserve(self, incident: Incident, step: steps.UseReserve, epoch: int) -> Incident:
        try:
            with self._journaled(incident, step, reserves.said(step.host), epoch):
                self.cloud.enable(step.service_id)
        except CloudRefused:
            pass  # it is in the journal, and others are left
        return self._service_changed(incident)

    def _service_changed(self, incident: Incident) -> Incident:
        self.after_service()
        return incident

    # -- the VMs ------------------------------------------------------------------------

    def _journal_vms(self, incident: Incident, step: steps.JournalVms, epoch: int) -> Incident:
        names = ", ".join(sorted(record.name for record in step.records))
        doing = "; ".join((f"wrote down {len(step.records)} VMs: {names}", *step.remarks))
        with self._journaled(incident, step, doing, epoch):
            self.store.save_vms(incident, step.records, epoch=epoch)
        return self.store.incident(incident.id)

    def _follow_all(self, incident: Incident, batch: Sequence[steps.FollowVm], epoch: int) -> None:
        """Write down what was seen of several VMs, in one transaction."""
        told = [step.sentence for step in batch if step.sentence]
        records = [step.record for step in batch]
        self.store.record_steps(incident, batch[0].name, told, records, epoch=epoch)
        for sentence in told:
            LOG.info("incident %s: %s", incident.id, sentence)

    def _reset_all(
        self, incident: Incident, batch: Sequence[steps.ResetState], epoch: int
    ) -> None:
        """Reset several VMs at once."""
        asked = [replace(s, record=replace(s.record, reset_to=s.to)) for s in batch]
        # Written before it is done: what Nova then says the VM was is our own doing.
        self.store.save_vms(incident, [step.record for step in asked], epoch=epoch)
        self._raise_first(self.pool.map(lambda step: self._reset(incident, step, epoch), asked))

    def _reset(self, incident: Incident, step: steps.ResetState, epoch: int) -> VmhaError | None:
        """Reset one VM; return what must stop the plan, once all have been reset."""
        doing = f"{step.record.name}: reset to {step.to}, {step.because}"
        try:
            with self._journaled(incident, step, doing, epoch):
                self.cloud.reset_state(step.record.server_id, step.to)
        except CloudRefused as exc:
            tried = replace(step.record, attempts=step.record.attempts + 1)
            self._refused(incident, tried, exc, epoch)
        except VmhaError as exc:
            return exc
        return None

    def _restore_all(
        self,
        incident: Incident,
        batch: Sequence[steps.StartVm | steps.RestoreVm | steps.ConfirmResize],
        epoch: int,
    ) -> None:
        """Ask for several VMs at once; they are asked for in the order of the plan."""
        again = self.clock.now() + self.policy.settle
        asked = [
            replace(step, record=replace(step.record, not_before=again, acted=_action(step)))
            for step in batch
        ]
        self.store.save_vms(incident, [step.record for step in asked], epoch=epoch)
        self._raise_first(self.pool.map(lambda step: self._restore(incident, step, epoch), asked))

    def _restore(
        self,
        incident: Incident,
        step: steps.StartVm | steps.RestoreVm | steps.ConfirmResize,
        epoch: int,
    ) -> VmhaError | None:
        """Ask for one thing; return what must stop the plan, once all have been asked."""
        record, action = step.record, step.record.acted
        try:
            with self._journaled(incident, step, f"{record.name}: {action}", epoch):
                self.cloud.act(record.server_id, action)
        except CloudRefused as exc:
            why = vm_case.not_restored(record, action, str(exc), self.clock.now(), self.policy)
            self.store.save_vms(incident, [why], epoch=epoch)
        except VmhaError as exc:
            return exc
        return None

    @staticmethod
    def _raise_first(outcomes: Iterable[VmhaError | None]) -> None:
        """Raise the first of the failures, once every outcome is there."""
        lost = next((found for found in list(outcomes) if found is not None), None)
        if lost is not None:
            raise lost

    def _restart(self, incident: Incident, step: steps.RestartVm, epoch: int) -> Incident:
        number = home.starts(step.record) + 1
        pause = max(self.policy.settle, self.policy.retry_after(number))
        record = replace(
            step.record,
            dest=step.record.old_host,
            attempts=number,
            not_before=self.clock.now() + pause,
            reason="",
        )
        self.store.save_vms(incident, [record], epoch=epoch)
        doing = f"{record.name}: hard reboot on its own host {record.old_host}, attempt {number}"
        try:
            with self._journaled(incident, step, doing, epoch):
                self.cloud.reboot(record.server_id)
        except CloudRefused as exc:
            refused = replace(record, reason=f"attempt {number} refused: {exc}")
            self.store.save_vms(incident, [refused], epoch=epoch)
        return incident

    def _refused(
        self, incident: Incident, record: VmRecord, exc: CloudRefused, epoch: int
    ) -> None:
        again = vm_case.refused(record, str(exc), self.clock.now(), self.policy)
        self.store.save_vms(incident, [again], epoch=epoch)

    def _evacuate_all(
        self, incident: Incident, batch: Sequence[steps.Evacuate], epoch: int
    ) -> None:
        """Ask for several evacuations at the same time; one that fails hinders no other."""
        now, began = self.clock.now(), self.clock.monotonic()
        asked = [
            replace(
                step,
                record=replace(
                    step.record,
                    status=VmStatus.REQUESTED,
                    attempts=step.record.attempts + 1,
                    not_before=now,
                    dest=step.dest,
                    reason="",
                ),
            )
            for step in batch
        ]
        sentences = [_evacuation(step) for step in asked]
        records = [step.record for step in asked]
        numbers = self.store.begin_steps(incident, batch[0].name, sentences, records, epoch=epoch)
        self._raise_first(
            self.pool.map(
                lambda step, number: self._evacuate(incident, step, number, began, epoch),
                asked,
                numbers,
            )
        )

    def _evacuate(
        self, incident: Incident, step: steps.Evacuate, number: int, began: float, epoch: int
    ) -> VmhaError | None:
        """Ask for one evacuation; return what must stop the plan, once all have been asked."""
        record, doing = step.record, _evacuation(step)
        try:
            self._check_pause(began)
            self.cloud.evacuate(record.server_id, step.dest)
        except VmhaError as exc:
            self.store.finish_step(number, False, f"{doing}: {exc}")
            if not isinstance(exc, CloudRefused):
                return exc  # it may have been accepted: the facts will tell
            self._refused(incident, record, exc, epoch)
            return None
        said = f"{doing}: accepted by Nova"
        started = replace(record, started=record.started or self.clock.now())
        self.store.finish_step(number, True, said, started, epoch=epoch)
        LOG.info("incident %s: %s", incident.id, said)
        return None


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
    steps.RestartVm: Executor._restart,
}

#: Steps that are done side by side when a plan has several of them in a row.
_AT_ONCE: Mapping[type[steps.Step], Callable[[Executor, Incident, Any, int], None]] = {
    steps.FollowVm: Executor._follow_all,
    steps.Evacuate: Executor._evacuate_all,
    steps.ResetState: Executor._reset_all,
    steps.StartVm: Executor._restore_all,
    steps.RestoreVm: Executor._restore_all,
    steps.ConfirmResize: Executor._restore_all,
}


def _evacuation(step: steps.Evacuate) -> str:
    where = f" to {step.dest}" if step.dest else ""
    return f"{step.record.name}: evacuation{where}, attempt {step.record.attempts}"


def _action(step: steps.StartVm | steps.RestoreVm | steps.ConfirmResize) -> str:
    """Return the action by which Nova is asked for a step."""
    if isinstance(step, steps.RestoreVm):
        return step.action
    return vm_case.CONFIRM if isinstance(step, steps.ConfirmResize) else "start"
