# SPDX-License-Identifier: Apache-2.0
"""The rule on single VMs: what it means, what is refused, and the alarm that it becomes."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vmha_remediator.errors import RuleError
from vmha_remediator.rules import signing, templates, vm_rule
from vmha_remediator.rules.judge import State

VM = "8f7d5c1e-0000-4000-8000-000000000001"
KEY = b"0123456789abcdef"
RULE = vm_rule.load()


ALIVE = [(power, State.OK) for power in (0, 1, 2, 3, 4, 7)]
OFF = [(5, State.ALARM), (6, State.ALARM)]


@pytest.mark.parametrize(("power", "state"), [(None, State.UNKNOWN), *ALIVE, *OFF])
def test_only_a_vm_that_is_shut_off_or_crashed_is_in_alarm(
    power: float | None, state: State
) -> None:
    assert vm_rule.evaluate(RULE, power) is state


def altered(**leaf: Any) -> Any:
    """Return the rule with something else in its first leaf."""
    rule = copy.deepcopy(dict(RULE.rule))
    rule["and"][0].update(leaf)
    return replace(RULE, rule=rule)


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (altered(threshold=1), "not off (power.state 1, 2, 3, 4)"),
        (altered(comparison_operator="le"), "not off"),
        (altered(threshold=8), "can never be in alarm"),
        (altered(metric="cpu"), "metric is 'cpu'; it must be power.state"),
        (altered(resource_id="8f7d"), "it must be $server_id"),
        (altered(evaluation_periods=2), "it must be 1"),
        (altered(treshold=5), "unknown key 'treshold'"),
        (altered(threshold="5"), "threshold must be a number"),
        (altered(comparison_operator="above"), "comparison_operator must be one of"),
        (replace(RULE, rule={"and": []}), "must stand alone and hold a list"),
        (replace(RULE, rule={"and": ["x"]}), "must be a mapping"),
        (replace(RULE, action="recover"), "the action must be report"),
        (replace(RULE, severity="high"), "severity 'high'"),
        (replace(RULE, name="other"), "the name must be vm-failure"),
    ],
)
def test_a_rule_that_cannot_be_trusted_is_refused(
    template: templates.Template, complaint: str
) -> None:
    assert any(complaint in problem for problem in vm_rule.lint(template))


def test_the_packaged_rule_can_be_trusted() -> None:
    assert vm_rule.lint(RULE) == []


def test_a_folder_of_ones_own_may_bring_its_own_or_use_the_packaged_one(tmp_path: Path) -> None:
    assert vm_rule.load(tmp_path) == RULE
    (tmp_path / "vm").mkdir()
    own = tmp_path / "vm" / vm_rule.FILE
    own.write_text("name: vm-failure\n")
    with pytest.raises(RuleError, match="misses"):
        vm_rule.load(tmp_path)


def test_no_rule_on_hosts_may_take_its_name() -> None:
    (host_rule, *_) = templates.load()
    problems = templates.lint(replace(host_rule, name=vm_rule.RULE))
    assert problems == ["vm-failure: the name vm-failure belongs to the rule on single VMs"]


def body() -> dict[str, Any]:
    return vm_rule.alarm_body(RULE, VM, "web", 10, "http://ctl:8778/", KEY)


def test_the_alarm_names_its_vm_everywhere() -> None:
    alarm = body()
    assert alarm["name"] == f"vmha-vm:{VM}"
    assert alarm["repeat_actions"] is True
    assert alarm["description"].startswith("web: ")
    assert len(alarm["description"]) <= 255
    leaves = alarm["composite_rule"]["and"]
    assert {leaf["resource_id"] for leaf in leaves} == {VM}
    assert {leaf["granularity"] for leaf in leaves} == {10}


def test_its_address_is_signed_and_good_for_nothing_else() -> None:
    (url,) = body()["alarm_actions"]
    path, _, signature = url.partition("?sig=")
    assert path == f"http://ctl:8778/v1/vms/{VM}"
    assert signing.verify([KEY], vm_rule.PATH, VM, signature)
    assert not signing.verify([KEY], vm_rule.RULE, VM, signature)


def test_a_sync_makes_changes_and_prunes_and_leaves_others_alone() -> None:
    kept = body() | {"alarm_id": "1"}
    gone = body() | {"alarm_id": "2", "name": "vmha-vm:gone"}
    other = body() | {"alarm_id": "3", "name": "vmha:failure:h1"}
    plan = vm_rule.plan([kept, gone, other], [body()], prune=True)
    assert (plan.create, plan.update, plan.unchanged) == ((), (), 1)
    assert [alarm_id for alarm_id, _, _ in plan.delete] == ["2"]
    assert vm_rule.plan([kept, gone, other], [body()], prune=False).empty


@pytest.mark.parametrize("name", ["vmha:failure:h1", "vmha-vm:", "vmha-vm", "other:x", None])
def test_other_names_are_not_ours(name: object) -> None:
    assert vm_rule.parse_name(name) is None
