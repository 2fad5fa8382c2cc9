# SPDX-License-Identifier: Apache-2.0
"""How many evacuations are under way, and which of them hold one of the places for that.

Unless a host was named, Nova's record does not say where an evacuation goes until its destination
begins it. If that host dies first, the request waits in its queue until it is back, and may begin
there at any moment: nobody may ask for it anew before that host is known, and is off. So that the
other VMs need not wait as long, what nobody has begun for `Policy.begin_wait` gives its place
free. It may as well be Nova's conductor that is slow: never are more than twice `Policy.parallel`
under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from vmha_remediator.remedy.incident import IN_FLIGHT, VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy

#: What is told of a VM whose evacuation nobody begins: where it waits is not known, or is.
LINGERS = (
    "Nova has accepted its evacuation, and no destination has begun it: it may wait for a host "
    "that died, and begin when that one is back. So it is not asked for again, and others go first"
)
QUEUED = (
    "Nova has accepted its evacuation, and {hosts} has not begun it. It begins when nova-compute "
    "works there again, and is asked for anew only once the host is proven off; others go first"
)


def told(hosts: frozenset[str]) -> str:
    """Return what is told of a VM whose evacuation nobody begins, with the hosts if known."""
    return QUEUED.format(hosts=" or ".join(sorted(hosts))) if hosts else LINGERS


def lingers(vm: VmRecord, now: float, policy: Policy) -> bool:
    """Tell whether Nova accepted a VM's evacuation long ago, and no destination has begun it."""
    unbegun = vm.status is VmStatus.MOVING and vm.dest is None
    return unbegun and now - vm.not_before > policy.begin_wait


@dataclass
class Flight:
    """Counts evacuations within one plan: those of other incidents, then its own."""

    now: float
    policy: Policy
    holding: int = 0  # those that hold a place
    lingering: int = 0  # those that have given theirs free
    to: Counter[str] = field(default_factory=Counter)  # of those that hold one, by destination

    @property
    def unknown(self) -> int:
        """Return how many hold a place, and Nova has not said yet where they go."""
        return self.holding - self.to.total()

    def add_all(self, vms: Iterable[VmRecord]) -> Flight:
        """Count those of `vms` that are under way, and return itself."""
        for vm in vms:
            if vm.status in IN_FLIGHT:
                self.add(vm)
        return self

    def add(self, vm: VmRecord) -> bool:
        """Count an evacuation, and tell whether it holds a place."""
        if lingers(vm, self.now, self.policy):
            self.lingering += 1
            return False
        self.holding += 1
        if vm.dest is not None:
            self.to[vm.dest] += 1
        return True

    @property
    def full(self) -> bool:
        """Tell whether no other evacuation may begin now."""
        limit = self.policy.parallel
        return self.holding >= limit or self.holding + self.lingering >= 2 * limit
