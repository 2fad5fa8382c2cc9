# SPDX-License-Identifier: Apache-2.0
"""From rules to alarms: the least changes, nobody else's alarms, no signature shown."""

from __future__ import annotations

from typing import Any

import pytest

from vmha_remediator.rules import alarms, templates
from vmha_remediator.rules.model import Thresholds

RULES = templates.load()
KEY = b"0123456789abcdef"
URL = "http://10.0.0.1:8778"


def wanted(*hosts: str, thresholds: Thresholds | None = None) -> list[dict[str, Any]]:
    limits = thresholds or Thresholds()
    return [alarms.alarm_body(rule, host, limits, URL, KEY) for host in hosts for rule in RULES]


def held(*bodies: dict[str, Any]) -> list[dict[str, Any]]:
    """The same alarms as Aodh would list them, with fields of its own."""
    own = {"state": "ok", "ok_actions": [], "user_id": "u", "time_constraints": []}
    return [{"alarm_id": f"id-{n}", **own, **body} for n, body in enumerate(bodies)]


def test_into_an_empty_aodh_everything_is_created() -> None:
    plan = alarms.plan([], wanted("h1"), ["h1"])
    assert [body["name"] for body in plan.create] == [
        "vmha:agent-down:h1",
        "vmha:failure:h1",
        "vmha:isolation:h1",
        "vmha:partition:h1",
        "vmha:storage-lost:h1",
    ]
    assert (plan.update, plan.delete, plan.unchanged) == ((), (), 0)


def test_a_second_time_there_is_nothing_to_do() -> None:
    plan = alarms.plan(held(*wanted("h1", "h2")), wanted("h1", "h2"), ["h1", "h2"])
    assert plan.empty
    assert plan.unchanged == 10
    assert alarms.describe(plan) == []


def test_every_alarm_repeats_itself_and_calls_the_webhook() -> None:
    for body in wanted("h1"):
        assert body["repeat_actions"] is True
        assert body["enabled"] is True
        (action,) = body["alarm_actions"]
        rule, _ = alarms.parse_name(body["name"]) or ("", "")
        assert action.startswith(f"{URL}/v1/alarms/{rule}/h1?sig=")


def test_only_what_differs_is_changed() -> None:
    there = held(*wanted("h1"))
    there[1]["severity"] = "low"
    there[3]["enabled"] = False
    plan = alarms.plan(there, wanted("h1"), ["h1"])
    assert [(c.alarm_id, dict(c.fields)) for c in plan.update] == [
        ("id-1", {"severity": ("low", "critical")}),
        ("id-3", {"enabled": (False, True)}),
    ]
    assert alarms.describe(plan) == [
        "~ vmha:failure:h1",
        '    severity: "low" -> "critical"',
        "~ vmha:partition:h1",
        "    enabled: false -> true",
    ]


def test_a_changed_threshold_shows_as_that_leaf_alone() -> None:
    plan = alarms.plan(
        held(*wanted("h1")), wanted("h1", thresholds=Thresholds(lease_age=9)), ["h1"]
    )
    lines = alarms.describe(plan)
    assert lines[:2] == [
        "~ vmha:failure:h1",
        "    composite_rule.and[1].threshold: 8.0 -> 9.0",
    ]
    assert len([line for line in lines if line.startswith("~")]) == 4  # all but agent-down


def test_another_key_changes_the_webhook_and_shows_no_signature() -> None:
    there = held(*[alarms.alarm_body(r, "h1", Thresholds(), URL, b"f" * 16) for r in RULES])
    plan = alarms.plan(there, wanted("h1"), ["h1"])
    text = "\n".join(alarms.describe(plan))
    assert (
        '    alarm_actions[1]: "http://10.0.0.1:8778/v1/alarms/failure/h1?sig=***" -> '
        '"http://10.0.0.1:8778/v1/alarms/failure/h1?sig=***" (another signature)'
    ) in text
    for body in (*there, *wanted("h1")):
        signature = body["alarm_actions"][0].partition("sig=")[2]
        assert len(signature) == 64
        assert signature not in text


def test_an_alarm_whose_rule_is_gone_is_deleted() -> None:
    there = held({"name": "vmha:old-rule:h1", "type": "composite"}, *wanted("h1"))
    plan = alarms.plan(there, wanted("h1"), ["h1"])
    assert plan.delete == (("id-0", "vmha:old-rule:h1", "no rule old-rule"),)
    assert alarms.describe(plan) == ["- vmha:old-rule:h1 (no rule old-rule)"]


def test_of_two_alarms_with_one_name_the_better_stays() -> None:
    there = held(*wanted("h1"), *wanted("h1")[:1])
    there[0]["severity"] = "critical"
    plan = alarms.plan(there, wanted("h1"), ["h1"])
    assert plan.delete == (("id-0", "vmha:agent-down:h1", "there twice"),)
    assert plan.update == ()


@pytest.mark.parametrize(
    "foreign",
    [
        {"name": "cpu_high", "type": "composite"},
        {"name": "vmha", "type": "composite"},
        {"name": "vmha:failure", "type": "composite"},
        {"name": "vmha:failure:", "type": "composite"},
        {"name": "vmha:Their Rule:h1", "type": "composite"},
        {"name": "vmha-lab:failure:h1", "type": "composite"},
        {"name": "vmha:failure:h1", "type": "event"},
        {"type": "composite"},
    ],
)
def test_other_peoples_alarms_are_left_alone(foreign: dict[str, Any]) -> None:
    assert not alarms.is_ours(foreign)
    plan = alarms.plan(held(foreign, *wanted("h1")), wanted("h1"), ["h1"])
    assert plan.empty


def test_other_hosts_alarms_are_left_alone_and_mentioned() -> None:
    plan = alarms.plan(held(*wanted("h1", "h2")), wanted("h1"), ["h1"])
    assert plan.empty
    assert plan.notes == ("alarms of host h2, which was not asked for, are left as they are",)


@pytest.mark.parametrize("host", ["h1", "node-1.example.org", "fd00::1", "a:b", "ä"])
def test_names_hold_any_host(host: str) -> None:
    assert alarms.parse_name(alarms.alarm_name("agent-down", host)) == ("agent-down", host)
