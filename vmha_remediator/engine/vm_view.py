# SPDX-License-Identifier: Apache-2.0
"""Reading what Nova says of an incident's VMs, in few requests however many VMs there are."""

from __future__ import annotations

from vmha_remediator.engine.ports import Cloud
from vmha_remediator.remedy import outdated
from vmha_remediator.remedy.facts import Migration, Server
from vmha_remediator.remedy.incident import Incident, VmRecord, VmStatus

#: More VMs than this that have left their host are read in one list, not one by one.
SINGLY = 2
#: How far back that list goes beyond the first of their requests, in seconds: Nova stamps whole
#: seconds, with its own clock.
MARGIN = 60.0
_OVER = frozenset({VmStatus.DONE, VmStatus.SKIPPED})


def look(cloud: Cloud, incident: Incident) -> tuple[tuple[Migration, ...], tuple[Server, ...]]:
    """Return the evacuations away from the host, and the servers that the incident is about.

    Records are read before servers: a VM then never looks left behind that has just moved.
    Raises `CloudUnavailable`.
    """
    migrations = tuple(cloud.evacuations(incident.host))
    servers = {s.id: s for s in cloud.servers(incident.host)}
    gone = [
        vm
        for vm in incident.vms
        if vm.server_id not in servers
        and (vm.status not in _OVER or outdated.late(vm, migrations))
    ]
    if len(gone) > SINGLY:
        servers |= _changed(cloud, gone)
    for vm in gone:
        if vm.server_id not in servers:
            server = cloud.server(vm.server_id)
            if server is not None:
                servers[server.id] = server
    return migrations, tuple(servers.values())


def _changed(cloud: Cloud, gone: list[VmRecord]) -> dict[str, Server]:
    """Return those of the VMs that changed since they were asked for, as each that moved did."""
    wanted = {vm.server_id for vm in gone}
    since = min(vm.started or vm.not_before for vm in gone) - MARGIN
    return {s.id: s for s in cloud.changed_since(since) if s.id in wanted}
