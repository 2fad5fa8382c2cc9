# SPDX-License-Identifier: Apache-2.0
"""Doing what is to be done to VMs: several at once, and one that Nova refuses hinders no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from dataclasses import dataclass, replace
from typing import Any

from oslo_log import log

from vmha_remediator.engine.journal import Journal
from vmha_remediator.engine.ports import Cloud
from vmha_remediator.errors import CloudRefused, VmhaError
from vmha_remediator.remedy import home, steps, vm_case
from vmha_remediator.remedy.incident import Incident, VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy

LOG = log.getLogger(__name__)


@dataclass
class VmDeeds:
    """Does steps on VMs, each written down before Nova is asked."""

    journal: Journal
    cloud: Cloud
    policy: Policy
    pool: Pool

    def __post_init__(self) -> None:
        self.store, self.clock = self.journal.store, self.journal.clock

    def follow(self, incident: Incident, batch: Sequence[steps.FollowVm], epoch: int) -> None:
        """Write down what was seen of several VMs, in one transaction."""
        told = [step.sentence for step in batch if step.sentence]
        records = [step.record for step in batch]
        self.store.record_steps(incident, batch[0].name, told, records, epoch=epoch)
        for sentence in told:
            LOG.info("incident %s: %s", incident.id, sentence)

    def reset(self, incident: Incident, batch: Sequence[steps.ResetState], epoch: int) -> None:
        """Reset several VMs at once."""
        asked = [replace(s, record=replace(s.record, reset_to=s.to)) for s in batch]
        # Written before it is done: what Nova then says the VM was is our own doing.
        self.store.save_vms(incident, [step.record for step in asked], epoch=epoch)
        _raise_first(self.pool.map(lambda step: self._reset_one(incident, step, epoch), asked))

    def _reset_one(
        self, incident: Incident, step: steps.ResetState, epoch: int
    ) -> VmhaError | None:
        """Reset one VM; return what must stop the plan, once all have been reset."""
        doing = f"{step.record.name}: reset to {step.to}, {step.because}"
        try:
            with self.journal.around(incident, step, doing, epoch):
                self.cloud.reset_state(step.record.server_id, step.to)
        except CloudRefused as exc:
            tried = replace(step.record, attempts=step.record.attempts + 1)
            self._refused(incident, tried, exc, epoch)
        except VmhaError as exc:
            return exc
        return None

    def restore(
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
        _raise_first(self.pool.map(lambda step: self._restore_one(incident, step, epoch), asked))

    def _restore_one(
        self,
        incident: Incident,
        step: steps.StartVm | steps.RestoreVm | steps.ConfirmResize,
        epoch: int,
    ) -> VmhaError | None:
        """Ask for one thing; return what must stop the plan, once all have been asked."""
        record, action = step.record, step.record.acted
        try:
            with self.journal.around(incident, step, f"{record.name}: {action}", epoch):
                self.cloud.act(record.server_id, action)
        except CloudRefused as exc:
            why = vm_case.not_restored(record, action, str(exc), self.clock.now(), self.policy)
            self.store.save_vms(incident, [why], epoch=epoch)
        except VmhaError as exc:
            return exc
        return None

    def restart(self, incident: Incident, batch: Sequence[steps.RestartVm], epoch: int) -> None:
        """Reboot VMs on their own host, one after another."""
        for step in batch:
            self._restart_one(incident, step, epoch)

    def _restart_one(self, incident: Incident, step: steps.RestartVm, epoch: int) -> None:
        runs = not step.record.acted and self.cloud.runs(step.record.server_id)
        number = home.starts(step.record) + 1
        pause = max(self.policy.settle, self.policy.retry_after(number))
        record = replace(
            step.record,
            dest=step.record.old_host,
            attempts=number,
            not_before=self.clock.now() + pause,
            reason="",
        )
        started = replace(record, acted="start")
        self.store.save_vms(incident, [started if runs else record], epoch=epoch)
        if runs:  # its nova-compute or a person has started it
            return
        doing = f"{record.name}: hard reboot on its own host {record.old_host}, attempt {number}"
        try:
            with self.journal.around(incident, step, doing, epoch):
                self.cloud.reboot(record.server_id)
            self.store.save_vms(incident, [started], epoch=epoch)
        except CloudRefused as exc:
            refused = replace(record, reason=f"attempt {number} refused: {exc}")
            self.store.save_vms(incident, [refused], epoch=epoch)

    def _refused(
        self, incident: Incident, record: VmRecord, exc: CloudRefused, epoch: int
    ) -> None:
        again = vm_case.refused(record, str(exc), self.clock.now(), self.policy)
        self.store.save_vms(incident, [again], epoch=epoch)

    def evacuate(self, incident: Incident, batch: Sequence[steps.Evacuate], epoch: int) -> None:
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
        _raise_first(
            self.pool.map(
                lambda step, number: self._evacuate_one(incident, step, number, began, epoch),
                asked,
                numbers,
            )
        )

    def _evacuate_one(
        self, incident: Incident, step: steps.Evacuate, number: int, began: float, epoch: int
    ) -> VmhaError | None:
        """Ask for one evacuation; return what must stop the plan, once all have been asked."""
        record, doing = step.record, _evacuation(step)
        try:
            with self.journal.after(incident, number, doing, began, epoch) as ending:
                self.cloud.evacuate(record.server_id, step.dest)
                ending.sentence = f"{doing}: accepted by Nova"
                ending.record = replace(record, started=record.started or self.clock.now())
        except CloudRefused as exc:
            self._refused(incident, record, exc, epoch)
        except VmhaError as exc:
            return exc  # it may have been accepted: the facts will tell
        return None


#: Steps of which a plan may have several in a row: they are given together.
AT_ONCE: Mapping[type[steps.Step], Callable[[VmDeeds, Incident, Any, int], None]] = {
    steps.FollowVm: VmDeeds.follow,
    steps.Evacuate: VmDeeds.evacuate,
    steps.ResetState: VmDeeds.reset,
    steps.StartVm: VmDeeds.restore,
    steps.RestoreVm: VmDeeds.restore,
    steps.ConfirmResize: VmDeeds.restore,
    steps.RestartVm: VmDeeds.restart,
}


def _raise_first(outcomes: Iterable[VmhaError | None]) -> None:
    """Raise the first of the failures, once every outcome is there."""
    lost = next((found for found in list(outcomes) if found is not None), None)
    if lost is not None:
        raise lost


def _evacuation(step: steps.Evacuate) -> str:
    where = f" to {step.dest}" if step.dest else ""
    return f"{step.record.name}: evacuation{where}, attempt {step.record.attempts}"


def _action(step: steps.StartVm | steps.RestoreVm | steps.ConfirmResize) -> str:
    """Return the action by which Nova is asked for a step."""
    if isinstance(step, steps.RestoreVm):
        return step.action
    return vm_case.CONFIRM if isinstance(step, steps.ConfirmResize) else "start"
