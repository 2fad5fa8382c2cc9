# SPDX-License-Identifier: Apache-2.0
"""No rule that Aodh would sleep over, and none that recovers a host without proof."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from vmha_remediator.rules import templates
from vmha_remediator.rules.model import Template, Thresholds

RULES = {template.name: template for template in templates.load()}
FAILURE = RULES["failure"]

HEARTBEAT, LEASE = "vmha.host.heartbeat.age", "vmha.host.lease.age"
REACHABLE, ISOLATED, WITNESSES = (
    "vmha.host.reachable",
    "vmha.host.isolated",
    "vmha.host.witnesses",
)


def leaf(metric: str, operator: str, threshold: Any, **other: Any) -> dict[str, Any]:
    return {
        "type": "gnocchi_resources_threshold",
        "metric": metric,
        "resource_type": "vmha_host",
        "resource_id": "$resource_id",
        "aggregation_method": "last",
        "granularity": "$granularity",
        "evaluation_periods": 1,
        "comparison_operator": operator,
        "threshold": threshold,
        **other,
    }


DEAD_LEASE = leaf(LEASE, "ge", "$lease_age")
UNHEARD = leaf(HEARTBEAT, "ge", "$heartbeat_age")
UNREACHABLE = leaf(REACHABLE, "eq", 0)
WITNESSED = leaf(WITNESSES, "ge", "$witnesses")
PROOF = [DEAD_LEASE, UNHEARD, UNREACHABLE, WITNESSED]


def recover(rule: dict[str, Any]) -> Template:
    return replace(FAILURE, name="mine", rule=rule)


def report(rule: dict[str, Any]) -> Template:
    return replace(FAILURE, name="mine", action="report", rule=rule)


def with_leaf(number: int, change: Callable[[dict[str, Any]], object]) -> Template:
    rule = copy.deepcopy(dict(FAILURE.rule))
    change(rule["and"][number])
    return recover(rule)


def test_the_five_rules_can_be_trusted() -> None:
    assert list(RULES) == ["agent-down", "failure", "isolation", "partition", "storage-lost"]
    assert templates.lint_all(RULES.values()) == []


def test_only_failure_recovers_and_only_lost_storage_closes_a_host() -> None:
    assert [t.name for t in RULES.values() if t.action == "recover"] == ["failure"]
    assert [t.name for t in RULES.values() if t.actions] == ["storage-lost"]
    assert RULES["storage-lost"].actions == ("disable-scheduling",)


# --- a recovery without proof -----------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [
        (DEAD_LEASE, "the storage lease must be 8 s old or older"),
        (UNHEARD, "the heartbeat must be 5 s old or older"),
        (UNREACHABLE, "the host must be unreachable"),
        (WITNESSED, "at least 2 qualified witnesses must say so"),
    ],
)
def test_a_recovery_needs_every_proof(missing: dict[str, Any], complaint: str) -> None:
    (problem,) = templates.lint(recover({"and": [x for x in PROOF if x is not missing]}))
    assert problem.startswith("mine: recovers without proof: ")
    assert complaint in problem
    assert f"{missing['metric']} has no data" in problem


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param({"or": PROOF}, id="everything in an or"),
        pytest.param(
            {"and": [UNHEARD, WITNESSED, {"or": [DEAD_LEASE, UNREACHABLE]}]},
            id="lease or reachability",
        ),
        pytest.param(
            {"or": [{"and": PROOF}, {"and": [UNHEARD, WITNESSED]}]}, id="a way round the proof"
        ),
        pytest.param(
            {"and": [UNHEARD, UNREACHABLE, WITNESSED, leaf(LEASE, "ge", 0)]},
            id="a lease of any age",
        ),
        pytest.param(
            {"and": [UNHEARD, UNREACHABLE, WITNESSED, leaf(LEASE, "ge", -1)]},
            id="a threshold below every age",
        ),
        pytest.param(
            {"and": [UNHEARD, UNREACHABLE, WITNESSED, leaf(LEASE, "ge", 7.9)]},
            id="a lease just too young",
        ),
        pytest.param(
            {"and": [UNHEARD, UNREACHABLE, WITNESSED, leaf(LEASE, "lt", "$lease_age")]},
            id="a fresh lease",
        ),
        pytest.param(
            {"and": [UNHEARD, UNREACHABLE, WITNESSED, leaf(LEASE, "ne", 0)]},
            id="any lease but a brand-new one",
        ),
        pytest.param(
            {"and": [DEAD_LEASE, UNHEARD, WITNESSED, leaf(REACHABLE, "ge", 0)]},
            id="reachable or not",
        ),
        pytest.param(
            {"and": [DEAD_LEASE, UNHEARD, WITNESSED, leaf(REACHABLE, "eq", 1)]},
            id="reachable",
        ),
        pytest.param(
            {"and": [DEAD_LEASE, UNHEARD, UNREACHABLE, leaf(WITNESSES, "ge", 1)]},
            id="a single witness",
        ),
        pytest.param(
            {"and": [DEAD_LEASE, UNHEARD, UNREACHABLE, leaf(WITNESSES, "gt", 0)]},
            id="any witness at all",
        ),
        pytest.param(
            {"and": [DEAD_LEASE, UNHEARD, UNREACHABLE, leaf(WITNESSES, "lt", 3)]},
            id="few witnesses",
        ),
        pytest.param(
            {
                "and": [
                    UNHEARD,
                    UNREACHABLE,
                    WITNESSED,
                    {"or": [DEAD_LEASE, leaf(LEASE, "lt", "$lease_age")]},
                ]
            },
            id="an old lease or a fresh one",
        ),
        pytest.param(
            {
                "and": [
                    UNHEARD,
                    UNREACHABLE,
                    WITNESSED,
                    {"or": [DEAD_LEASE, leaf(ISOLATED, "eq", 0)]},
                ]
            },
            id="another metric in place of the lease",
        ),
    ],
)
def test_a_proof_that_is_only_there_in_words_is_refused(rule: dict[str, Any]) -> None:
    assert any("recovers without proof" in p for p in templates.lint(recover(rule)))


def test_proof_may_be_spread_over_a_deeper_rule() -> None:
    split = {"and": [DEAD_LEASE, {"and": [UNHEARD, UNREACHABLE]}, WITNESSED]}
    twice = {"or": [{"and": PROOF}, {"and": [*PROOF, leaf(ISOLATED, "eq", 1)]}]}
    stricter = {"and": [leaf(LEASE, "gt", 30), UNHEARD, leaf(REACHABLE, "lt", 1), WITNESSED]}
    for rule in (split, twice, stricter):
        assert templates.lint(recover(rule)) == []


def test_a_written_number_is_held_against_the_thresholds_in_force() -> None:
    rule = recover({"and": [leaf(LEASE, "ge", 8), UNHEARD, UNREACHABLE, WITNESSED]})
    assert templates.lint(rule, Thresholds(lease_age=8)) == []
    (problem,) = templates.lint(rule, Thresholds(lease_age=20))
    assert "the storage lease must be 20 s old" in problem


# --- a rule that Aodh would take and never evaluate, or read otherwise ---------------------


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"comparison_operator": "gte"}, "comparison_operator is 'gte'"),
        ({"comparison_operator": "GE"}, "comparison_operator is 'GE'"),
        ({"metric": "vmha.host.lease_age"}, "metric is 'vmha.host.lease_age'"),
        ({"type": "gnocchi_resource_threshold"}, "type is 'gnocchi_resource_threshold'"),
        ({"type": "prometheus"}, "type is 'prometheus'"),
        ({"resource_type": "host"}, "resource_type is 'host'"),
        ({"resource_id": "h1"}, "resource_id is 'h1'"),
        ({"aggregation_method": "mean"}, "aggregation_method is 'mean'"),
        ({"aggregation_method": "max"}, "aggregation_method is 'max'"),
        ({"granularity": 60}, "granularity is 60"),
        ({"granularity": "10"}, "granularity is '10'"),
        ({"evaluation_periods": 2}, "evaluation_periods is 2"),
        ({"evaluation_periods": True}, "evaluation_periods is True"),
        ({"threshold": "8"}, "threshold is '8'"),
        ({"threshold": True}, "threshold is True"),
        ({"threshold": None}, "threshold is None"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"threshold": float("inf")}, "threshold is inf"),
        ({"threshold": "$lease"}, "threshold is '$lease'"),
        ({"threshold": "$heartbeat_age"}, "it must be a number or $lease_age"),
        ({"treshold": 8}, "unknown key 'treshold'"),
        ({"query": "{}"}, "unknown key 'query'"),
    ],
)
def test_a_leaf_is_checked_to_the_letter(change: dict[str, Any], complaint: str) -> None:
    problems = templates.lint(with_leaf(0, lambda it: it.update(change)))
    assert any(complaint in problem for problem in problems), problems
    assert all(problem.startswith("mine: rule.and[1]: ") for problem in problems)


@pytest.mark.parametrize("key", list(DEAD_LEASE))
def test_no_key_of_a_leaf_may_be_left_out(key: str) -> None:
    (problem,) = templates.lint(with_leaf(0, lambda it: it.pop(key)))
    assert problem == f"mine: rule.and[1]: misses '{key}'"


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({}, "must begin with 'and' or 'or'"),
        (DEAD_LEASE, "must begin with 'and' or 'or'"),
        ({"not": [DEAD_LEASE]}, "must begin with 'and' or 'or'"),
        ({"And": PROOF}, "must begin with 'and' or 'or'"),
        ({"and": []}, "rule.and: must be a list of leaves"),
        ({"and": DEAD_LEASE}, "rule.and: must be a list of leaves"),
        ({"and": None}, "rule.and: must be a list of leaves"),
        ({"and": [*PROOF, {"or": []}]}, "rule.and[5].or: must be a list of leaves"),
        ({"and": [{"and": PROOF}]}, "rule.and: a group of one says nothing"),
        ({"and": [*PROOF, {"or": [DEAD_LEASE]}]}, "rule.and[5].or: a group of one"),
        ({"and": [*PROOF, {}]}, "rule.and[5]: misses 'type'"),
        ({"and": [*PROOF, None]}, "rule.and[5]: must be a mapping"),
        ({"and": [*PROOF, "or"]}, "rule.and[5]: must be a mapping"),
        ({"and": [*PROOF, [DEAD_LEASE]]}, "rule.and[5]: must be a mapping"),
        ({"and": PROOF, "or": PROOF}, "must stand alone"),
        ({"and": [{"or": PROOF, "type": "x"}, *PROOF]}, "rule.and[1]: 'and' or 'or' must stand"),
    ],
)
def test_a_group_is_checked_to_the_letter(rule: dict[str, Any], complaint: str) -> None:
    problems = templates.lint(recover(rule))
    assert any(complaint in problem for problem in problems), problems


def test_a_rule_without_bottom_is_refused() -> None:
    rule: dict[str, Any] = {"and": PROOF}
    for _ in range(10):
        rule = {"and": [rule, DEAD_LEASE]}
    assert any("nested deeper than 8" in p for p in templates.lint(recover(rule)))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "Failure"}, "the name must be lower-case"),
        ({"name": "a:b"}, "the name must be lower-case"),
        ({"name": "../x"}, "the name must be lower-case"),
        ({"severity": "high"}, "severity 'high' is not one of low, moderate, critical"),
        ({"action": "evacuate"}, "action 'evacuate' is not one of recover, report"),
        ({"action": "report", "actions": ("reboot",)}, "'reboot' is not one of"),
        ({"actions": ("disable-scheduling",)}, "takes no further actions"),
        ({"description": " "}, "the description is empty"),
    ],
)
def test_the_head_is_checked(change: dict[str, Any], complaint: str) -> None:
    assert any(complaint in p for p in templates.lint(replace(FAILURE, **change)))


# --- a rule that means nothing, or too much -----------------------------------------------


def test_a_rule_that_can_never_hold_is_refused() -> None:
    contradiction = {"and": [DEAD_LEASE, leaf(LEASE, "lt", "$lease_age")]}
    assert templates.lint(report(contradiction)) == ["mine: can never be in alarm"]
    half_a_witness = {"and": [leaf(WITNESSES, "eq", 1.5)]}
    assert templates.lint(report(half_a_witness)) == ["mine: can never be in alarm"]


def test_a_rule_that_accuses_a_well_host_is_refused() -> None:
    problems = templates.lint(report({"or": [DEAD_LEASE, leaf(REACHABLE, "eq", 1)]}))
    assert problems == ["mine: is in alarm for a host with which nothing is wrong"]


def test_the_usually_false_leaf_comes_first() -> None:
    assert templates.lint(report({"and": [leaf(REACHABLE, "eq", 1), UNHEARD]})) == [
        "mine: its first leaf holds for a well host, so that every evaluation reads more than "
        "one metric; put a leaf first that is usually false"
    ]


def test_a_rule_too_large_to_be_checked_is_refused_not_believed() -> None:
    many = [leaf(m, "ge", n) for m in (HEARTBEAT, LEASE) for n in range(10, 200)]
    (problem,) = templates.lint(report({"or": many}))
    assert problem == "mine: has too many different thresholds to be checked; make it simpler"


def test_rules_that_would_block_a_recovery_are_refused() -> None:
    meddler = report({"and": [leaf(HEARTBEAT, "ge", 3), UNREACHABLE]})
    (problem,) = templates.lint_all([FAILURE, meddler])
    assert problem.startswith("failure and mine: can both be in alarm, when vmha.host.")


def test_two_rules_of_one_name_are_refused() -> None:
    assert templates.lint_all([FAILURE, FAILURE]) == ["failure: two rules have this name"]
