# SPDX-License-Identifier: Apache-2.0
"""VMs that cannot be run again elsewhere as they were, known before anything fails.

The table follows what Nova 34 refuses to evacuate (`nova.compute.api.API.evacuate`); what needs
no more than newer nova-computes (accelerators of a flavor, extended resource requests) is not in
it. A newer Nova may be able to do more: then the row goes.

Of a VM's ports and shares a failure knows nothing before Nova refuses. What it then says is found
in the table, too, and it is not asked again: it would say the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmha_remediator.remedy.facts import Server

#: Kinds of ports that carry an accelerator (nova.network.model.VNIC_TYPE_ACCELERATOR_*).
ACCELERATED = frozenset({"accelerator-direct", "accelerator-direct-physical"})
SHARED = "shared"
LOCAL = "local"

#: What a person can do once the host has failed; the advice is for the time before.
NOW = ". To have it run again, bring its host back: it is started there"


@dataclass(frozen=True)
class Hindrance:
    """One thing that keeps a VM on its host, and what its owner can do about it."""

    holds: Callable[[Server, str], bool]  # of a server, and where disks are kept
    why: str
    advice: str
    refusal: str = ""  # Nova's words when it is asked all the same

    @property
    def sentence(self) -> str:
        """Return what a person is told."""
        return f"{self.why}; {self.advice}"


def _tpm(server: Server, disks: str) -> bool:
    wanted = (server.extra_specs.get("hw:tpm_version"), server.image_properties.get(_TPM))
    return any(wanted)


_TPM = "hw_tpm_version"

HINDRANCES: tuple[Hindrance, ...] = (
    Hindrance(
        _tpm,
        "it has a virtual TPM, whose secrets are on its host: Nova does not evacuate it",
        "use a flavor and an image without hw:tpm_version",
        "not supported for vTPM-enabled instance",
    ),
    Hindrance(
        lambda server, disks: server.shares,
        "it has a share attached: Nova does not evacuate it",
        "mount the share from within the guest instead",
        "Feature not supported with instances that have shares",
    ),
    Hindrance(
        lambda server, disks: bool(server.vnic_types & ACCELERATED),
        "it has a port with an accelerator: Nova does not evacuate it",
        "use a port without one",
        "Feature not supported with Ports that have accelerators",
    ),
    Hindrance(
        lambda server, disks: disks == LOCAL and not server.on_volume,
        "its disk is on its host alone: Nova would build it anew from its image, and all that it "
        "wrote would be lost",
        "boot it from a volume",
    ),
)


def why(server: Server, disks: str = SHARED) -> str:
    """Return why a server cannot be run again elsewhere, or nothing.

    `disks` says where nova-computes keep disks that are not volumes: "shared" or "local".
    """
    return next((h.sentence for h in HINDRANCES if h.holds(server, disks)), "")


def refused(text: str) -> str:
    """Return why Nova will go on refusing a VM, by the words of its refusal, or nothing."""
    found = next((h for h in HINDRANCES if h.refusal and h.refusal in text), None)
    return f"{found.sentence}{NOW}" if found else ""


def told(reason: str) -> str:
    """Return the reason in a VM's record, if it is one for which Nova has refused it."""
    return reason if reason in {f"{h.sentence}{NOW}" for h in HINDRANCES} else ""
