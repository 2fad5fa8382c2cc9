# SPDX-License-Identifier: Apache-2.0
"""Opening incidents: which verdict is told or acted on at once, which must stand for a while."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oslo_log import log

from vmha_remediator.effects.clock import Clock
from vmha_remediator.engine.judged import Judged
from vmha_remediator.engine.watch import Watch, flapping
from vmha_remediator.remedy.cluster import SILENT
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.rules.judge import Verdict
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)

#: An onset that an engine of before has counted; how long it has stood then is not known.
_COUNTED = ("", 0.0)


@dataclass
class Opening:
    """Makes incidents of verdicts; only hints are kept, a restart waits anew.

    That a host has got into a situation is counted in the store, once, whoever leads.
    """

    store: Store
    clock: Clock
    watch: Watch
    policy: Policy

    def __post_init__(self) -> None:
        self._silent: set[str] = set()
        self._young: dict[str, tuple[str, float]] = {}  # host -> rule, since when it stands
        self._epoch: int | None = None

    def watched(self, epoch: int, left_alone: Iterable[str]) -> frozenset[str]:
        """Return the hosts that are in a situation of which no incident tells yet.

        Who begins to lead goes on with those of before; hosts `left_alone` are dropped.
        """
        if epoch != self._epoch:
            self._young = dict.fromkeys(self.store.standing_onsets(), _COUNTED)
            self._epoch = epoch
        for host in self._young.keys() & {*left_alone}:
            self._over(host, epoch)
        return frozenset(self._young)

    def consider(self, host: str, found: Judged, known: bool, epoch: int) -> bool:
        """Open an incident where one is due; tell whether to look again in the next cycle.

        `known`: the host is one of those that publish.
        """
        standing = found.standing
        if standing is None or standing.rule == SILENT:
            self._over(host, epoch)
            if standing is not None and not known:
                self._note_silence(host)
            return False
        self._silent.discard(host)
        if self.watch.explains(standing.rule):
            return True  # one report for all of them, not one each
        unseen = self._young.get(host, _COUNTED) is _COUNTED
        if standing.action != "recover" and unseen and self._flaps(standing, epoch):
            return False
        if self._is_young(standing):
            return True
        self.open(standing, epoch)
        return False

    def open(self, standing: Verdict, epoch: int) -> None:
        """Open an incident of this verdict now."""
        self._young.pop(standing.host, None)
        incident = self.store.open_incident(
            standing.host,
            standing.rule,
            standing.action,
            standing.severity,
            standing.evidence,
            epoch=epoch,
        )
        LOG.info("incident %s opened: %s", incident.id, standing.evidence)

    def _over(self, host: str, epoch: int) -> None:
        """Note that a host is out of its situation, or that nobody looks at it any more."""
        if host in self._young:
            self.store.end_onset(host, epoch=epoch)
            del self._young[host]

    def _flaps(self, standing: Verdict, epoch: int) -> bool:
        """Count that a host has got into a situation; tell whether it is told as flapping."""
        policy = self.policy
        if not policy.flap_after:
            return False
        self._young.setdefault(standing.host, _COUNTED)  # to be ended, should what follows fail
        onsets = self.store.count_onset(standing.host, policy.flap_window, epoch=epoch)
        if len(onsets) < policy.flap_after:
            return False
        self.open(flapping(standing, onsets), epoch)
        return True

    def _is_young(self, standing: Verdict) -> bool:
        """Tell whether a verdict that is only reported may still turn into another one.

        A host that loses power looks partitioned from the moment its heartbeat is missed until
        its lease is old, too. Only a hint is kept here: after a restart the wait begins anew.
        """
        if standing.action == "recover":
            self._young.pop(standing.host, None)
            return False
        now = self.clock.monotonic()
        rule, since = self._young.get(standing.host, ("", now))
        if rule != standing.rule:
            since = now
        self._young[standing.host] = (standing.rule, since)
        return now - since < self.policy.report_after

    def _note_silence(self, host: str) -> None:
        """Say once that a name which nobody knows has no measures; a host's silence is told."""
        if host not in self._silent:
            self._silent.add(host)
            LOG.warning(
                "%s: telemetry is silent, so there is no verdict and nothing is done", host
            )
