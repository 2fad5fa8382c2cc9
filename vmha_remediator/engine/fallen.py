# SPDX-License-Identifier: Apache-2.0
"""Looking at destinations that were fenced themselves: which of them are off still.

What Nova had asked of such a host it may begin when it is back. So a VM may be placed anew only
while the destination's own proof would allow an evacuation from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.ports import Fencing
from vmha_remediator.remedy import proof, vms
from vmha_remediator.remedy.facts import Facts
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.store import Store


class Fallen:
    """Looks at dead destinations; `measure` gives facts with what is measured of one host."""

    def __init__(
        self,
        store: Store,
        fencing: Fencing,
        measure: Callable[[Incident], Facts],
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._store, self._fencing, self._measure = store, fencing, measure
        self._clock, self._policy = clock, policy

    def look(self, incident: Incident, facts: Facts) -> frozenset[str]:
        """Return the hosts to which VMs of the incident were on their way that are off now."""
        fenced = facts.cluster.fenced if facts.cluster is not None else frozenset[str]()
        return frozenset(
            host for host in vms.bound_for(incident, facts) & fenced if self._is_off(host, facts)
        )

    def _is_off(self, host: str, facts: Facts) -> bool:
        found = self._store.active(host)
        if found is None:
            return False
        own = self._store.incident(found.id)
        known = replace(
            self._measure(own),
            service=next((s for s in facts.services if s.host == host), None),
            power=self._fencing.power(host).value,
        )
        return not proof.may_not_start(own, known, self._clock.now(), self._policy)
