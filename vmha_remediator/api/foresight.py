# SPDX-License-Identifier: Apache-2.0
"""N+1 as things are now: which hosts could take VMs, and what that means for each of them."""

from __future__ import annotations

from vmha_remediator.api.backend import Backend
from vmha_remediator.errors import CloudUnavailable
from vmha_remediator.remedy import capacity
from vmha_remediator.remedy.capacity import Outlook
from vmha_remediator.rules.judge import may_hold

#: Seconds that a request waits for Placement's books when nobody has read them lately. Few: the
#: same threads answer webhooks.
WAIT = 0.5
UNKNOWN = "not known"


def foresee(backend: Backend, wait: float = WAIT) -> tuple[Outlook, ...]:
    """Return the outlook of every host with protected VMs; raises `CloudUnavailable`.

    As destinations count those that the engine would take: well by the evidence, without an open
    incident, enabled. One in maintenance does not count: it is to be left alone.
    """
    look = backend.view.look()
    if look.services is None:
        raise CloudUnavailable("Nova's services cannot be listed now")
    sights = look.sights or {}
    troubled = {
        host for host, sight in sights.items() if sight.standing or may_hold(sight.verdicts)
    }
    troubled |= {incident.host for incident in backend.store.incidents(active_only=True)}
    troubled |= set(backend.store.maintenance())
    able = capacity.takers(look.services.values(), troubled, backend.policy)
    return capacity.outlooks(backend.view.space(wait), able, backend.policy)
