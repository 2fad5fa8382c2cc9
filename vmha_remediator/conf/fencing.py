# SPDX-License-Identifier: Apache-2.0
"""[fencing]: where the hosts' fencing settings are, and how long an attempt may take."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "fencing"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "hosts_file",
        default="/etc/vmha/fencing.yaml",
        help="YAML file that says how each host is powered off. Missing, or a host without an "
        "entry or with a wrong one: its failure is held for a person, its VMs stay where they "
        "are, and the log names the host and the key. No YAML at all: nothing starts.",
    ),
    cfg.IntOpt(
        "timeout",
        default=30,
        min=1,
        max=600,
        help="Seconds that one driver may take for one host, everything included. Too short: "
        "hosts whose BMC is slow are held although they go off a moment later. Too long: a dead "
        "BMC keeps the next driver in the order waiting.",
    ),
]
