# SPDX-License-Identifier: Apache-2.0
"""A scenario: a folder with README, cluster.yaml, script.yaml and the log that is expected."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.scenarios.sim.faults import act
from tests.scenarios.sim.invariants import Violation
from tests.scenarios.sim.world import Cluster, World

ROOT = Path(__file__).resolve().parents[1]
FILES = ("README", "cluster.yaml", "script.yaml", "log.expect")


@dataclass(frozen=True)
class Otherwise:
    """Another right end of a story whose engine was killed: what differs in it, and why."""

    why: str
    expect: Mapping[str, Any]


@dataclass(frozen=True)
class Scenario:
    """What happens to which cluster, and what has to come of it.

    `expect` is checked apart from the log, so that a log cannot be blessed which shows the
    wrong outcome: incidents ("host rule state"), evacuated and fenced names, reports (how
    many), runs (VM -> host or null) and healed (all is well again at the end).
    """

    name: str
    cluster: Cluster
    steps: tuple[str, ...]
    until: float
    expect: Mapping[str, Any] = field(default_factory=dict)
    if_killed: tuple[Otherwise, ...] = ()
    xfail: str = ""


def names() -> list[str]:
    """Return the names of all scenarios."""
    return sorted(path.parent.name for path in ROOT.glob("*/script.yaml"))


def load(name: str) -> Scenario:
    """Return one scenario; raises OSError or ValueError."""
    folder = ROOT / name
    script = yaml.safe_load((folder / "script.yaml").read_text(encoding="utf-8"))
    cluster = yaml.safe_load((folder / "cluster.yaml").read_text(encoding="utf-8")) or {}
    if "hosts" in cluster:
        count = cluster["hosts"]
        cluster["hosts"] = tuple(f"h{n}" for n in range(1, count + 1))
    unknown = script.keys() - {"steps", "until", "expect", "if_killed", "xfail"}
    if unknown:
        raise ValueError(f"{name}: unknown keys {sorted(unknown)}")
    return Scenario(
        name,
        Cluster(**cluster),
        tuple(script["steps"]),
        float(script["until"]),
        script.get("expect", {}),
        tuple(_otherwise(dict(end)) for end in script.get("if_killed", [])),
        script.get("xfail", ""),
    )


def _otherwise(end: dict[str, Any]) -> Otherwise:
    return Otherwise(end.pop("why"), end)


@dataclass(frozen=True)
class Outcome:
    """What came of a scenario: its log, and every reason why it is not as expected."""

    log: str
    problems: tuple[str, ...]


def run(scenario: Scenario) -> Outcome:
    """Play a scenario to its end."""
    world = World(scenario.cluster, scenario.name)
    problems: list[str] = []
    with world.running():
        for step in scenario.steps:
            when, line = str(step).split(maxsplit=1)
            world.clockwork.at(float(when), partial(act, world, line))
        try:
            world.run_until(scenario.until)
            world.invariants.at_the_end()
            if scenario.expect.get("healed"):
                world.invariants.healed()
        except Violation as exc:
            problems.append(str(exc))
        problems += _unexpected(world, scenario.expect)
    return Outcome("\n".join(world.lines) + "\n", tuple(problems))


def play(name: str) -> Outcome:
    """Load and run one scenario."""
    return run(load(name))


def incidents(world: World) -> list[str]:
    """Return all incidents, oldest first, as "host rule state"."""
    found = world.control.store.incidents()
    return [f"{i.host} {i.rule} {i.state}" for i in reversed(found)]


def runs(world: World) -> dict[str, str | None]:
    """Return where each VM really runs."""
    return {
        vm: next((h.name for h in world.hosts.values() if vm in h.guests), None)
        for vm in sorted(world.nova.servers_by_id)
    }


FOUND: Mapping[str, Callable[[World], Any]] = {
    "incidents": incidents,
    "evacuated": lambda world: sorted(world.invariants.evacuations),
    "fenced": lambda world: sorted(world.invariants.fenced),
    "reports": lambda world: len(world.control.reports),
    "started": lambda world: [
        line.split()[2] for line in world.lines if " guest " in line and " starts on " in line
    ],
    "disabled": lambda world: sorted(world.nova.disabled),
    "silent": lambda world: sorted(
        h.name
        for h in world.hosts.values()
        if h.agent is not None and not h.agent.picture.qualification.ok
    ),
}
#: What else can be expected.
OTHERS = frozenset({"runs", "states", "told", "untold", "healed"})
DEFAULTS: Mapping[str, Any] = {"incidents": [], "evacuated": [], "fenced": []}


def _unexpected(world: World, expect: Mapping[str, Any]) -> list[str]:
    problems = []
    for key, wanted in {**DEFAULTS, **expect}.items():
        if key in FOUND:
            found = FOUND[key](world)
            if found != wanted:
                problems.append(f"{key}: expected {wanted}, found {found}")
    really = runs(world)
    for vm, host in expect.get("runs", {}).items():
        if really.get(vm) != host:
            problems.append(f"{vm} runs on {really.get(vm)}, expected {host}")
    are = {vm: world.nova.servers_by_id[vm].vm_state for vm in expect.get("states", {})}
    problems += [
        f"{vm} is {are[vm]}, expected {state}"
        for vm, state in expect.get("states", {}).items()
        if are[vm] != state
    ]
    for text in expect.get("told", []):
        if not any(text in line for line in world.lines):
            problems.append(f"nobody says: {text}")
    for text in expect.get("untold", []):
        problems += [f"somebody says: {line.strip()}" for line in world.lines if text in line][:1]
    unknown = expect.keys() - FOUND.keys() - OTHERS
    return problems + [f"unknown expectation {key}" for key in sorted(unknown)]


def difference(name: str, log: str) -> str:
    """Return how a log differs from the expected one, empty when it does not."""
    path = ROOT / name / "log.expect"
    wanted = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = difflib.unified_diff(
        wanted.splitlines(), log.splitlines(), f"{name}/log.expect", "now", lineterm="", n=2
    )
    return "\n".join(lines)


def bless(name: str, log: str) -> None:
    """Make this log the expected one."""
    (ROOT / name / "log.expect").write_text(log, encoding="utf-8")
