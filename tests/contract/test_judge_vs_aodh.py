# SPDX-License-Identifier: Apache-2.0
"""The judge and Aodh's own composite evaluator must never disagree.

Aodh's classes are the real ones; only the answers of Gnocchi's API are made up, since they
are what is varied. No broker, database or Keystone takes part.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aodh.api.controllers.v2.alarm_rules.composite import CompositeRule
from aodh.evaluator import composite
from aodh.evaluator import gnocchi as aodh_gnocchi
from gnocchiclient import exceptions as gnocchi_exc
from hypothesis import given, settings
from hypothesis import strategies as st

from vmha_remediator.rules import metrics, templates
from vmha_remediator.rules.judge import State, evaluate, leaves
from vmha_remediator.rules.model import Template, Thresholds, render

GRANULARITY = metrics.ARCHIVE_POLICY.granularity
TEMPLATES = templates.load()
#: A reading on either side of every threshold in use, at it, and none at all.
CHOICES: dict[str, tuple[float | None, ...]] = {
    "vmha.host.heartbeat.age": (0.0, 4.9, 5.0, 60.0, None),
    "vmha.host.lease.age": (0.0, 7.9, 8.0, 60.0, None),
    "vmha.host.reachable": (0.0, 1.0, None),
    "vmha.host.isolated": (0.0, 1.0, None),
    "vmha.host.witnesses": (0.0, 1.0, 2.0, 3.0, None),
}


class GnocchiAnswers:
    """Answers `metric.get_measures` from a table of values, and counts the requests."""

    def __init__(self, values: dict[str, float | None]) -> None:
        self.values = values
        self.requests = 0
        self.metric = self

    def get_measures(self, metric: str, granularity: int, **_: Any) -> list[Any]:
        self.requests += 1
        value = self.values.get(metric)
        if value is None:
            raise gnocchi_exc.MetricNotFound
        # An older point first: with one period only the last counts.
        return [("earlier", granularity, 1e6), ("now", granularity, value)]


class Aodh:
    """Aodh's real composite evaluator over made-up answers of Gnocchi."""

    def __init__(self) -> None:
        self.threshold = object.__new__(aodh_gnocchi.GnocchiResourceThresholdEvaluator)
        self.threshold.conf = SimpleNamespace(additional_ingestion_lag=0)
        self.evaluator = object.__new__(composite.CompositeEvaluator)
        self.evaluator.rule_name_prefix = "rule"
        self.evaluator._threshold_evaluators = {
            "gnocchi_resources_threshold": SimpleNamespace(obj=self.threshold)
        }
        self.evaluator._refresh = self._refresh
        self.requests = 0

    @staticmethod
    def _refresh(alarm: Any, state: str, reason: str, data: Any) -> None:
        alarm.state = state

    def state(self, rule: dict[str, Any], values: dict[str, float | None], was: str) -> State:
        answers = GnocchiAnswers(values)
        self.threshold._gnocchi_client = answers
        alarm = SimpleNamespace(alarm_id="a", rule=rule, state=was, time_constraints=[])
        self.evaluator.evaluate(alarm)
        self.requests = answers.requests
        return State(alarm.state)


