# SPDX-License-Identifier: Apache-2.0
"""Requests of before that reach a destination which is back, when their VM runs elsewhere by then.

Its nova-compute finds that the VM is no longer to be rebuilt, and begins nothing. But it marks its
record failed and the VM broken, wherever that runs (nova.compute.manager: rebuild_instance,
_error_out_instance_on_exception).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vmha_remediator.remedy.facts import FAILED, FINISHED, Facts, Migration
from vmha_remediator.remedy.incident import Incident, VmRecord, VmStatus
from vmha_remediator.remedy.steps import FollowVm

BROKEN = "an evacuation of before has reached {late} too late; Nova put it in error on {dest}"


def late(vm: VmRecord, migrations: Iterable[Migration]) -> Migration | None:
    """Return the request that failed after a VM had arrived, or None."""
    own = [m for m in migrations if m.server_id == vm.server_id]
    arrived = max((m.created for m in own if m.status in FINISHED), default=None)
    if arrived is None:
        return None
    since = vm.finished if vm.status is VmStatus.DONE and vm.finished is not None else arrived
    return next((m for m in own if m.status == FAILED and m.updated > since), None)


def broken(incident: Incident, facts: Facts) -> tuple[FollowVm, ...]:
    """Return the steps that take up again those VMs that were done, and are in error since."""
    found = {s.id: s for s in facts.servers or ()}
    steps = []
    for vm in incident.vms:
        server = found.get(vm.server_id)
        request = late(vm, facts.migrations or ()) if vm.status is VmStatus.DONE else None
        if request is None or server is None or server.vm_state != "error":
            continue
        why = BROKEN.format(late=request.dest, dest=server.host)
        record = replace(vm, status=VmStatus.PENDING, reason=why, finished=None)
        steps.append(FollowVm(record, f"{vm.name}: {why}"))
    return tuple(steps)
