# SPDX-License-Identifier: Apache-2.0
"""The rule on a single VM: its template, what it may mean, and the alarm it becomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vmha_remediator.errors import RuleError
from vmha_remediator.rules import alarms, judge, templates
from vmha_remediator.rules.judge import COMPARATORS, State
from vmha_remediator.rules.model import VM_RULE as RULE
from vmha_remediator.rules.model import Template
from vmha_remediator.rules.signing import sign

__all__ = ["RULE", "alarm_body", "evaluate", "lint", "load", "parse_name", "plan", "render"]

FILE = f"{RULE}.yaml"
PREFIX = "vmha-vm"
PATH = "/v1/vms"

METRIC = "power.state"
RESOURCE_TYPE = "instance"
#: libvirt's virDomainState: nobody, running, blocked, paused, being shut down; 7: asleep.
ALIVE = (0, 1, 2, 3, 4)
OFF = (5, 6)
ASLEEP = 7

#: What a leaf must say beside operator and threshold.
LEAF: Mapping[str, Any] = {
    "type": "gnocchi_resources_threshold",
    "metric": METRIC,
    "resource_type": RESOURCE_TYPE,
    "resource_id": "$server_id",
    "aggregation_method": "last",
    "granularity": "$granularity",
    "evaluation_periods": 1,
}


def load(directory: str | Path | None = None) -> Template:
    """Return the rule in `directory`/vm (default: the packaged one).

    A folder of rules of one's own without it uses the packaged one. Raises `RuleError` with
    every reason not to trust it.
    """
    packaged = resources.files(templates.PACKAGE) / "vm" / FILE
    own = Path(directory) / "vm" / FILE if directory is not None else None
    source = own if own is not None and own.is_file() else packaged
    try:
        template = templates.parse(source.read_text(encoding="utf-8"), f"vm/{FILE}")
    except (OSError, UnicodeDecodeError) as exc:
        raise RuleError(f"vm/{FILE}: {exc}") from exc
    if problems := lint(template):
        raise RuleError("the rule on VMs cannot be used: " + "; ".join(problems))
    return template


def lint(template: Template) -> list[str]:
    """Return every reason not to trust the rule, one sentence each; empty means none."""
    problems = [*_head(template), *_form(template.rule)]
    if not problems:
        problems = list(_meaning(template))
    return [f"{template.name}: {problem}" for problem in problems]


def _head(template: Template) -> Iterator[str]:
    if template.name != RULE:
        yield f"the name must be {RULE}"
    if template.action != "report" or template.actions:
        yield "the action must be report, without others: a VM is restarted in place or told of"
    if template.severity not in ("low", "moderate", "critical"):
        yield f"severity {template.severity!r} is not one of low, moderate, critical"


def _form(rule: Any, where: str = "rule") -> Iterator[str]:
    if not isinstance(rule, Mapping):
        yield f"{where}: must be a mapping, not {rule!r}"
        return
    group = next((g for g in judge.GROUPS if g in rule), None)
    if group is None:
        yield from _leaf(rule, where)
        return
    members = rule[group]
    if len(rule) != 1 or not isinstance(members, list) or not members:
        yield f"{where}: '{group}' must stand alone and hold a list of leaves"
        return
    for number, member in enumerate(members, 1):
        yield from _form(member, f"{where}.{group}[{number}]")


def _leaf(leaf: Mapping[Any, Any], where: str) -> Iterator[str]:
    known = {*LEAF, "comparison_operator", "threshold"}
    for key in sorted(str(k) for k in leaf.keys() ^ known):
        yield f"{where}: " + (f"misses {key!r}" if key in known else f"unknown key {key!r}")
    for key, wanted in LEAF.items():
        if key in leaf and leaf[key] != wanted:
            yield f"{where}: {key} is {leaf[key]!r}; it must be {wanted}"
    if leaf.get("comparison_operator") not in COMPARATORS:
        yield f"{where}: comparison_operator must be one of {', '.join(COMPARATORS)}"
    if type(leaf.get("threshold")) not in (int, float):
        yield f"{where}: threshold must be a number"


def _meaning(template: Template) -> Iterator[str]:
    """Try every power state that there is."""
    found = {state: evaluate(template, float(state)) for state in (*ALIVE, *OFF, ASLEEP)}
    if wrong := [s for s in (*ALIVE, ASLEEP) if found[s] is State.ALARM]:
        shown = ", ".join(map(str, wrong))
        yield f"is in alarm for a VM that is not off ({METRIC} {shown}), which would be killed"
    if all(found[state] is not State.ALARM for state in OFF):
        yield "can never be in alarm"
    if evaluate(template, None) is not State.UNKNOWN:
        yield "says something although nothing is known"


def evaluate(template: Template, power: float | None) -> State:
    """Return what the rule says of a VM's power state; None: nothing is known."""
    values = {} if power is None else {METRIC: power}
    return judge.evaluate(template.rule, values)


def render(template: Template, server_id: str, granularity: int) -> dict[str, Any]:
    """Return the composite rule of one VM, ready for Aodh."""
    values = {"$server_id": server_id, "$granularity": granularity}

    def fill(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {key: fill(value) for key, value in node.items()}
        if isinstance(node, list):
            return [fill(member) for member in node]
        return values.get(node, node) if isinstance(node, str) else node

    rendered: dict[str, Any] = fill(template.rule)
    return rendered


def webhook_url(base_url: str, key: bytes, server_id: str) -> str:
    """Return the address that an alarm calls for one VM."""
    path = f"{PATH}/{quote(server_id, safe='')}"
    return f"{base_url.rstrip('/')}{path}?sig={sign(key, PATH, server_id)}"


def alarm_name(server_id: str) -> str:
    """Return the name of the alarm of one VM."""
    return f"{PREFIX}:{server_id}"


def parse_name(name: object) -> tuple[str, str] | None:
    """Return (rule, server id) of one of these alarms' names, or None for any other."""
    prefix, _, server_id = str(name).partition(":")
    return (RULE, server_id) if prefix == PREFIX and server_id else None


def alarm_body(
    template: Template, server_id: str, name: str, granularity: int, base_url: str, key: bytes
) -> dict[str, Any]:
    """Return the alarm that Aodh shall hold for one VM; `name` is the server's, for people."""
    return {
        "name": alarm_name(server_id),
        "type": alarms.TYPE,
        "enabled": True,
        "severity": template.severity,
        "description": f"{name}: {template.description}"[:255],
        "repeat_actions": True,
        "alarm_actions": [webhook_url(base_url, key, server_id)],
        "composite_rule": render(template, server_id, granularity),
    }


def plan(
    existing: Sequence[alarms.Alarm], wanted: Sequence[dict[str, Any]], *, prune: bool
) -> alarms.Plan:
    """Return the least changes that turn `existing` alarms into `wanted` ones.

    `prune`: those of VMs that are not wanted any more are deleted.
    """
    names = (parse_name(alarm.get("name")) for alarm in existing)
    scope = {found[1] for found in names if found is not None} if prune else set()
    gone = "its VM is gone or not protected any more"
    return alarms.plan(existing, wanted, scope, parse=parse_name, gone=gone)
