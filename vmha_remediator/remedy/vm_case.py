# SPDX-License-Identifier: Apache-2.0
"""One VM as a whole: what is known of it, and what its record says next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vmha_remediator.remedy import candidates, unprotectable
from vmha_remediator.remedy.facts import Facts, Migration, Server
from vmha_remediator.remedy.incident import VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import FollowVm, Step

#: What a record says was last done to a VM whose resize was confirmed.
CONFIRM = "confirm-resize"
#: What a person should know where Nova refuses; the rest is said the same way for all.
REFUSED: Mapping[str, str] = {
    CONFIRM: "its resize waits to be confirmed, which Nova refuses ({why}): it needs the host "
    "that the VM came from. To have it moved all the same, its resize never to be finished: "
    "openstack server set --state active {id}",
}


@dataclass(frozen=True)
class Case:
    """All that is known of one VM."""

    vm: VmRecord
    server: Server | None
    last: Migration | None  # its latest evacuation in this incident
    latest: Migration | None  # its latest evacuation of all
    tried: Mapping[str, int]  # destinations that were named and refused it, with how often
    facts: Facts
    now: float
    policy: Policy
    chooser: candidates.Chooser
    journaled: VmRecord | None = None  # the record as it is stored, where `vm` is ahead of it
    going: tuple[Migration, ...] = ()  # its evacuations in this incident that are under way

    def hosts_of(self, evacuation: Migration) -> frozenset[str]:
        """Return the hosts one of which was asked to run it then; empty: not known."""
        if evacuation.dest is not None:
            return frozenset({evacuation.dest})
        return self.facts.queued.get(evacuation.id, frozenset())

    @property
    def bound_for(self) -> frozenset[str]:
        """Return the hosts one of which was asked last to run it; empty: not known."""
        return self.hosts_of(self.last) if self.last is not None else frozenset()

    @property
    def dest_died(self) -> bool:
        """Tell whether the host to which it went last is proven off, now."""
        return self._are_off(self.bound_for)

    @property
    def awaited(self) -> Migration | None:
        """Return its latest evacuation with which a host may yet go on, or None.

        That need not be the last one: after a destination died the next request may have found
        no room, and by now that destination may be back.
        """
        return next((m for m in reversed(self.going) if not self._are_off(self.hosts_of(m))), None)

    def _are_off(self, hosts: frozenset[str]) -> bool:
        return bool(hosts) and hosts <= self.facts.still_off

    @property
    def has_left(self) -> bool:
        """Tell whether Nova places the VM on another host."""
        return self.server is not None and self.server.host != self.vm.old_host


def settle(case: Case, status: VmStatus, sentence: str, **fields: object) -> Step | None:
    """Return the step that writes a new status down, or None when it says nothing new."""
    reason = fields.pop("reason", "") if status is VmStatus.DONE else sentence
    if status is VmStatus.DONE or status is VmStatus.SKIPPED:
        fields["finished"] = case.now
    record = replace(case.vm, status=status, reason=reason, **fields)  # type: ignore[arg-type]
    stored = case.journaled or case.vm
    return None if record == stored else FollowVm(record, f"{case.vm.name}: {sentence}")


def pending(case: Case, reason: str, **fields: object) -> Step | None:
    """Return the step that lists the VM as pending, or None when that is known."""
    return settle(case, VmStatus.PENDING, reason, **fields)


def refused(vm: VmRecord, why: str, now: float, policy: Policy) -> VmRecord:
    """Return the record of a VM whose evacuation Nova has refused: it is tried again later.

    Unless Nova would refuse it for the same reason ever again.
    """
    for_good = unprotectable.refused(why)
    late = vm.attempts >= policy.quick_attempts
    return replace(
        vm,
        status=VmStatus.PENDING if late or for_good else VmStatus.WAITING,
        reason=for_good or f"attempt {vm.attempts} refused: {why}",
        not_before=now + policy.retry_after(vm.attempts),
    )


def not_restored(vm: VmRecord, action: str, why: str, now: float, policy: Policy) -> VmRecord:
    """Return the record of a VM that Nova refuses to bring nearer to what it was."""
    what = REFUSED.get(action, "Nova refused to {action} it on {dest}: {why}")
    return replace(
        vm,
        status=VmStatus.PENDING,
        reason=what.format(action=action, dest=vm.dest, why=why, id=vm.server_id),
        not_before=now + policy.retry_limit,
    )
