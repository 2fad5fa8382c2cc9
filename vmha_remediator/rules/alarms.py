# SPDX-License-Identifier: Apache-2.0
"""Alarms as they should be, and the least that has to be changed to get there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vmha_remediator.rules import lint
from vmha_remediator.rules.model import Template, Thresholds, render
from vmha_remediator.rules.signing import webhook_url

PREFIX = "vmha"
TYPE = "composite"
#: What of an alarm is ours to set; anything else (ok_actions, time constraints) stays as it is.
FIELDS = (
    "name",
    "type",
    "enabled",
    "severity",
    "description",
    "repeat_actions",
    "alarm_actions",
    "composite_rule",
)
_SIGNATURE = re.compile(r"(\bsig=)[^&\s\"'\\]+")
Alarm = Mapping[str, Any]
#: Returns (rule, host or server) of an alarm's name, or None for somebody else's.
Parser = Callable[[object], tuple[str, str] | None]


@dataclass(frozen=True)
class Change:
    """One alarm that differs: its id and name, and each field's old and new value."""

    alarm_id: str
    name: str
    fields: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Plan:
    """What a sync would do. `delete` holds (alarm id, name, reason)."""

    create: tuple[dict[str, Any], ...] = ()
    update: tuple[Change, ...] = ()
    delete: tuple[tuple[str, str, str], ...] = ()
    unchanged: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def empty(self) -> bool:
        """Tell whether there is nothing to do."""
        return not (self.create or self.update or self.delete)


def alarm_name(rule: str, host: str) -> str:
    """Return the name of the alarm of `rule` for `host`."""
    return f"{PREFIX}:{rule}:{host}"


def parse_name(name: object) -> tuple[str, str] | None:
    """Return (rule, host) of one of our alarms' names, or None for somebody else's."""
    prefix, _, rest = str(name).partition(":")
    rule, colon, host = rest.partition(":")
    if prefix != PREFIX or not colon or not host or not lint.NAME.fullmatch(rule):
        return None
    return rule, host


def is_ours(alarm: Alarm, parse: Parser = parse_name) -> bool:
    """Tell whether an alarm is one that `alarms sync` makes: by type and name."""
    return alarm.get("type") == TYPE and parse(alarm.get("name")) is not None


def alarm_body(
    template: Template, host: str, thresholds: Thresholds, base_url: str, key: bytes
) -> dict[str, Any]:
    """Return the alarm that Aodh shall hold for `template` on `host`.

    repeat_actions is on because Aodh stores a transition before it queues the webhook: a
    broker's hiccup at that moment would otherwise lose it for ever.
    """
    return {
        "name": alarm_name(template.name, host),
        "type": TYPE,
        "enabled": True,
        "severity": template.severity,
        "description": template.description,
        "repeat_actions": True,
        "alarm_actions": [webhook_url(base_url, key, template.name, host)],
        "composite_rule": render(template, host, thresholds),
    }


def wanted(
    templates: Sequence[Template],
    hosts: Iterable[str],
    thresholds: Thresholds,
    base_url: str,
    key: bytes,
) -> list[dict[str, Any]]:
    """Return the alarm of every rule for every host."""
    return [
        alarm_body(template, host, thresholds, base_url, key)
        for host in hosts
        for template in templates
    ]


def plan(
    existing: Iterable[Alarm],
    wanted: Sequence[dict[str, Any]],
    hosts: Iterable[str],
    *,
    parse: Parser = parse_name,
    gone: str = "",
) -> Plan:
    """Return the least changes that turn `existing` alarms into `wanted` ones.

    Only alarms that `parse` knows and only those of `hosts` are deleted (their rule is gone, or
    the name is there twice), with `gone` as the reason; other hosts' and other people's are left
    alone.
    """
    scope = set(hosts)
    by_name: dict[str, list[Alarm]] = {}
    for alarm in existing:
        if is_ours(alarm, parse):
            by_name.setdefault(str(alarm["name"]), []).append(alarm)
    create: list[dict[str, Any]] = []
    update: list[Change] = []
    delete: list[tuple[str, str, str]] = []
    unchanged = 0
    for body in wanted:
        found = by_name.pop(body["name"], [])
        if not found:
            create.append(body)
            continue
        # Aodh lets two alarms have one name: the one that needs least change stays.
        first, *rest = sorted(found, key=lambda a: (len(_differences(a, body)), a["alarm_id"]))
        delete += [(str(a["alarm_id"]), body["name"], "there twice") for a in rest]
        if fields := _differences(first, body):
            update.append(Change(str(first["alarm_id"]), body["name"], fields))
        else:
            unchanged += 1
    left: set[str] = set()
    for name, alarms in by_name.items():
        rule, host = parse(name) or ("", "")
        if host in scope:
            delete += [(str(a["alarm_id"]), name, gone or f"no rule {rule}") for a in alarms]
        else:
            left.add(host)
    return Plan(tuple(create), tuple(update), tuple(delete), unchanged, _notes(left))


def _notes(hosts: Iterable[str]) -> tuple[str, ...]:
    return tuple(
        f"alarms of host {host}, which was not asked for, are left as they are"
        for host in sorted(hosts)
    )


def _differences(alarm: Alarm, body: Alarm) -> dict[str, tuple[Any, Any]]:
    return {f: (alarm.get(f), body[f]) for f in FIELDS if alarm.get(f) != body[f]}


def redact(text: str) -> str:
    """Return `text` with every webhook signature in it replaced by stars."""
    return _SIGNATURE.sub(r"\1***", text)


def describe(changes: Plan) -> list[str]:
    """Return the plan as lines for people: + created, ~ changed, - deleted; no signatures."""
    lines = [f"+ {body['name']}" for body in changes.create]
    for change in changes.update:
        lines.append(f"~ {change.name}")
        for name, (old, new) in change.fields.items():
            lines += [f"    {line}" for line in _field_lines(name, old, new)]
    lines += [f"- {name} ({reason})" for _, name, reason in changes.delete]
    return lines


def _field_lines(name: str, old: Any, new: Any) -> list[str]:
    before, after = _flat(name, old), _flat(name, new)
    lines = []
    for key in dict.fromkeys((*before, *after)):
        was, becomes = before.get(key), after.get(key)
        if was == becomes:
            continue
        shown, wanted = redact(was or "nothing"), redact(becomes or "nothing")
        if shown == wanted:
            wanted += " (another signature)"
        lines.append(f"{key}: {shown} -> {wanted}")
    return lines


def _flat(name: str, value: Any) -> dict[str, str]:
    """Return nested rules and lists as one line a value: path -> JSON text."""
    if isinstance(value, Mapping):
        parts = [_flat(f"{name}.{key}", member) for key, member in value.items()]
    elif isinstance(value, list):
        parts = [_flat(f"{name}[{n}]", member) for n, member in enumerate(value, 1)]
    else:
        return {name: json.dumps(value, ensure_ascii=False)}
    return {key: text for part in parts for key, text in part.items()}
