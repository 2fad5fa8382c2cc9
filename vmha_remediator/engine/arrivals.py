# SPDX-License-Identifier: Apache-2.0
"""Looking what a host that is back makes of requests that waited in its queue.

The incident of the host that the VMs came from repairs what that breaks, as long as it is active.
When it is over, or waits for a person, the incident of this host does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vmha_remediator.engine.ports import Cloud
from vmha_remediator.engine.vm_view import MARGIN
from vmha_remediator.remedy import outdated
from vmha_remediator.remedy.facts import Facts, Migration
from vmha_remediator.remedy.incident import Incident, VmRecord
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.store import Store


class Arrivals:
    """Looks at evacuations *to* the host of an incident: what they broke, and which may come."""

    def __init__(self, store: Store, cloud: Cloud) -> None:
        self._store, self._cloud = store, cloud

    def look(self, incident: Incident, facts: Facts) -> Facts:
        """Return the facts with those, and the VMs that no other incident cares for."""
        if incident.state is not S.RECOVERED or not facts.heard:
            return facts
        facts = replace(facts, asked=tuple(self._asked(incident)))
        failed = [
            record
            for record in self._cloud.evacuations_to(incident.host)
            if outdated.failed_there(record, incident)
        ]
        if not failed:
            return facts
        own = {vm.server_id for vm in incident.vms}
        active = self._store.incidents(active_only=True)
        cared_for = {vm.server_id for one in active if one.state is not S.HELD for vm in one.vms}
        vms = tuple(
            vm
            for vm in self._store.latest_vms(record.server_id for record in failed)
            if vm.server_id not in cared_for
        )
        mine = own | {vm.server_id for vm in vms}
        servers = (self._cloud.server(vm.server_id) for vm in vms)
        return replace(
            facts,
            late_for=vms,
            migrations=(*(facts.migrations or ()), *(r for r in failed if r.server_id in mine)),
            servers=(*(facts.servers or ()), *(s for s in servers if s is not None)),
        )

    def _asked(self, incident: Incident) -> Iterator[tuple[VmRecord, tuple[Migration, ...]]]:
        """Yield the VMs that were being moved when the host failed, with their evacuations."""
        vms = self._store.on_their_way(incident)
        records = [
            r for host in {vm.old_host for vm in vms} for r in self._cloud.evacuations(host)
        ]
        for vm in vms:
            since = (vm.started or 0.0) - MARGIN
            own = (r for r in records if r.server_id == vm.server_id and r.created >= since)
            yield vm, tuple(own)