def every_reading(rule: dict[str, Any]) -> Iterator[dict[str, float | None]]:
    names = sorted({leaf["metric"] for leaf in leaves(rule)})
    for values in itertools.product(*(CHOICES[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def known(values: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: t.name)
@pytest.mark.parametrize("was", [state.value for state in State])
def test_they_agree_on_every_rule_and_reading(template: Template, was: str) -> None:
    aodh = Aodh()
    rule = render(template, "h1", Thresholds())
    seen = set()
    for values in every_reading(rule):
        expected = aodh.state(rule, values, was)
        assert evaluate(rule, known(values)) is expected, values
        seen.add(expected)
    assert seen == set(State), "every state was reached, so nothing was compared in vain"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: t.name)
def test_aodh_takes_every_rendered_rule_and_keeps_it_as_sent(template: Template) -> None:
    sent = render(template, "h1", Thresholds())
    kept = copy.deepcopy(sent)
    CompositeRule()  # loads the plug-ins that validate a leaf
    CompositeRule.valid_composite_rule(kept)
    assert kept == sent, "otherwise every sync would find a difference"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: t.name)
def test_a_well_host_costs_one_read_an_alarm(template: Template) -> None:
    well: dict[str, float | None] = {
        "vmha.host.heartbeat.age": 0.4,
        "vmha.host.lease.age": 1.5,
        "vmha.host.reachable": 1.0,
        "vmha.host.isolated": 0.0,
        "vmha.host.witnesses": 3.0,
    }
    aodh = Aodh()
    rule = render(template, "h1", Thresholds())
    assert aodh.state(rule, well, State.OK.value) is State.OK
    assert aodh.requests == 1


#: A leaf that is in the named state when its metric reads 1 (or has no data): each leaf has
#: a metric of its own, so that any combination of states can be set.
def _leaf(number: int) -> dict[str, Any]:
    return {
        "type": "gnocchi_resources_threshold",
        "metric": f"m{number}",
        "resource_type": "vmha_host",
        "resource_id": "id",
        "aggregation_method": "last",
        "granularity": GRANULARITY,
        "evaluation_periods": 1,
        "comparison_operator": "ge",
        "threshold": 1.0,
    }


READING = {State.ALARM: 1.0, State.OK: 0.0, State.UNKNOWN: None}
TREES = st.recursive(
    st.integers(1, 5).map(_leaf),
    lambda inner: st.builds(
        lambda group, members: {group: members},
        st.sampled_from(["and", "or"]),
        st.lists(inner, min_size=1, max_size=4),
    ),
    max_leaves=7,
)


@settings(max_examples=60, deadline=None)
@given(rule=TREES)
def test_they_agree_on_any_nesting_in_every_combination_of_states(rule: dict[str, Any]) -> None:
    aodh = Aodh()
    names = sorted({leaf["metric"] for leaf in leaves(rule)})
    for states in itertools.product(State, repeat=len(names)):
        values = {name: READING[state] for name, state in zip(names, states, strict=True)}
        assert evaluate(rule, known(values)) is aodh.state(rule, values, State.OK.value), values


@pytest.mark.parametrize("operator", ["gt", "ge", "lt", "le", "eq", "ne"])
@pytest.mark.parametrize("value", [-1.0, 0.0, 4.999, 5.0, 5.001, 1e9])
def test_they_compare_alike(operator: str, value: float) -> None:
    rule = {"and": [{**_leaf(1), "comparison_operator": operator, "threshold": 5.0}]}
    expected = Aodh().state(rule, {"m1": value}, State.UNKNOWN.value)
    assert evaluate(rule, {"m1": value}) is expected


def test_a_value_that_is_no_number_is_never_evidence() -> None:
    """Here the judge is more careful: Aodh compares NaN, and `ne` would hold."""
    rule = {"and": [{**_leaf(1), "comparison_operator": "ne"}]}
    assert Aodh().state(rule, {"m1": float("nan")}, State.OK.value) is State.ALARM
    assert evaluate(rule, {"m1": float("nan")}) is State.UNKNOWN


def test_an_empty_group_is_what_aodh_takes_and_never_evaluates() -> None:
    CompositeRule()
    CompositeRule.valid_composite_rule({"and": []})
    with pytest.raises(ValueError, match="not enough values"):
        Aodh().state({"and": []}, {}, State.OK.value)


def test_the_window_is_aodhs() -> None:
    import datetime

    from vmha_remediator.rules import timing

    aodh = Aodh()
    rule = {**_leaf(1)}
    start, stop = map(datetime.datetime.fromisoformat, aodh.threshold._bound_duration(rule))
    assert stop - start == datetime.timedelta(seconds=timing.window())
