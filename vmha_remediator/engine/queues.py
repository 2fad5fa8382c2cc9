# SPDX-License-Identifier: Apache-2.0
"""Looking where evacuations wait that no destination has begun: its record names none until then.

It is asked only of what waits for long, or while another host is off, which may be that one.
"""

from __future__ import annotations

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.ports import Cloud
from vmha_remediator.errors import CloudRefused, CloudUnavailable
from vmha_remediator.remedy import vms
from vmha_remediator.remedy.facts import Facts, Migration
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.policy import Policy

LOG = log.getLogger(__name__)

#: What could not be told is asked for again after so long, in seconds.
PAUSE = 5.0


class Queues:
    """Looks at queues; what is found once holds, for a request never leaves its queue unbegun."""

    def __init__(self, cloud: Cloud, clock: Clock, policy: Policy) -> None:
        self._cloud, self._clock, self._policy = cloud, clock, policy
        self._known: dict[str, frozenset[str]] = {}
        self._asked: dict[str, float] = {}
        self._trouble = ""  # what was logged last, so that it is logged once

    def look(self, incident: Incident, facts: Facts) -> dict[str, frozenset[str]]:
        """Return, by the ids of their records, which hosts may yet begin evacuations."""
        fenced = facts.cluster.fenced if facts.cluster is not None else frozenset[str]()
        long_ago = self._clock.now() - self._policy.begin_wait
        waiting = [
            record
            for record in vms.unbegun(incident, facts)
            if fenced - {incident.host} or record.created < long_ago
        ]
        for record in waiting:
            if self._due(record.id) and not self._ask(record):
                break
        return {record.id: self._known.get(record.id, frozenset()) for record in waiting}

    def _due(self, record: str) -> bool:
        now = self._clock.monotonic()
        return record not in self._known and now - self._asked.get(record, -PAUSE) >= PAUSE

    def _ask(self, record: Migration) -> bool:
        """Ask for one; False: there is no answer to be had now, and its VM waits as before."""
        self._asked[record.id] = self._clock.monotonic()
        try:
            found = self._cloud.queued_at(record.server_id, record.source)
        except (CloudUnavailable, CloudRefused) as exc:
            if str(exc) != self._trouble:
                LOG.warning("where evacuations wait that nobody has begun is not known: %s", exc)
            self._trouble = str(exc)
            return False
        self._trouble = ""
        if found:
            self._known[record.id] = found
        return True
