# SPDX-License-Identifier: Apache-2.0
"""A policy file that cannot decide is found when the service starts, not at every request."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from oslo_policy import policy

from vmha_remediator import conf as config
from vmha_remediator.api import policies
from vmha_remediator.errors import ConfigError


def enforcer(folder: Path, rules: str | None) -> policy.Enforcer:
    """Return the enforcer of a file with these rules; None: the file is not there."""
    file, options = folder / "policy.yaml", folder / "vmha.conf"
    if rules is not None:
        file.write_text(rules)
    options.write_text(f"[oslo_policy]\npolicy_file = {file}\n")
    return policies.make_enforcer(config.load(config_files=[str(options)]))


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (None, "there is no such file"),
        ("nonsense", "it is no table of rules"),
        ("vmha_reader: [", "it is no table of rules"),
        ("vmha_reader: 3", "it is no table of rules"),
        ("vmha_reader: who ever", "vmha_reader: 'who ever' is no rule"),
        ("vmha_reader: rule:nobody", "rules lead to none, or round"),
        ("vmha_reader: rule:vmha_reader", "rules lead to none, or round"),
    ],
)
def test_it_is_refused_with_the_file_and_the_way_out(
    tmp_path: Path, rules: str | None, says: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        enforcer(tmp_path, rules)
    text = str(refused.value)
    assert text.startswith(f"[oslo_policy] policy_file: {tmp_path}/policy.yaml: ")
    assert says in text
    assert "take the option out" in text


def test_a_file_that_nobody_named_need_not_be_there() -> None:
    assert policies.make_enforcer(config.load(config_files=[])).rules


def test_rules_of_its_own_are_taken_and_a_rule_for_nobody_is_one(tmp_path: Path) -> None:
    found = enforcer(tmp_path, "team: role:ha\nvmha_reader: rule:team\nvmha:hosts:release: '!'")
    assert found.enforce("vmha:hosts:list", {}, {"roles": ["ha"]})
    assert not found.enforce("vmha:hosts:release", {}, {"roles": ["admin"]})


def test_a_misspelt_rule_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        enforcer(tmp_path, "vmha:hosts:lst: role:ha")
    assert "nothing asks for the rule vmha:hosts:lst" in caplog.text
