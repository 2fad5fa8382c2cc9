# SPDX-License-Identifier: Apache-2.0
"""[rules]: where the rule files are and the numbers that they compare with."""

from __future__ import annotations

from oslo_config import cfg

from vmha_remediator.errors import ConfigError, RuleError
from vmha_remediator.rules import model, templates, timing

GROUP = "rules"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "directory",
        help="Folder of rule files (*.yaml) used instead of the packaged ones; alarms and "
        "engine read the same. Wrong or with a rule that cannot be trusted: nothing starts, "
        "and the message names the file.",
    ),
    cfg.FloatOpt(
        "heartbeat_age",
        default=model.Thresholds.heartbeat_age,
        min=model.MIN_HEARTBEAT_AGE,
        help="Seconds without a heartbeat after which a host counts as not heard. Too low: "
        "slow hosts are suspected, though none fails by this alone. Too high: every "
        "detection is as much later. Run 'vmha-manage alarms sync' after a change.",
    ),
    cfg.FloatOpt(
        "lease_age",
        default=model.Thresholds.lease_age,
        min=model.MIN_LEASE_AGE,
        help="Seconds without a renewed storage lease after which a host counts as gone from "
        "the storage. Too low: a slow array looks like lost storage. Too high: every "
        "detection is as much later. Run 'vmha-manage alarms sync' after a change.",
    ),
    cfg.IntOpt(
        "witnesses",
        default=model.Thresholds.witnesses,
        min=1,
        help="Qualified witnesses that must stand behind a host's failure; falls to 1 by "
        "itself in a cluster of fewer than three agents. Too low: one mistaken witness is "
        "believed. More than the agents can offer (3): no failure is ever recognised.",
    ),
]


def thresholds(conf: cfg.ConfigOpts, agents: int = 0) -> model.Thresholds:
    """Return the thresholds in force in a cluster of `agents` hosts (0: not known).

    Raises `ConfigError` when they cannot work.
    """
    group = conf[GROUP]
    try:
        limits = model.Thresholds(group.heartbeat_age, group.lease_age, group.witnesses)
        timing.check(limits, timing.Intervals())
    except RuleError as exc:
        raise ConfigError(f"[{GROUP}]: {exc}") from exc
    return limits.for_cluster(agents)


def load_rules(conf: cfg.ConfigOpts) -> tuple[model.Template, ...]:
    """Return the rules in force; raises `RuleError` naming every one that cannot be trusted."""
    return templates.load(conf[GROUP].directory, thresholds(conf))
