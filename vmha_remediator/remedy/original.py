# SPDX-License-Identifier: Apache-2.0
"""What a VM was before its host failed, and how it gets back there, as tables.

The journal says what it was; what to do next follows from that and from what Nova says it is
now, so an engine that died in between goes on where the VM is.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmha_remediator.remedy.facts import Server
from vmha_remediator.remedy.incident import VmRecord

SHELVED = "shelved"
#: nova.compute.power_state.SHUTDOWN.
OFF = 4

#: What a task that died with its host was about to make of the VM: that is what was wanted.
MEANT: Mapping[str, str] = {
    "powering-off": "stopped",
    "powering-on": "active",
    "rebooting": "active",
    "reboot_pending": "active",
    "reboot_started": "active",
    "reboot_pending_hard": "active",
    "rebooting_hard": "active",
    "reboot_started_hard": "active",
    "pausing": "paused",
    "unpausing": "active",
    "suspending": "suspended",
    "resuming": "active",
    "rescuing": "rescued",
    "unrescuing": "active",
    "shelving": "stopped",
    "shelving_image_pending_upload": "stopped",
    "shelving_image_uploading": "stopped",
}

#: States that a VM is brought back into; one that was anything else is to run.
KEPT = frozenset({"stopped", "paused", "suspended", "rescued"})

#: (what it is, what it was) -> what to ask Nova for. What is absent needs nothing more: it is
#: there, or somebody has already made something else of it.
NEXT: Mapping[tuple[str, str], str] = {
    ("stopped", "active"): "start",
    ("stopped", "paused"): "start",
    ("stopped", "suspended"): "start",
    ("stopped", "rescued"): "rescue",
    ("active", "paused"): "pause",
    ("active", "suspended"): "suspend",
    ("active", "rescued"): "rescue",
    ("active", "stopped"): "stop",
}

#: How a sentence says that a VM is there.
IS: Mapping[str, str] = {
    "active": "runs on",
    "stopped": "is stopped on",
    "paused": "is paused on",
    "suspended": "is suspended on",
    "rescued": "is rescued on",
}

#: What could not be kept of a VM that was so.
LOST: Mapping[str, str] = {
    "paused": "it was paused: what was in its memory is lost, it was booted and paused again",
    "suspended": "it was suspended: the memory it had saved is lost, it was booted and suspended "
    "again",
    "rescued": "it was rescued: it is rescued again, from Nova's default image and with another "
    "password",
    "resized": "it waited for its resize to be confirmed: it was confirmed, for the host to go "
    "back from is dead",
    "error": "it was in error before its host failed",
}


def wish(server: Server) -> str:
    """Return the state that a server is to have in the end: "active" unless it was quiet."""
    if server.vm_state == "resized":
        return "stopped" if server.power == OFF else "active"
    return _wish(server.vm_state, server.task_state)


def wanted(vm: VmRecord) -> str:
    """Return what was written down as the wish for a VM; older records have only its state."""
    return vm.wish or _wish(vm.vm_state, vm.task_state)


def _wish(vm_state: str, task_state: str | None) -> str:
    if vm_state == SHELVED:
        return "stopped"
    state = MEANT.get(task_state or "", vm_state)
    return state if state in KEPT else "active"


def action(vm: VmRecord, found: str) -> str | None:
    """Return what to ask Nova for next, or None when the VM may stay as it is.

    A VM that was stopped and runs is stopped only if it cannot have been its owner who started
    it: Nova starts what it evacuates from another state than "stopped".
    """
    wish = NEXT.get((found, wanted(vm)))
    by_nova = bool(vm.reset_to) or vm.attempts > 1 or vm.vm_state == SHELVED
    return None if wish == "stop" and not (by_nova or vm.acted == "stop") else wish


def caveat(vm: VmRecord, found: str) -> str:
    """Return what a person should know of a VM that is there again; mostly nothing."""
    was = wanted(vm)
    if was in LOST and found == was:
        return LOST[was]
    if was in LOST:
        return f"it was {was} before"
    return LOST.get(vm.vm_state, "")
