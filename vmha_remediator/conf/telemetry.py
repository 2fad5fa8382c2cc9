# SPDX-License-Identifier: Apache-2.0
"""[telemetry]: how Gnocchi and Aodh are read, and how often evidence is published."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "telemetry"

OPTS: list[cfg.Opt] = [
    cfg.FloatOpt(
        "timeout",
        default=3.0,
        min=0.1,
        help="Seconds that one request to Gnocchi or Aodh may take. Too low: a slow answer "
        "counts as none, so that no verdict is reached and nothing is done. Too high: the "
        "engine stands still as long while telemetry hangs.",
    ),
    cfg.StrOpt(
        "gnocchi_endpoint",
        help="Address of Gnocchi's API, when the one in Keystone's catalogue must not be used. "
        "Wrong: no measures are read, hence no verdicts, and every cycle says so.",
    ),
    cfg.StrOpt(
        "aodh_endpoint",
        help="Address of Aodh's API, when the one in Keystone's catalogue must not be used. "
        "Wrong: alarms cannot be synced or listed; webhooks still work.",
    ),
    cfg.IntOpt(
        "publish_interval",
        default=2,
        min=1,
        help="Seconds between two publications of a suspect host, written into polling.yaml by "
        "'vmha-manage telemetry render'. Too high: every detection is as much later.",
    ),
    cfg.FloatOpt(
        "aodh_interval",
        default=2.0,
        min=0.1,
        help="Aodh's own [evaluator] evaluation_interval in seconds, which cannot be asked for. "
        "Only used to say how long a detection takes; wrong: that number is wrong.",
    ),
]
