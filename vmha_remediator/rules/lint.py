# SPDX-License-Identifier: Apache-2.0
"""Which rules can be trusted: their form, and what they could do over every possible reading.

Aodh answers 201 to rules that it then never evaluates, so the form is checked to the letter.
What a rule *means* is not guessed from its words: every reading that makes a difference is
tried, so that an `or`, a wrong operator or a threshold that is always true cannot hide.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vmha_remediator.rules import metrics
from vmha_remediator.rules.judge import COMPARATORS, GROUPS, State, evaluate, leaves
from vmha_remediator.rules.model import VM_RULE, Template, Thresholds, render

SEVERITIES = ("low", "moderate", "critical")
ACTIONS = ("recover", "report")
EXTRA_ACTIONS = ("disable-scheduling",)
#: Part of an alarm's name and of a webhook's path, hence neither colon nor slash.
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
MAX_DEPTH = 8
#: More combinations than this are not tried; the rule is refused instead of believed.
MAX_COMBINATIONS = 100_000

#: What a leaf must say, and which values each key may have besides the threshold.
LEAF: dict[str, tuple[Any, ...]] = {
    "type": ("gnocchi_resources_threshold",),
    "metric": tuple(metrics.METRICS),
    "resource_type": (metrics.RESOURCE_TYPE,),
    "resource_id": ("$resource_id",),
    "aggregation_method": ("last",),
    "granularity": ("$granularity", metrics.ARCHIVE_POLICY.granularity),
    "evaluation_periods": (1,),
    "comparison_operator": tuple(COMPARATORS),
}
#: The placeholders that a threshold may be, and the metric each belongs to.
THRESHOLD_OF = {
    "$heartbeat_age": metrics.HEARTBEAT_AGE.name,
    "$lease_age": metrics.LEASE_AGE.name,
    "$witnesses": metrics.WITNESSES.name,
}
#: Readings of a host with which nothing is wrong.
WELL: dict[str, float] = {
    metrics.HEARTBEAT.name: 1,
    metrics.STORAGE.name: 1,
    metrics.HEARS.name: 1,
    metrics.HEARTBEAT_AGE.name: 0,
    metrics.LEASE_AGE.name: 0,
    metrics.REACHABLE.name: 1,
    metrics.ISOLATED.name: 0,
    metrics.WITNESSES.name: 3,
    metrics.WATCHDOG.name: 0,
    metrics.ROLE.name: 1,
}

Values = dict[str, float]


def check(template: Template, thresholds: Thresholds) -> list[str]:
    """Return every reason not to trust `template`, one sentence each."""
    problems = [f"{template.name}: {p}" for p in (*_head(template), *_form(template.rule))]
    if not problems:
        problems = [f"{template.name}: {p}" for p in _meaning(template, thresholds)]
    return problems


def check_all(templates: Sequence[Template], thresholds: Thresholds) -> list[str]:
    """Return `check` of each, names used twice, and rules that block a recovery."""
    problems = [p for template in templates for p in check(template, thresholds)]
    names = [template.name for template in templates]
    problems += [f"{n}: two rules have this name" for n in sorted({*names}) if names.count(n) > 1]
    if problems:
        return problems
    for one, other in itertools.combinations(templates, 2):
        if {one.action, other.action} == set(ACTIONS):
            problems += _overlap(one, other, thresholds)
    return problems


def _head(template: Template) -> Iterator[str]:
    if not NAME.fullmatch(template.name):
        yield "the name must be lower-case letters, digits and dashes"
    if template.name == VM_RULE:
        yield f"the name {VM_RULE} belongs to the rule on single VMs"
    if template.severity not in SEVERITIES:
        yield f"severity {template.severity!r} is not one of {', '.join(SEVERITIES)}"
    if template.action not in ACTIONS:
        yield f"action {template.action!r} is not one of {', '.join(ACTIONS)}"
    for name in template.actions:
        if name not in EXTRA_ACTIONS:
            yield f"actions: {name!r} is not one of {', '.join(EXTRA_ACTIONS)}"
    if template.action == "recover" and template.actions:
        yield "a rule that recovers takes no further actions"
    if not template.description.strip():
        yield "the description is empty"


def _form(rule: Any, where: str = "rule", depth: int = 1) -> Iterator[str]:
    """Yield what is wrong with the form of a group, and of everything below it."""
    if depth > MAX_DEPTH:
        yield f"{where}: nested deeper than {MAX_DEPTH}"
        return
    if not isinstance(rule, Mapping):
        yield f"{where}: must be a mapping, not {rule!r}"
        return
    if not any(group in rule for group in GROUPS):
        if depth == 1:
            yield f"{where}: must begin with 'and' or 'or'"
        else:
            yield from _leaf(rule, where)
        return
    if len(rule) != 1:
        yield f"{where}: 'and' or 'or' must stand alone, not beside other keys"
        return
    group, members = next(iter(rule.items()))
    where = f"{where}.{group}"
    if not isinstance(members, list) or not members:
        yield f"{where}: must be a list of leaves; Aodh takes an empty one and never evaluates it"
        return
    alone_is_leaf = isinstance(members[0], Mapping) and not any(g in members[0] for g in GROUPS)
    if len(members) == 1 and not (depth == 1 and alone_is_leaf):
        yield f"{where}: a group of one says nothing; write its member in its place"
    for number, member in enumerate(members, 1):
        yield from _form(member, f"{where}[{number}]", depth + 1)


def _leaf(leaf: Mapping[Any, Any], where: str) -> Iterator[str]:
    """Yield what is wrong with one comparison."""
    for key in sorted(str(k) for k in leaf if k not in LEAF and k != "threshold"):
        yield f"{where}: unknown key {key!r}; known: {', '.join((*LEAF, 'threshold'))}"
    for key, allowed in LEAF.items():
        if key not in leaf:
            yield f"{where}: misses {key!r}"
        elif not any(type(leaf[key]) is type(a) and leaf[key] == a for a in allowed):
            choice = ", ".join(str(a) for a in allowed)
            yield f"{where}: {key} is {leaf[key]!r}; it must be {choice}"
    if "threshold" not in leaf:
        yield f"{where}: misses 'threshold'"
        return
    yield from _threshold(leaf["threshold"], leaf.get("metric"), where)


def _threshold(threshold: Any, metric: Any, where: str) -> Iterator[str]:
    if isinstance(threshold, str):
        if metric not in metrics.METRICS and threshold in THRESHOLD_OF:
            return  # the metric's name is the mistake, and has been told
        if THRESHOLD_OF.get(threshold) != metric:
            fits = [name for name, of in THRESHOLD_OF.items() if of == metric]
            yield (
                f"{where}: threshold is {threshold!r}; for {metric} it must be a number"
                + "".join(f" or {name}" for name in fits)
            )
    elif type(threshold) not in (int, float) or not math.isfinite(threshold):
        yield f"{where}: threshold is {threshold!r}; it must be a number"


def _meaning(template: Template, thresholds: Thresholds) -> Iterator[str]:
    """Yield what the rule would do wrong, each with readings that show it."""
    rule = render(template, "any", thresholds)
    must = _proofs(thresholds) if template.action == "recover" else {}
    grid = _grid([rule], must)
    if _size(grid) > MAX_COMBINATIONS:
        yield "has too many different thresholds to be checked; make it simpler"
        return
    if evaluate(rule, WELL) is State.ALARM:
        yield "is in alarm for a host with which nothing is wrong"
    first = rule.get("and", [None])[0]
    if first is not None and evaluate(first, WELL) is not State.OK:
        yield (
            "its first leaf holds for a well host, so that every evaluation reads more than one "
            "metric; put a leaf first that is usually false"
        )
    alarming = [values for values in _combinations(grid) if evaluate(rule, values) is State.ALARM]
    if not alarming:
        yield "can never be in alarm"
    for metric, (floor, operator, why) in must.items():
        for values in alarming:
            value = values.get(metric)
            if value is None or not COMPARATORS[operator](value, floor):
                yield f"recovers without proof: {why}; in alarm when {_say(values, metric)}"
                break


def _proofs(thresholds: Thresholds) -> dict[str, tuple[float, str, str]]:
    """Return what must hold whenever a rule says `recover`: metric -> value, operator, why."""
    return {
        metrics.LEASE_AGE.name: (
            thresholds.lease_age,
            "ge",
            f"the storage lease must be {thresholds.lease_age:g} s old or older",
        ),
        metrics.REACHABLE.name: (0, "eq", "the host must be unreachable"),
        metrics.WITNESSES.name: (
            thresholds.witnesses,
            "ge",
            f"at least {thresholds.witnesses} qualified witnesses must say so",
        ),
        metrics.HEARTBEAT_AGE.name: (
            thresholds.heartbeat_age,
            "ge",
            f"the heartbeat must be {thresholds.heartbeat_age:g} s old or older",
        ),
    }


def _overlap(one: Template, other: Template, thresholds: Thresholds) -> Iterator[str]:
    rules = [render(one, "any", thresholds), render(other, "any", thresholds)]
    grid = _grid(rules, {})
    if _size(grid) > MAX_COMBINATIONS:
        yield f"{one.name} and {other.name}: too many different thresholds to compare them"
        return
    for values in _combinations(grid):
        if all(evaluate(rule, values) is State.ALARM for rule in rules):
            yield (
                f"{one.name} and {other.name}: can both be in alarm, when {_say(values)}; the one "
                "that reports would win, and nothing would be recovered"
            )
            return


def _grid(
    rules: Sequence[Mapping[str, Any]], must: Mapping[str, tuple[float, str, str]]
) -> dict[str, list[float | None]]:
    """Return, for each metric used, every value at which some comparison could change.

    Between two neighbouring thresholds all readings compare alike, so one of them stands for
    all; None stands for no data.
    """
    limits: dict[str, set[float]] = {name: {floor} for name, (floor, _, _) in must.items()}
    for rule in rules:
        for leaf in leaves(rule):
            limits.setdefault(leaf["metric"], set()).add(leaf["threshold"])
    return {name: [None, *_points(name, values)] for name, values in limits.items()}


def _points(metric: str, limits: set[float]) -> list[float]:
    unit = metrics.METRICS[metric].unit
    if unit in ("bool", "heartbeat"):
        return [0, 1]
    if unit == "count":
        around = {math.floor(x) + d for x in limits for d in (-1, 0, 1, 2)}
        return sorted(float(x) for x in {0, *around} if x >= 0)
    edges = sorted({0.0, *(x for x in limits if x >= 0)})
    between = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    return sorted({*edges, *between, edges[-1] + 1})


def _size(grid: Mapping[str, Sequence[float | None]]) -> int:
    return math.prod(len(points) for points in grid.values())


def _combinations(grid: Mapping[str, Sequence[float | None]]) -> Iterator[Values]:
    for values in itertools.product(*grid.values()):
        yield {n: v for n, v in zip(grid, values, strict=True) if v is not None}


def _say(values: Values, missing: str | None = None) -> str:
    parts = [f"{name} is {value:g}" for name, value in sorted(values.items())]
    if missing is not None and missing not in values:
        parts.append(f"{missing} has no data")
    return ", ".join(parts) or "there is no data at all"
