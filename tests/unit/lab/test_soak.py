# SPDX-License-Identifier: Apache-2.0
"""A soak can be replayed, plays everything, and its result is what it says."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

from rich.console import Console

from tests.lab.drill import soak
from tests.lab.drill.play import Played
from tests.lab.drill.table import FAULTS, Fault

SOME = FAULTS[:5]


def played(fault: Fault, *problems: str, after: float | None = 9.5) -> Played:
    return Played(
        fault.number, fault.name, "h1", fault.expected.verdict, after, 30.0, tuple(problems)
    )


def test_a_seed_gives_the_same_order_again_and_another_seed_another() -> None:
    first = soak.order(SOME, 3, seed=7)
    assert soak.order(SOME, 3, seed=7) == first
    assert soak.order(SOME, 3, seed=8) != first
    assert Counter(f.name for f in first) == dict.fromkeys((f.name for f in SOME), 3)
    assert {f.name for f in first[:5]} == {f.name for f in SOME}  # round by round


def test_each_result_is_told_and_kept_at_once() -> None:
    said: list[str] = []
    kept: list[int] = []
    found = soak.soak(
        SOME[:2],
        lambda fault: played(fault, "missed: no failure"),
        said.append,
        lambda so_far: kept.append(len(so_far)),
    )
    assert kept == [1, 2]
    assert [one.name for one in found] == [f.name for f in SOME[:2]]
    assert "WRONG" in said[0]
    assert said[1].strip() == "missed: no failure"


def test_one_wrong_result_makes_the_whole_wrong(tmp_path: Path) -> None:
    good, bad = played(SOME[0]), played(SOME[1], "false failure: h2 was called failed (x)")
    data = soak.as_data([good, bad], seed=7, runs=1)
    soak.write(tmp_path / "soak.json", data)
    read = json.loads((tmp_path / "soak.json").read_text())
    assert (read["right"], read["false_failures"], read["seed"]) == (False, 1, 7)
    assert [one["right"] for one in read["faults"]] == [True, False]
    assert soak.as_data([], seed=7, runs=1)["right"] is False
    assert soak.as_data([good], seed=7, runs=1)["right"] is True


def test_the_summary_counts_by_fault() -> None:
    console = Console(file=io.StringIO(), width=120)
    runs = [played(SOME[0], after=t) for t in (9.0, 11.0, 16.0)]
    console.print(soak.summary([*runs, played(SOME[1], "missed: no failure", after=None)]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "3 of 3" in text
    assert "9.0 / 11.0 / 16.0" in text
    assert "0 of 1" in text


def test_the_listing_names_every_fault() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(soak.listing(FAULTS))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(fault.name in text for fault in FAULTS)
