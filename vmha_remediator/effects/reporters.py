# SPDX-License-Identifier: Apache-2.0
"""Everybody who is told of a change, as [report] says; libraries are loaded when they are used."""

from __future__ import annotations

from oslo_config import cfg

from vmha_remediator.effects.report import LogReporter, Reporter, Reporters
from vmha_remediator.effects.report_aside import Aside


def make_reporters(conf: cfg.ConfigOpts) -> Reporters:
    """Return everybody who is to be told; raises `ConfigError`."""
    reporters: list[Reporter] = [LogReporter()]
    if conf.report.notification_url:
        from vmha_remediator.effects.report_notify import Notifications

        reporters.append(Aside(Notifications(conf), "notification"))
    if conf.report.apprise_file:
        from vmha_remediator.effects.report_apprise import Apprise

        made = Apprise(conf.report.apprise_file, conf.report.apprise_states, conf.report.timeout)
        reporters.append(Aside(made, "apprise"))
    return Reporters(reporters)
