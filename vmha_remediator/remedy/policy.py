# SPDX-License-Identifier: Apache-2.0
"""The numbers that plans obey; conf/ fills them in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """Limits and tolerances; times in seconds."""

    protect: str = "tagged"  # "tagged" | "all"
    parallel: int = 32  # evacuations under way at a time, all hosts together
    parallel_per_host: int = 8  # of those, to one destination
    disks: str = "shared"  # "shared" | "local": where disks that are not volumes are kept
    reserved_hosts: frozenset[str] = frozenset()  # kept disabled until a failure needs them
    candidates: str = "scheduler"  # "scheduler" | "spread" | "reserved"
    depends_wait: float = 600.0  # the longest that a VM waits for those it depends on
    quick_attempts: int = 3  # before a VM counts as pending
    retry_first: float = 2.0  # doubled at each attempt
    retry_limit: float = 60.0
    settle: float = 10.0  # how long an accepted request may stay without a migration record
    begin_wait: float = 30.0  # how long an accepted evacuation that nobody begins holds a place
    late_wait: float = 60.0  # how long a host that is back may need to work off what is old
    stuck_after: float = 900.0  # an evacuation that takes longer is listed as pending
    storm_share: float = 0.5  # of all hosts
    min_healthy: int = 1
    storm_window: float = 300.0  # a storm must be over for so long before it is judged anew
    contradiction_tolerance: float = 3.0
    #: A nova-compute that has not reported for so long is as silent as its host: two and a
    #: half of Nova's report_interval.
    compute_silent: float = 25.0
    #: A fenced host that was switched on again has so long to be heard before it is fenced anew.
    boot_grace: float = 600.0
    #: An older proof is checked again before the next evacuation. Less than any machine needs
    #: from power to a nova-compute that starts guests: it may have been switched on since.
    proof_age: float = 5.0
    heard_after: float = 10.0  # heard again for so long counts as being back
    fence_again: float = 10.0  # first pause before fencing is tried again; it doubles
    fence_again_limit: float = 300.0
    report_after: float = 6.0  # what is only reported must stand for so long first
    clear_after: float = 15.0  # a report is cleared when its rule has not held for so long
    flap_after: int = 3  # situations of one host that make it flapping; 0: never
    flap_window: float = 300.0  # in which they are counted
    flap_calm: float = 300.0  # a flapping host must be in no situation for so long
    quarantine_after: int = 3  # a host fenced more often is not re-admitted; 0: never mind
    quarantine_window: float = 86400.0
    vm_window: float = 3600.0  # a VM that was given up must run for so long

    def due(self, moment: float, now: float) -> bool:
        """Tell whether a pause until `moment` is over.

        No pause is longer than the longest of them: where it looks so, the clock was set back.
        """
        return not 0 < moment - now <= max(self.retry_limit, self.settle)

    def retry_after(self, attempts: int) -> float:
        """Return the pause after the given number of failed attempts."""
        return float(min(self.retry_first * 2 ** max(attempts - 1, 0), self.retry_limit))
