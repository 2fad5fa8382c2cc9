# SPDX-License-Identifier: Apache-2.0
"""What a rule is: its template, the numbers its placeholders stand for, and its rendering."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmha_remediator.errors import RuleError
from vmha_remediator.rules import metrics

#: Least values at which a reading still means something: three heartbeats (1 s apart) or
#: three lease renewals (2 s apart) in a row must be missing.
MIN_HEARTBEAT_AGE = 3.0
MIN_LEASE_AGE = 6.0
#: A cluster with fewer agents than this cannot always offer two witnesses of a dead host.
SMALL_CLUSTER = 3
#: The rule on single VMs (vm_rule.py); no rule on hosts can have its name.
VM_RULE = "vm-failure"


@dataclass(frozen=True)
class Thresholds:
    """The numbers that the placeholders of a rule stand for.

    heartbeat_age and lease_age are seconds, witnesses is a count. Raises `RuleError` when a
    value would call a living host dead.
    """

    heartbeat_age: float = 5.0
    lease_age: float = 8.0
    witnesses: int = 2

    def __post_init__(self) -> None:
        for name, least in (
            ("heartbeat_age", MIN_HEARTBEAT_AGE),
            ("lease_age", MIN_LEASE_AGE),
            ("witnesses", 1),
        ):
            value = getattr(self, name)
            if not least <= value < float("inf"):
                raise RuleError(f"threshold {name} is {value}; it must be {least:g} or more")

    def for_cluster(self, agents: int) -> Thresholds:
        """Return the thresholds for a cluster of `agents` hosts with an agent.

        Of two hosts only one is left to bear witness. An unknown size (0) keeps the rule.
        """
        if 0 < agents < SMALL_CLUSTER:
            return dataclasses.replace(self, witnesses=1)
        return self


@dataclass(frozen=True)
class Template:
    """One rule file: what it means, what is done about it, and Aodh's composite rule.

    `rule` still holds its placeholders; `actions` are extra deeds beside reporting, such as
    "disable-scheduling".
    """

    name: str
    severity: str  # "low" | "moderate" | "critical"
    description: str
    action: str  # "recover" | "report"
    rule: Mapping[str, Any]
    actions: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash(self.name)


def render(template: Template, host: str, thresholds: Thresholds) -> dict[str, Any]:
    """Return the composite rule for `host`, ready for Aodh and for the judge.

    Raises `RuleError` for a placeholder that nobody knows.
    """
    values: dict[str, Any] = {
        "$resource_id": metrics.resource_id(host),
        "$granularity": metrics.ARCHIVE_POLICY.granularity,
        "$heartbeat_age": float(thresholds.heartbeat_age),
        "$lease_age": float(thresholds.lease_age),
        "$witnesses": float(thresholds.witnesses),
    }

    def fill(node: Any) -> Any:
        if isinstance(node, str):  # most are
            if not node.startswith("$"):
                return node
            if node not in values:
                raise RuleError(f"{template.name}: unknown placeholder {node}")
            return values[node]
        if isinstance(node, list):
            return [fill(member) for member in node]
        if isinstance(node, Mapping):
            return {key: fill(value) for key, value in node.items()}
        return node

    rendered: dict[str, Any] = fill(template.rule)
    return rendered
