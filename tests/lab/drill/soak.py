# SPDX-License-Identifier: Apache-2.0
"""Play many faults in random order, and sum up what came of them."""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.lab.drill.play import Played
from tests.lab.drill.table import Fault

Say = Callable[[str], None]


def order(faults: Sequence[Fault], runs: int, seed: int) -> list[Fault]:
    """Return every fault `runs` times, each round in another order; the same for one seed."""
    dice = random.Random(seed)
    return [fault for _ in range(runs) for fault in dice.sample(faults, len(faults))]


def soak(
    faults: Iterable[Fault],
    play: Callable[[Fault], Played],
    say: Say,
    keep: Callable[[list[Played]], None] = lambda played: None,
) -> list[Played]:
    """Play `faults` one after another; `keep` gets all results so far after each."""
    todo = list(faults)
    played: list[Played] = []
    for number, fault in enumerate(todo, 1):
        result = play(fault)
        played.append(result)
        say(sentence(result, number, len(todo)))
        for problem in result.problems:
            say(f"      {problem}")
        keep(played)
    return played


def sentence(played: Played, number: int, of: int) -> str:
    """Return one line about one fault."""
    mark = "right" if played.right else "WRONG"
    after = "" if played.after is None else f" after {played.after:.1f} s"
    return (
        f"{time.strftime('%H:%M:%S')} {number:3}/{of} {mark} {played.number:2} {played.name} "
        f"of {played.victim}: {played.expected} expected{after}; {played.took:.0f} s"
    )


def listing(faults: Iterable[Fault]) -> Table:
    """Return the table of faults for people."""
    table = Table(box=None, header_style="bold")
    table.add_column("fault", justify="right")
    table.add_column("name", no_wrap=True)
    table.add_column("what is done")
    table.add_column("what has to come of it")
    for fault in faults:
        expected = fault.expected
        perhaps = f" (perhaps {', '.join(sorted(expected.also))})" if expected.also else ""
        action = "" if expected.rule is None else f": {expected.action}"
        due = f"{expected.verdict}{action}{perhaps}"
        table.add_row(str(fault.number), fault.name, fault.what, due)
    return table


def summary(played: Iterable[Played]) -> Table:
    """Return a table of all faults: how often right, and how long until what had to come."""
    table = Table(title="faults on the real lab", title_justify="left")
    for column in ("fault", "name", "expected", "right", "false failures", "after (s)"):
        table.add_column(column, justify="left" if column in ("name", "expected") else "right")
    by_name: dict[tuple[int, str], list[Played]] = {}
    for one in played:
        by_name.setdefault((one.number, one.name), []).append(one)
    for (number, name), runs in sorted(by_name.items()):
        times = [run.after for run in runs if run.after is not None]
        spread = ""
        if times:
            spread = f"{min(times):.1f} / {statistics.median(times):.1f} / {max(times):.1f}"
        right, false = sum(r.right for r in runs), sum(r.false_failure for r in runs)
        colour = "green" if right == len(runs) else "bold red"
        counted = f"[{colour}]{right} of {len(runs)}[/]"
        table.add_row(str(number), name, runs[0].expected, counted, str(false), spread)
    return table


def as_data(played: Sequence[Played], seed: int, runs: int) -> dict[str, Any]:
    """Return the results for programs."""
    return {
        "seed": seed,
        "runs": runs,
        "right": bool(played) and all(one.right for one in played),
        "false_failures": sum(one.false_failure for one in played),
        "faults": [{**asdict(one), "right": one.right} for one in played],
    }


def write(path: Path, data: dict[str, Any]) -> None:
    """Write the results to a file, whole or not at all."""
    half = path.with_name(f"{path.name}.half")
    half.write_text(json.dumps(data, indent=1) + "\n")
    half.replace(path)
