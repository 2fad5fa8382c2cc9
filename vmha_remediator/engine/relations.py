# SPDX-License-Identifier: Apache-2.0
"""Looking up the servers elsewhere that VMs of a failed host depend on."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from oslo_log import log
from oslo_utils import uuidutils

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.ports import Cloud
from vmha_remediator.errors import CloudRefused
from vmha_remediator.remedy import order
from vmha_remediator.remedy.facts import Server
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.policy import Policy

LOG = log.getLogger(__name__)

#: One look-up serves all plans within this time, in seconds.
LOOK_FOR = 2.0


class Relations:
    """Finds servers by the names and ids that others have in `vmha:depends-on`."""

    def __init__(self, cloud: Cloud, clock: Clock, policy: Policy) -> None:
        self._cloud, self._clock, self._policy = cloud, clock, policy
        self._found: dict[str, tuple[float, list[Server]]] = {}
        self._lock = threading.Lock()

    def look(self, incident: Incident, servers: Iterable[Server]) -> tuple[Server, ...]:
        """Return the servers that are named and not among `servers`; raises `CloudUnavailable`."""
        with self._lock:
            now = self._clock.monotonic()
            self._found = {k: v for k, v in self._found.items() if now - v[0] < LOOK_FOR}
            refs = order.unresolved(incident, servers, self._policy)
            for ref in refs:
                if ref not in self._found:
                    self._found[ref] = (now, self._called(ref))
            found = {s.id: s for ref in refs for s in self._found[ref][1]}
        return tuple(found.values())

    def _called(self, ref: str) -> list[Server]:
        try:
            if uuidutils.is_uuid_like(ref):
                server = self._cloud.server(ref)
                return [] if server is None else [server]
            return self._cloud.called(ref)
        except CloudRefused as exc:
            LOG.warning("the server '%s', on which others depend, is not looked up: %s", ref, exc)
            return []
