# SPDX-License-Identifier: Apache-2.0
"""Telling programs: oslo.messaging notifications."""

from __future__ import annotations

from typing import Any

import oslo_messaging
from oslo_config import cfg

from vmha_remediator.effects.report import ALARMING
from vmha_remediator.errors import ConfigError
from vmha_remediator.remedy.incident import Change

EVENT = "vmha.incident"


def payload(change: Change) -> dict[str, Any]:
    """Return a change as a notification holds it; times in seconds since the epoch."""
    return {
        "incident": change.incident_id,
        "change": change.id,
        "host": change.host,
        "rule": change.rule,
        "severity": change.severity,
        "time": change.time,
        "before": str(change.before) if change.before else None,
        "state": str(change.after),
        "sentence": change.sentence,
        "may_have_been_told_before": change.again,
    }


class Notifications:
    """oslo.messaging notifications, one a change: event type vmha.incident.STATE."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Raises `ConfigError` for an address that no transport fits."""
        try:
            transport = oslo_messaging.get_notification_transport(
                conf, url=conf.report.notification_url
            )
        except Exception as exc:
            raise ConfigError(
                f"[report] notification_url cannot be used: {type(exc).__name__}"
            ) from exc
        self._notifier = oslo_messaging.Notifier(
            transport,
            publisher_id="vmha-engine",
            driver="messagingv2",
            topics=[conf.report.notification_topic],
            retry=2,
        )

    def report(self, change: Change) -> None:
        """Send it; a warning or an information, as the log has it."""
        send = self._notifier.warn if change.after in ALARMING else self._notifier.info
        send({}, f"{EVENT}.{change.after}", payload(change))
