# SPDX-License-Identifier: Apache-2.0
"""VMs that cannot be run again elsewhere as they were, known before anything fails.

The table follows what Nova 34 refuses to evacuate (`nova.compute.api.API.evacuate`); what needs
no more than newer nova-computes (accelerators of a flavor, extended resource requests) is not in
it. A newer Nova may be able to do more: then the row goes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmha_remediator.remedy.facts import Server

#: Kinds of ports that carry an accelerator (nova.network.model.VNIC_TYPE_ACCELERATOR_*).
ACCELERATED = frozenset({"accelerator-direct", "accelerator-direct-physical"})
SHARED = "shared"
LOCAL = "local"


@dataclass(frozen=True)
class Hindrance:
    """One thing that keeps a VM on its host, and what its owner can do about it."""

    holds: Callable[[Server, str], bool]  # of a server, and where disks are kept
    why: str
    advice: str


def _tpm(server: Server, disks: str) -> bool:
    wanted = (server.extra_specs.get("hw:tpm_version"), server.image_properties.get(_TPM))
    return any(wanted)


_TPM = "hw_tpm_version"

HINDRANCES: tuple[Hindrance, ...] = (
    Hindrance(
        _tpm,
        "it has a virtual TPM, whose secrets are on its host: Nova does not evacuate it",
        "use a flavor and an image without hw:tpm_version",
    ),
    Hindrance(
        lambda server, disks: server.shares,
        "it has a share attached: Nova does not evacuate it",
        "mount the share from within the guest instead",
    ),
    Hindrance(
        lambda server, disks: bool(server.vnic_types & ACCELERATED),
        "it has a port with an accelerator: Nova does not evacuate it",
        "use a port without one",
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
    found = next((h for h in HINDRANCES if h.holds(server, disks)), None)
    return f"{found.why}; {found.advice}" if found else ""
