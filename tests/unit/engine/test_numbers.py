# SPDX-License-Identifier: Apache-2.0
"""Every number that can be configured is the one that is obeyed."""

from __future__ import annotations

from typing import Any

import pytest
from oslo_config import cfg

from vmha_remediator import conf as config
from vmha_remediator.conf import cluster, evacuation, guards
from vmha_remediator.engine.loop import make_policy, make_timing
from vmha_remediator.engine.watch import Timing
from vmha_remediator.remedy.policy import Policy

NUMBERS = [o for o in evacuation.OPTS if isinstance(o, cfg.IntOpt | cfg.FloatOpt)]


def otherwise(group: str, option: cfg.Opt) -> tuple[cfg.ConfigOpts, float]:
    """Return a configuration in which an option is not what it is by default, and its value."""
    share = (option.type.max or 2.0) <= 1.0
    value = option.default / 2 if share else option.default + 1
    conf = config.load(config_files=[])
    conf.set_override(option.name, value, group)
    return conf, value


def unusual(made: object, usual: object) -> dict[str, Any]:
    """Return what is not as usual."""
    return {name: value for name, value in vars(made).items() if value != vars(usual)[name]}


@pytest.mark.parametrize("option", guards.OPTS, ids=lambda option: option.name)
def test_guards(option: cfg.Opt) -> None:
    conf, value = otherwise(guards.GROUP, option)
    assert unusual(make_policy(conf), Policy()) == {option.name: value}


@pytest.mark.parametrize("option", NUMBERS, ids=lambda option: option.name)
def test_evacuation(option: cfg.Opt) -> None:
    conf, value = otherwise(evacuation.GROUP, option)
    assert unusual(make_policy(conf), Policy()) == {option.name: value}


@pytest.mark.parametrize("option", cluster.OPTS, ids=lambda option: option.name)
def test_cluster(option: cfg.Opt) -> None:
    conf, value = otherwise(cluster.GROUP, option)
    assert unusual(make_timing(conf), Timing()) == {option.name: value}


def test_how_long_a_vm_that_was_given_up_must_run() -> None:
    conf = config.load(config_files=[])
    conf.set_override("window", 60.0, "vm_failure")
    assert unusual(make_policy(conf), Policy()) == {"vm_window": 60.0}
