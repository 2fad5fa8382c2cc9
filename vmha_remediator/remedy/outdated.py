# SPDX-License-Identifier: Apache-2.0
"""Requests of before that reach a destination which is back, when their VM runs elsewhere by then.

Its nova-compute finds that the VM is no longer to be rebuilt, and begins nothing. But it marks its
record failed and the VM broken, wherever that runs (nova.compute.manager: rebuild_instance,
_error_out_instance_on_exception). That record may be the one by which the VM has moved: of two
that are accepted Nova's conductor takes the older one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vmha_remediator.remedy.facts import FAILED, NOT_STARTED, Facts, Migration, Server
from vmha_remediator.remedy.incident import Incident, VmRecord, VmStatus
from vmha_remediator.remedy.steps import FollowVm

BROKEN = "an evacuation of before has reached {late} too late; Nova put it in error on {dest}"

#: What is told of a VM whose task nobody works on.
LEFT = "a request that came too late left its task behind"


def late(vm: VmRecord, migrations: Iterable[Migration]) -> Migration | None:
    """Return the request that failed after a VM had arrived, or None.

    Before that is known, it is one that failed after a newer one was made. The newest may have no
    record, if Nova went away when it was asked.
    """
    own = sorted((m for m in migrations if m.server_id == vm.server_id), key=lambda m: m.created)
    if not own:
        return None
    since, failed = own[-1].created, own[:-1]
    if vm.finished is not None:
        since, failed = vm.finished, own
    elif vm.status is VmStatus.REQUESTED:
        since, failed = max(since, vm.not_before), own
    return next((m for m in failed if m.status == FAILED and m.updated > since), None)


def broken_by(vm: VmRecord, server: Server, facts: Facts) -> Migration | None:
    """Return such a request if it has put a VM in error; the VM's task may stay there, too."""
    if server.vm_state != "error" or server.task_state not in (None, "rebuilding"):
        return None
    return late(vm, facts.migrations or ())


def broken(incident: Incident, facts: Facts) -> tuple[FollowVm, ...]:
    """Return the steps that take up again those VMs that were done, and are in error since.

    Where the incident in which they were done is over, that of the late destination does it.
    """
    found = {s.id: s for s in facts.servers or ()}
    steps = []
    for vm in (*incident.vms, *facts.late_for):
        server = found.get(vm.server_id)
        if vm.status is not VmStatus.DONE or server is None:
            continue
        if request := broken_by(vm, server, facts):
            why = BROKEN.format(late=request.dest, dest=server.host)
            record = replace(vm, status=VmStatus.PENDING, reason=why)
            steps.append(FollowVm(record, f"{vm.name}: {why}"))
    return tuple(steps)


def to_come(incident: Incident, facts: Facts) -> tuple[str, ...]:
    """Return the names of VMs of which a host that is back may yet come upon a request.

    Two requests of such a VM have gone to destinations, of which it needed one. That this host
    has worked the other one off is seen by a record that has failed there since.
    """
    return tuple(
        sorted(
            vm.name
            for vm, records in facts.asked
            if sum(r.status not in (NOT_STARTED, FAILED) for r in records) > 1
            and not any(failed_there(r, incident) for r in records)
        )
    )


def failed_there(record: Migration, incident: Incident) -> bool:
    """Tell whether an evacuation to the host of an incident has failed since that was opened."""
    failed = record.status == FAILED and record.updated > incident.opened
    return failed and record.dest == incident.host
