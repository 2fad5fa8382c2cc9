# SPDX-License-Identifier: Apache-2.0
"""[vm_failure]: single VMs that are off although they should run."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "vm_failure"

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "enabled",
        default=True,
        help="Restart protected VMs in place when their alarm on power.state rings. False: such "
        "alarms are taken and nothing is done.",
    ),
    cfg.IntOpt(
        "restarts",
        default=3,
        min=0,
        help="A VM is restarted so often within the window; then it is reported once, and left "
        "off. 0: it is only reported. Too high: a VM that cannot live is restarted all day.",
    ),
    cfg.FloatOpt(
        "window",
        default=3600.0,
        min=60.0,
        help="Seconds in which restarts count, and for which a VM that was reported must run "
        "before it is restarted again. Too short: a VM that dies every few minutes is never "
        "reported.",
    ),
    cfg.FloatOpt(
        "settle",
        default=5.0,
        min=0.0,
        help="Seconds for which a VM must be found off before it is restarted. Too short: a "
        "guest that is being rebooted by other means is disturbed.",
    ),
    cfg.IntOpt(
        "granularity",
        default=10,
        min=1,
        help="Seconds: the granularity of the archive policy that Gnocchi keeps power.state "
        "under, for the alarms that 'vmha-manage alarms sync --vms' makes. Not one of the "
        "policy's: every alarm is 'insufficient data' for ever.",
    ),
]
