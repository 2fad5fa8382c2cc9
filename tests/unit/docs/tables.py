# SPDX-License-Identifier: Apache-2.0
"""Tables in the documents that say what code says: `python -m tests.unit.docs.tables` writes them.

Each stands in its page between two comments, so that it can be read without building anything; a
test compares it with what would be written now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults import FAULTS, GROUPS, played, tried
from tests.lab.drill.table import FAULTS as LAB
from vmha_remediator.api.openapi import PARAMETER
from vmha_remediator.api.route import Route
from vmha_remediator.api.routes import ROUTES
from vmha_remediator.remedy.states import FINAL, FIRST, TRANSITIONS, IncidentState
from vmha_remediator.rules import metrics, templates
from vmha_remediator.rules.model import Template, Thresholds

DOC = Path(__file__).resolve().parents[3] / "doc/source"
_S = IncidentState
MEANING: Mapping[IncidentState, str] = {
    _S.DETECTED: "the alarm rang, and the engine's own reading says failure",
    _S.CONFIRMED: "read again, and no guard objects",
    _S.FENCING: "a driver was asked to switch the host off; it may be off from here on",
    _S.FENCED: "the proof that it is off is stored",
    _S.EVACUATING: "its nova-compute is forced down, its VMs move",
    _S.RECOVERED: "every VM is dealt with; the host is still out",
    _S.READMITTED: "the host takes part again. Over",
    _S.REPORTED: "told; nothing is done to the host",
    _S.HELD: "a person is needed, or a guard's reason has to go",
    _S.CLEARED: "the situation is gone. Over",
}
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "eq": "=", "ne": "≠"}
ACTIONS = {
    "recover": "fence, prove, evacuate",
    "report": "report; its VMs run on",
    "disable-scheduling": "no new VMs there",
}
COLUMNS = (
    metrics.HEARTBEAT_AGE, metrics.LEASE_AGE, metrics.REACHABLE, metrics.ISOLATED,
    metrics.WITNESSES,
)  # fmt: skip


def _table(widths: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in (head, *rows):
        for number, cell in enumerate(row):
            lines.append(f"   {'-' if number else '*'} - {cell}".replace("   - -", "     -"))
    return [line.rstrip() for line in lines]


def states() -> list[str]:
    """Return every state, what it means, and what may follow."""

    def follows(state: IncidentState) -> str:
        return ", ".join(f"``{s}``" for s in IncidentState if s in TRANSITIONS[state]) or "nothing"

    begins = {state: action for action, state in FIRST.items()}
    rows = [
        (
            f"``{state}``",
            MEANING[state] + (f" (first, of ``{begins[state]}``)" if state in begins else ""),
            follows(state),
        )
        for state in IncidentState
    ]
    return _table("18 46 36", ("state", "meaning", "may be followed by"), rows)


def moves() -> list[str]:
    """Return the same as a graph; what leads to and from held is thin."""
    lines = [".. graphviz::", "   :caption: Every move that there is.", "", "   digraph states {"]
    lines.append('      graph [bgcolor="white" rankdir="LR"];')
    lines.append('      node [shape="box" style="rounded" fontname="Helvetica"];')
    for state in IncidentState:
        border = ' peripheries="2"' if state in FINAL else ""
        lines.append(f'      {state} [label="{state}"{border}];')
    for state in IncidentState:
        for following in (s for s in IncidentState if s in TRANSITIONS[state]):
            aside = _S.HELD in (state, following)
            style = ' [style="dashed" color="gray50"]' if aside else ""
            lines.append(f"      {state} -> {following}{style};")
    return [*lines, "   }"]


def _leaves(rule: Mapping[str, Any]) -> dict[str, str]:
    """Return metric -> condition of a rule that is one 'and' of leaves."""
    values = {f"${k}": f"{v:g}" for k, v in vars(Thresholds()).items()}
    found = {}
    for leaf in rule["and"]:
        threshold = values.get(leaf["threshold"], str(leaf["threshold"]))
        unit = metrics.METRICS[leaf["metric"]].unit
        found[leaf["metric"]] = (
            f"{SIGNS[leaf['comparison_operator']]} {threshold}{' s' if unit == 's' else ''}"
        )
    return found


def verdicts() -> list[str]:
    """Return the truth table of the rule files, with the default thresholds."""

    def row(template: Template) -> list[str]:
        leaves = _leaves(template.rule)
        cells = [leaves.pop(metric.name, "") for metric in COLUMNS]
        if leaves:
            raise ValueError(f"{template.name}: no column for {', '.join(leaves)}")
        done = [ACTIONS[word] for word in (template.action, *template.actions)]
        return [f"``{template.name}``", *cells, "; ".join(done)]

    head = ["verdict", *(m.name.removeprefix("vmha.host.") for m in COLUMNS), "what is done"]
    found = sorted(templates.load(), key=lambda t: (t.action != "recover", t.name))
    rows = [row(template) for template in found]
    rows.append(["none", *("",) * len(COLUMNS), "nothing; silence itself is told"])
    return _table("15 12 10 10 9 10 34", head, rows)


def measures() -> list[str]:
    """Return what is published of each host."""
    rows = [
        (f"``{m.name}``", m.unit, m.said_by, m.meaning) for m in metrics.METRICS.values()
    ]  # fmt: skip
    return _table("30 10 14 46", ("metric", "unit", "said by", "meaning"), rows)


def faults() -> list[str]:
    """Return every fault, with the scenarios, the lab's faults and its tests that play it."""
    scenes, tests = played(), tried()
    lab: dict[int, list[str]] = {}
    for drill in LAB:
        lab.setdefault(drill.number, []).append(f"``{drill.name}``")
    lines: list[str] = []
    borders = [*GROUPS, len(FAULTS) + 1]
    for first, group, end in zip(borders, GROUPS.values(), borders[1:], strict=False):
        rows = [
            (
                str(fault.number),
                fault.what,
                ", ".join(f"``{name}``" for name in fault.verdicts) or "none",
                fault.done,
                ", ".join(f":scenario:`{name}`" for name in scenes[fault.number]),
                ", ".join([*lab.get(fault.number, []), *tests.get(fault.number, [])]),
            )
            for fault in FAULTS
            if first <= fault.number < end
        ]
        head = ("", "what happens", "verdict", "what is done", "scenario", "in the lab")
        lines += [group, "=" * len(group), "", *_table("4 22 14 24 22 14", head, rows), ""]
    return lines[:-1]


