# SPDX-License-Identifier: Apache-2.0
"""[engine]: how often the engine looks, who leads, and how much it does at a time."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "engine"

OPTS: list[cfg.Opt] = [
    cfg.FloatOpt(
        "interval",
        default=2.0,
        min=0.2,
        help="Seconds between two looks at Aodh's alarms when nothing happens. Longer: a lost "
        "webhook costs that much time. Shorter: more API calls.",
    ),
    cfg.FloatOpt(
        "active_interval",
        default=0.5,
        min=0.1,
        help="Seconds between two looks while an incident is being worked on, and between two "
        "looks for doorbells of an API in another process.",
    ),
    cfg.IntOpt(
        "workers",
        default=16,
        min=1,
        max=256,
        help="Incidents worked on at the same time, one thread each. Fewer than hosts fail at "
        "once: the others wait until a fencing or an evacuation round is over.",
    ),
    cfg.StrOpt(
        "coordination_url",
        default="file:///var/lib/vmha/coordination",
        help="tooz URL by which replicas find their leader (file://DIR, etcd3+http://HOST:2379, "
        "redis://HOST:6379). A file is right for engines on one machine only; on another one an "
        "engine stands by for as long as the database shows the first one's life, and says so. "
        "Unreachable: the leader goes on, nobody takes over, and every cycle says so. A killed "
        "leader's lock lasts for 15 s (lock_timeout=15 in the URL); too short: the lead wanders.",
    ),
    cfg.StrOpt(
        "name",
        help="Name of this engine in logs and in the database (default: host name and process "
        "id). The same name twice: harmless, but logs cannot be told apart.",
    ),
]
