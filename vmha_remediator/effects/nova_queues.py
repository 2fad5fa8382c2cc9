# SPDX-License-Identifier: Apache-2.0
"""Where a server's evacuation waits that no destination has begun: Nova and Placement tell."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from vmha_remediator.effects import nova_parse as parse
from vmha_remediator.effects.asking import PLACEMENT_VERSION, understood
from vmha_remediator.effects.nova_api import MIN_VERSION, PAGE, NovaApi, Version

#: From 2.88 on hypervisors no longer show how much is free.
HYPERVISORS: Version = (2, 87)


class NovaQueues(NovaApi):
    """Reading what Nova's conductor has done, and which hosts its scheduler has claimed."""

    @understood
    def queued_at(self, server_id: str, source: str) -> frozenset[str]:
        """Return the hosts one of which has a server's latest evacuation in its queue.

        Its record names none before it is begun, but by then the scheduler has claimed in
        Placement what the server takes there. Claims of earlier requests stay, so that there may
        be more hosts than that one, never fewer. `source` is left out. Empty: not known, since
        Nova's conductor is not through with it, or a claim is on what is no host.
        """
        path = f"/servers/{quote(server_id)}/os-instance-actions"
        actions = self._json("GET", path, MIN_VERSION)["instanceActions"]
        request = parse.last_evacuation(actions)
        if request is None:
            return frozenset()
        action = self._json("GET", f"{path}/{quote(request)}", MIN_VERSION)["instanceAction"]
        if not parse.is_cast(action):
            return frozenset()
        hosts = self.hypervisors()
        roots = self._claimed(server_id)
        if not roots <= hosts.keys():
            return frozenset()
        return frozenset(hosts[root] for root in roots) - {source}

    def _claimed(self, server_id: str) -> set[str]:
        """Return the topmost providers of what a server takes: hypervisors, and shared storage."""
        claims = self._of_placement(f"/allocations/{quote(server_id)}")["allocations"]
        providers = (self._of_placement(f"/resource_providers/{quote(p)}") for p in claims)
        return {str(provider["root_provider_uuid"]) for provider in providers}

    def _of_placement(self, path: str) -> Any:
        answer = self._request("placement", "GET", path, microversion=PLACEMENT_VERSION)
        return self._body(answer, "placement")

    @understood
    def hypervisors(self) -> dict[str, str]:
        """Return the host of each hypervisor by its id, which is also its id in Placement."""
        pages = self._pages(f"/os-hypervisors/detail?limit={PAGE}", "hypervisors", HYPERVISORS)
        return {str(raw["id"]): str(raw["service"]["host"]) for raw in pages}
