# SPDX-License-Identifier: Apache-2.0
"""The verb soak: every fault of the table, several times, in random order."""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.lab import teardown
from tests.lab.drill import soak
from tests.lab.drill.play import Played, Player
from tests.lab.drill.table import FAULTS, chosen
from tests.lab.errors import LabError
from tests.lab.verbs_cloud import ensure_up, verb

_SOAK = """\
Play faults on the real cloud, one after another, in random order: each is awaited, judged
against what has to come of it, undone, and the invariants are checked. Brings the lab up if it
is not. Exit status 0 only if every fault got its verdict, nothing else was reported and every
invariant held. The seed gives the same order again.

A whole round takes about 30 minutes.

examples:
  python -m tests.lab soak --list
  python -m tests.lab soak
  python -m tests.lab soak --only 19 20 21 one-way-in --runs 20 --quick
  python -m tests.lab soak --runs 1 --seed 7 --json soak.json
"""


def add_verbs(subparsers: Any) -> None:
    """Add soak."""
    parser = verb(subparsers, "soak", "every fault, several times, in random order", _SOAK, _soak)
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="rounds (default 3)")
    parser.add_argument("--only", nargs="+", default=(), metavar="FAULT", help="names or numbers")
    parser.add_argument("--seed", type=int, metavar="S", help="play the order of an earlier run")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="do not wait until a report is cleared before another host gets the next fault",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="results, after every fault")
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    parser.add_argument("--list", action="store_true", help="only show the faults")


def _soak(args: argparse.Namespace) -> int:
    console = Console()
    if args.list:
        console.print(soak.listing(FAULTS))
        return 0
    if args.runs < 1:
        raise LabError("--runs takes a number from 1")
    faults = chosen(args.only)
    seed = random.randrange(10**6) if args.seed is None else args.seed
    fresh = ensure_up()

    def keep(played: list[Played]) -> None:
        if args.json is not None:
            soak.write(args.json, soak.as_data(played, seed, args.runs))

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True, markup=False)

    say(f"{len(faults)} faults, {args.runs} times, seed {seed}")
    player = Player(strict=not args.quick)
    played: list[Played] = []
    try:
        played = soak.soak(soak.order(faults, args.runs, seed), player.play, say, keep)
    finally:
        right = bool(played) and all(one.right for one in played)
        if fresh and not args.keep:
            teardown.down(lambda _: None, keep_logs=not right)
    console.print(soak.summary(played))
    say(f"{sum(one.right for one in played)} of {len(played)} right; seed {seed}")
    return 0 if right else 1