def operations() -> list[str]:
    """Return every operation of the REST API, from the table that serves it."""

    def path(route: Route) -> str:
        return PARAMETER.sub(r"{\g<name>}", route.path)

    rows = [(f"``{r.method} {path(r)}``", r.summary, f"``{r.policy}``") for r in ROUTES]
    return _table("36 42 22", ("operation", "what it does", "policy"), rows)


#: (page, name in its comment) -> what stands there.
TABLES: Mapping[tuple[str, str], Callable[[], list[str]]] = {
    ("api.rst", "operations"): operations,
    ("architecture.rst", "states"): states,
    ("architecture.rst", "moves"): moves,
    ("architecture.rst", "verdicts"): verdicts,
    ("architecture.rst", "measures"): measures,
    ("faults.rst", "faults"): faults,
}


def fresh(page: str) -> str:
    """Return a page's text with its tables as they should be; raises ValueError if one is gone."""
    text = (DOC / page).read_text(encoding="utf-8")
    for (where, name), make in TABLES.items():
        if where != page:
            continue
        begin, end = f".. made by tests/unit/docs/tables.py: {name}\n", f".. end of {name}\n"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{page} has no place for {name}")
        before, _, rest = text.partition(begin)
        after = rest.partition(end)[2]
        text = "\n".join([before + begin, *make(), "", end + after])
    return text


if __name__ == "__main__":
    for page in sorted({page for page, _ in TABLES}):
        (DOC / page).write_text(fresh(page), encoding="utf-8")
