# SPDX-License-Identifier: Apache-2.0
"""VMs that were not moved when their host came back: they are started there, and only there.

It is asked for only after the host has been taken back: its nova-compute has started anew,
removed what was moved away and reported, so that whatever Nova still places on the host exists
nowhere else. The exception is a VM whose evacuation failed half-way on a destination: that one
may exist there, and is left for a person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from vmha_remediator.remedy import original, outdated
from vmha_remediator.remedy.facts import FAILED, Facts, Migration, Server
from vmha_remediator.remedy.incident import IN_FLIGHT, Incident, VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import FollowVm, ResetState, RestartVm, RestoreVm, Step

#: States in which a hard reboot makes a VM run again (nova.compute.vm_states.ALLOW_HARD_REBOOT).
RESTARTABLE = frozenset({"active", "stopped", "error"})
#: States that a VM may stay in, if it was so before its host failed: nothing of it ran.
AS_IT_WAS = frozenset({"error", "building", "shelved", "soft-delete"})
OVER = frozenset({VmStatus.DONE, VmStatus.SKIPPED})


@dataclass
class Homecoming:
    """What to do for the VMs that stayed, and which of them need a person."""

    steps: list[Step] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)  # names of those on their way
    left: list[str] = field(default_factory=list)  # names of those stuck, with why


def plan(incident: Incident, facts: Facts, now: float, policy: Policy) -> Homecoming:
    """Return what to do for each VM that has not been recovered, now that its host is back."""
    servers = {s.id: s for s in facts.servers or ()}
    found = Homecoming()
    for vm in sorted(incident.vms, key=lambda v: (-v.priority, v.name, v.server_id)):
        server = servers.get(vm.server_id)
        if vm.status in OVER or server is None:
            continue
        last, late = _last(facts, vm), outdated.broken_by(vm, server, facts) is not None
        if server.host != vm.old_host:
            _elsewhere(found, vm)
        elif late and not _half(vm, last):
            found.waiting.append(vm.name)
            why = f"nothing works on it; {outdated.LEFT}"
            found.steps.append(ResetState(vm, "active", why))
        elif not late and _on_its_way(vm, server, now, incident.heard_since or now, policy):
            found.waiting.append(vm.name)
        elif _is_back(vm, server, bool(vm.acted) or bool(_cannot(vm, server, last, policy))):
            sentence = f"{vm.name}: is {server.vm_state} on {vm.old_host} again"
            done = replace(vm, status=VmStatus.DONE, dest=vm.old_host, reason="", finished=now)
            found.steps.append(FollowVm(done, sentence))
        else:
            _start(found, vm, server, last, policy)
    return found


def renewed(incident: Incident, facts: Facts) -> tuple[VmRecord, ...]:
    """Return fresh records of VMs that were dealt with and are on the host again."""
    there = {s.id: s for s in facts.servers or () if s.host == incident.host}
    return tuple(
        replace(
            vm,
            status=VmStatus.WAITING,
            vm_state=there[vm.server_id].vm_state,
            task_state=there[vm.server_id].task_state,
            dest=None,
            attempts=0,
            not_before=0.0,
            reason="",
            wish=original.wish(there[vm.server_id]),
            reset_to="",
            acted="",
            started=None,
            finished=None,
        )
        for vm in incident.vms
        if vm.status in OVER and vm.server_id in there
    )


def stays(step: Step, facts: Facts) -> bool:
    """Tell whether a step follows a VM that Nova still places on the host."""
    there = {s.id for s in facts.servers or () if s.host == facts.host}
    return isinstance(step, FollowVm) and step.record.server_id in there


def starts(vm: VmRecord) -> int:
    """Return how often it has been started on its own host: that host is its `dest` since."""
    return vm.attempts if vm.dest == vm.old_host else 0


def _last(facts: Facts, vm: VmRecord) -> Migration | None:
    own = [m for m in facts.migrations or () if m.server_id == vm.server_id]
    return max(reversed(own), key=lambda m: m.created, default=None)


def _elsewhere(found: Homecoming, vm: VmRecord) -> None:
    """Take note of a VM that Nova has moved already, and that is not well there yet."""
    if vm.status in IN_FLIGHT or vm.status is VmStatus.WAITING:
        found.waiting.append(vm.name)
    else:
        found.left.append(f"{vm.name} ({vm.reason})")


def _on_its_way(vm: VmRecord, server: Server, now: float, back: float, policy: Policy) -> bool:
    if starts(vm) and not policy.due(vm.not_before, now):
        return True
    return bool(server.task_state) and now < max(vm.not_before, back) + policy.stuck_after


def _is_back(vm: VmRecord, server: Server, believed: bool) -> bool:
    """Tell whether it is what it was, or may stay as its owner has it now.

    Nova goes on calling a VM active that died with its host, with its old power state, for up to
    ten minutes: it is `believed` once we have started the VM, or if that is for a person to do.
    """
    if server.task_state:
        return False
    state = server.vm_state
    if state == "active":
        return believed and server.power != original.OFF and original.action(vm, state) is None
    return state == original.wanted(vm) or (state == vm.vm_state and state in AS_IT_WAS)


def _start(
    found: Homecoming, vm: VmRecord, server: Server, last: Migration | None, policy: Policy
) -> None:
    why = _cannot(vm, server, last, policy)
    if not why:
        found.waiting.append(vm.name)
        found.steps.append(_start_step(vm, server))
        return
    found.left.append(f"{vm.name} ({why})")
    pending = replace(vm, status=VmStatus.PENDING, reason=why)
    if pending != vm:
        found.steps.append(FollowVm(pending, f"{vm.name}: {why}"))


def _start_step(vm: VmRecord, server: Server) -> Step:
    """Return the step that brings it nearer to what it was."""
    action = original.action(vm, server.vm_state) if server.vm_state == "active" else None
    if server.vm_state == "error" and original.wanted(vm) == "stopped":
        action = "stop"
    if action is None:
        return RestartVm(vm)
    return RestoreVm(replace(vm, dest=vm.old_host, attempts=starts(vm) + 1), action)


def _half(vm: VmRecord, last: Migration | None) -> str | None:
    """Return where its evacuation failed half-way, so that it may exist there."""
    return vm.may_run_on or (last.dest if last is not None and last.status == FAILED else None)


def _cannot(vm: VmRecord, server: Server, last: Migration | None, policy: Policy) -> str:
    """Return why a VM must not be started on its own host, or nothing."""
    host = vm.old_host
    half = _half(vm, last)
    checks: tuple[tuple[Callable[[], bool], str], ...] = (
        (
            lambda: bool(half),
            f"its evacuation to {half} failed half-way, so it may exist there",
        ),
        (
            lambda: bool(server.task_state),
            f"its task '{server.task_state}' on {host} makes no progress",
        ),
        (lambda: not server.launched, "was never started; delete it or build it again"),
        (
            lambda: server.vm_state not in RESTARTABLE,
            f"is {server.vm_state}, was {vm.vm_state} before",
        ),
        (
            lambda: starts(vm) >= policy.quick_attempts,
            f"could not be started on {host} in {starts(vm)} attempts: "
            f"{server.fault or 'see the log of its nova-compute'}",
        ),
    )
    return next((text for applies, text in checks if applies()), "")
