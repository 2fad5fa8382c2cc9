# SPDX-License-Identifier: Apache-2.0
"""Telling over the network, beside the engine: a mail server that hangs delays no recovery."""

from __future__ import annotations

import queue
import threading

from oslo_log import log

from vmha_remediator.effects.report import Reporter
from vmha_remediator.remedy.incident import Change

LOG = log.getLogger(__name__)

#: Changes that wait to be told; what comes on top is logged as not told.
MOST = 1000
#: Seconds that a service which stops gives its reports under way.
PATIENCE = 15.0


class Aside:
    """Hands changes to another reporter in a thread of its own, in their order.

    What waits in it is lost with the process; the log has every change in any case.
    """

    def __init__(self, reporter: Reporter, name: str) -> None:
        self._reporter, self._name = reporter, name
        self._waiting: queue.Queue[Change | None] = queue.Queue(MOST)
        self._thread = threading.Thread(target=self._run, name=f"report-{name}", daemon=True)
        self._thread.start()

    def report(self, change: Change) -> None:
        """Take a change in; never waits."""
        try:
            self._waiting.put_nowait(change)
        except queue.Full:
            LOG.error(
                "incident %s: %s is not told by %s, %d changes wait there already",
                change.incident_id, change.after, self._name, MOST,
            )  # fmt: skip

    def close(self) -> None:
        """Let what waits be told, for a while."""
        try:
            self._waiting.put(None, timeout=1.0)
        except queue.Full:
            return
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while (change := self._waiting.get()) is not None:
            try:
                self._reporter.report(change)
            except Exception as exc:  # the rim: somebody else's code, and the next must be told
                LOG.error(
                    "incident %s: %s could not be told by %s: %s",
                    change.incident_id, change.after, self._name, type(exc).__name__,
                )  # fmt: skip
                LOG.debug("why", exc_info=True)
