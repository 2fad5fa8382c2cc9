# SPDX-License-Identifier: Apache-2.0
"""Server groups: members that must not meet on one host leave the dead one one by one.

Nova's scheduler counts a member on its new host only once it is there. Two that move at the same
time may be given the same host; a strict group then refuses one, and a soft one keeps both there.
"""

from __future__ import annotations

from collections.abc import Iterable

from vmha_remediator.remedy.facts import ServerGroup

#: Policies by which members avoid each other.
APART = frozenset({"anti-affinity", "soft-anti-affinity"})
#: Policies that Nova enforces; the others are wishes.
STRICT = frozenset({"anti-affinity", "affinity"})
#: The policy under which Nova goes on counting the dead host as the one to be on.
TOGETHER = "affinity"


class Turns:
    """Whose turn it is within one plan; `moving` are the ids of servers on their way."""

    def __init__(self, known: Iterable[ServerGroup], moving: Iterable[str]) -> None:
        self._apart = [group for group in known if group.policy in APART]
        self._moving = set(moving)

    def rival(self, server_id: str) -> str:
        """Return what a server has to wait for, in words, or nothing."""
        for group in self._apart:
            others = (group.members - {server_id}) & self._moving
            if server_id in group.members and others:
                return f"another member of its {group.policy} group '{group.name}' to arrive"
        return ""

    def take(self, server_id: str) -> None:
        """Count a server as on its way."""
        self._moving.add(server_id)


def together(known: Iterable[ServerGroup], server_id: str) -> str:
    """Return why a strict affinity group keeps a server from being placed, or nothing."""
    group = next((g for g in known if g.policy == TOGETHER and server_id in g.members), None)
    if group is None:
        return ""
    return (
        f"; its server group '{group.name}' is strict affinity, so Nova wants it on the host that "
        f"is dead: openstack server group delete {group.id} (the VMs stay, the group is lost)"
    )
