# SPDX-License-Identifier: Apache-2.0
"""Cells: Nova runs a VM again only in the cell of its dead host, and no API says which that is.

Nova's scheduler keeps to the cell by itself. A host of another one that is *named* is refused, and
that is how it becomes known: the journal has it, and no VM of the incident is sent there again.
"""

from __future__ import annotations

from vmha_remediator.remedy.incident import Incident

#: What is said of such a host, after its name.
FOREIGN = "is in another cell"


def foreign(incident: Incident) -> frozenset[str]:
    """Return the hosts that Nova has refused in this incident because of their cell."""
    return frozenset(step.other_cell for step in incident.steps if step.other_cell is not None)
