# SPDX-License-Identifier: Apache-2.0
"""Cells: Nova runs a VM again only in the cell of its dead host, and no API says which that is.

Nova's scheduler keeps to the cell by itself. A host of another one that is *named* is refused, and
that is how it becomes known: the journal has it, and no VM of the incident is sent there again.
"""

from __future__ import annotations

import re

from vmha_remediator.remedy.incident import Incident

#: What the journal says of a host, after its name.
FOREIGN = "is in another cell"
_TOLD = re.compile(rf"(\S+) {FOREIGN}")


def refusal(host: str) -> str:
    """Return how it is told that Nova will not evacuate to a host."""
    return f"{host} {FOREIGN} than the VM: Nova evacuates within one cell only"


def foreign(incident: Incident) -> frozenset[str]:
    """Return the hosts that Nova has refused in this incident because of their cell."""
    failed = (step.sentence for step in incident.steps if step.ok is False)
    return frozenset(found[1] for text in failed if (found := _TOLD.search(text)))
