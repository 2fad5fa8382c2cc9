# SPDX-License-Identifier: Apache-2.0
"""[cluster]: when something is wrong with most hosts at once, which is one situation."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "cluster"

OPTS: list[cfg.Opt] = [
    cfg.FloatOpt(
        "share",
        default=0.5,
        min=0.0,
        max=0.99,
        help="Share of the hosts; when more are in the same trouble (two at least), it is told "
        "once, of the cluster. Too low: two hosts' own troubles are taken for an outage, and "
        "failures are held meanwhile. Too high: an outage is told host by host.",
    ),
    cfg.FloatOpt(
        "scan_interval",
        default=10.0,
        min=1.0,
        help="Seconds between two looks at the measures of all hosts while nobody is suspect: "
        "one request for 200 hosts. Longer: silence is found that much later.",
    ),
    cfg.FloatOpt(
        "report_after",
        default=10.0,
        min=0.0,
        help="Seconds for which a storage or network outage must stand before it is told. Too "
        "short: many hosts that fail at once look like an outage first. Too long: meanwhile "
        "reports that it would explain are only put off, but failures are believed.",
    ),
    cfg.FloatOpt(
        "unreachable_after",
        default=30.0,
        min=0.0,
        help="Seconds for which Aodh or Gnocchi must not have answered before that is told. Too "
        "short: every restart of them is told. Too long: nobody knows that nobody is protected.",
    ),
    cfg.FloatOpt(
        "evaluator_after",
        default=90.0,
        min=0.0,
        help="Seconds without any evaluation of an alarm, though Aodh's API answers, or with an "
        "alarm that contradicts the measures, before that is told of aodh-evaluator. Not longer "
        "than Aodh's [evaluator] evaluation_interval (60 s unless set): told though all is well. "
        "Too long: nobody knows that nobody is protected. 0: never told.",
    ),
    cfg.FloatOpt(
        "compute_after",
        default=30.0,
        min=0.0,
        help="Seconds for which Nova must have called a nova-compute down, on a host that is "
        "heard, before that is told; Nova's service_down_time comes before it. Too short: every "
        "host that boots is told. Too long: it is noticed late that nobody can manage VMs there.",
    ),
    cfg.FloatOpt(
        "silent_after",
        default=60.0,
        min=0.0,
        help="Seconds for which a host, or most hosts, must be without measures before that is "
        "told; the window that is read, about 25 s, comes on top. Too short: every restart of "
        "the message bus is told. Too long: hosts that nobody watches are noticed late.",
    ),
]
