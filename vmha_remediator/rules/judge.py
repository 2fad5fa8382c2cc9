# SPDX-License-Identifier: Apache-2.0
"""Judging: what a host's readings mean under the rule files, in Aodh's three-valued logic."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from vmha_remediator.rules import metrics
from vmha_remediator.rules.model import Template, Thresholds, render

#: Aodh's own operators (aodh.evaluator.threshold.COMPARATORS).
COMPARATORS: dict[str, Callable[[float, float], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
}
SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "=", "ne": "!="}
GROUPS = ("and", "or")
#: An age is the least that it can be: a witness that is short of CPU or whose storage is slow
#: sees a renewal late, and publishes a younger age than another one did before it. Both may say
#: so while their last look is no older than one and a half renewals (`own_read` in the agent's
#: limits); the threshold is four renewals. So much of its threshold an age may be too young.
LAG = 1.5 / 4.0


class State(Enum):
    """State of a leaf or a rule, with Aodh's own names."""

    OK = "ok"
    ALARM = "alarm"
    UNKNOWN = "insufficient data"


#: How a rule's state is put in a sentence.
SAID = {
    State.OK: "does not hold",
    State.ALARM: "holds",
    State.UNKNOWN: "cannot be judged",
}


@dataclass(frozen=True)
class Readings:
    """A host's latest measures: metric name -> value; a metric with no data is absent."""

    host: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """What one rule says of one host, and on what evidence."""

    rule: str  # "failure", "isolation", ...
    host: str
    state: State
    action: str  # "recover" | "report"
    severity: str
    evidence: str  # one sentence that names every reading used
    #: It does not hold, and nothing that was read shows that its situation is over.
    doubtful: bool = False


def leaf_state(leaf: Mapping[str, Any], values: Mapping[str, float]) -> State:
    """Return one comparison's state; a value that is missing or not finite is UNKNOWN."""
    value = values.get(leaf["metric"])
    if value is None or not math.isfinite(value):
        return State.UNKNOWN
    holds = COMPARATORS[leaf["comparison_operator"]](value, leaf["threshold"])
    return State.ALARM if holds else State.OK


def combine(group: str, states: Sequence[State]) -> State:
    """Return the state of an `and` or `or` over its members, as Aodh's composite rules do.

    `and`: all ALARM -> ALARM, any OK -> OK. `or`: any ALARM -> ALARM, all OK -> OK.
    Everything else is UNKNOWN.
    """
    decisive, needed_by_all = {
        "and": (State.OK, State.ALARM),
        "or": (State.ALARM, State.OK),
    }[group]
    if decisive in states:
        return decisive
    return needed_by_all if all(s is needed_by_all for s in states) else State.UNKNOWN


def evaluate(rule: Mapping[str, Any], values: Mapping[str, float]) -> State:
    """Return the state of a rendered composite rule over `values` (metric name -> value)."""
    for group in GROUPS:
        if group in rule:
            return combine(group, [evaluate(member, values) for member in rule[group]])
    return leaf_state(rule, values)


def leaves(rule: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the leaves of a composite rule, in the order in which they are written."""
    for group in GROUPS:
        if group in rule:
            for member in rule[group]:
                yield from leaves(member)
            return
    yield rule


def judge(
    templates: Iterable[Template], readings: Readings, thresholds: Thresholds
) -> list[Verdict]:
    """Return one verdict a template, in their order, for the host of `readings`.

    Every verdict comes from the same rendered rule that Aodh evaluates. Seconds for ages,
    0 or 1 for the yes-or-no metrics, a number for the witnesses.
    """
    verdicts = []
    for template in templates:
        rule = _with_numbers(template, thresholds)
        state = evaluate(rule, readings.values)
        verdicts.append(
            Verdict(
                rule=template.name,
                host=readings.host,
                state=state,
                action=template.action,
                severity=template.severity,
                evidence=_evidence(template.name, readings, state, rule),
                doubtful=template.action == "recover"
                and state is State.OK
                and evaluate(rule, at_worst(readings.values, thresholds)) is not State.OK,
            )
        )
    return verdicts


def at_worst(values: Mapping[str, float], thresholds: Thresholds) -> dict[str, float]:
    """Return what may be true of a host where `values` are read, at worst.

    Its ages may be older, and how many witnesses speak says nothing about the host itself.
    """
    lags = {
        metrics.HEARTBEAT_AGE.name: LAG * thresholds.heartbeat_age,
        metrics.LEASE_AGE.name: LAG * thresholds.lease_age,
    }
    return {
        name: value + lags.get(name, 0.0)
        for name, value in values.items()
        if name != metrics.WITNESSES.name
    }


@lru_cache(maxsize=64)
def _with_numbers(template: Template, thresholds: Thresholds) -> Mapping[str, Any]:
    """Return a rule as `render` makes it, once for all hosts: only where to read differs."""
    return render(template, "", thresholds)


def standing(verdicts: Iterable[Verdict]) -> Verdict | None:
    """Return the verdict that counts, or None: no verdict, so nothing may be done.

    When rules contradict each other, one that only reports wins over one that recovers:
    a VM that waits can be helped later, a VM that runs twice cannot.
    """
    alarming = [v for v in verdicts if v.state is State.ALARM]
    return min(alarming, key=lambda v: v.action == "recover", default=None)


def may_hold(verdicts: Iterable[Verdict]) -> Verdict | None:
    """Return the verdict that may be true although it does not hold, or None."""
    return next((v for v in verdicts if v.doubtful), None)


def _evidence(name: str, readings: Readings, state: State, rule: Mapping[str, Any]) -> str:
    """Return the sentence that says what was read and how it compared."""
    parts = []
    for leaf in leaves(rule):
        sign, limit = SIGNS[leaf["comparison_operator"]], f"{leaf['threshold']:g}"
        found = leaf_state(leaf, readings.values)
        if found is State.UNKNOWN:
            parts.append(f"{leaf['metric']} has no data (needs {sign} {limit})")
            continue
        unit = " s" if metrics.METRICS[leaf["metric"]].unit == "s" else ""
        verb = "holds" if found is State.ALARM else "does not hold"
        value = f"{readings.values[leaf['metric']]:g}{unit}"
        parts.append(f"{leaf['metric']} is {value} ({sign} {limit} {verb})")
    return f"{name} {SAID[state]} for {readings.host}: {'; '.join(parts)}."
