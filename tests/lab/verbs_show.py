# SPDX-License-Identifier: Apache-2.0
"""Verbs that show and measure the whole: demo, bench-failover, bench-evacuate, timeline."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console

from tests.lab import bench, bench_evacuate, demo, teardown, timeline
from tests.lab.errors import LabError
from tests.lab.observe import Observer
from tests.lab.verbs_cloud import ensure_up, verb
from tests.lab.verbs_hosts import violations
from tests.lab.view import Stage

_DEMO = """\
Bring the lab up, boot 12 VMs (8 protected), take one host's power, show every protected VM coming
back, take the host back, cut another host's management network, show that nothing moves, heal.
Ends by itself. Exit status 0 only if every finding is good and every invariant held.

examples:
  python -m tests.lab demo
  python -m tests.lab demo --keep      leave the lab up afterwards
"""
_BENCH = """\
Kill the host with most protected VMs, time every stage until they run elsewhere, take the host
back, and again. Prints minimum, median and maximum of each stage in seconds.

examples:
  python -m tests.lab bench-failover --runs 10
  python -m tests.lab bench-failover --runs 3 --json
"""
_EVACUATE = """\
Let one host with N protected VMs die and time the engine, from the stored proof that the host is
off to the last VM running; and a bare script that fires the same evacuations at Nova, with several
fixed concurrencies. Exit status 0 only if the engine takes at most 1.3 times the best of those.

examples:
  python -m tests.lab bench-evacuate --vms 50
  python -m tests.lab bench-evacuate --vms 20 --fixed 8,16 --rounds 3
"""
_TIMELINE = """\
Tell what happened when: faults, suspicions of the witnesses, Aodh's alarms, every incident step,
every VM, in one order; "+" is the time since the latest fault.

examples:
  python -m tests.lab timeline
  python -m tests.lab timeline --json
"""


def add_verbs(subparsers: Any) -> None:
    """Add demo, bench-failover, bench-evacuate and timeline."""
    show = verb(subparsers, "demo", "the whole show; ends by itself", _DEMO, _demo)
    show.add_argument("--keep", action="store_true", help="leave the lab up")
    runs = verb(subparsers, "bench-failover", "time failovers", _BENCH, _bench)
    runs.add_argument("--runs", type=int, default=10, metavar="N", help="how many (default 10)")
    runs.add_argument("--keep", action="store_true", help="leave the lab up")
    runs.add_argument("--json", action="store_true", help="for programs")
    moves = verb(subparsers, "bench-evacuate", "time evacuations", _EVACUATE, _bench_evacuate)
    moves.add_argument("--vms", type=int, default=50, metavar="N", help="how many (default 50)")
    moves.add_argument(
        "--fixed",
        default=",".join(map(str, bench_evacuate.FIXED)),
        metavar="A,B",
        help="the script's concurrencies (default %(default)s)",
    )
    moves.add_argument("--rounds", type=int, default=1, metavar="N", help="of all (default 1)")
    moves.add_argument("--keep", action="store_true", help="leave the lab up")
    when = verb(subparsers, "timeline", "what happened when", _TIMELINE, _timeline)
    when.add_argument("--json", action="store_true", help="for programs")


def _demo(args: argparse.Namespace) -> int:
    console = Console()
    fresh = ensure_up()
    good = False
    try:
        good = _play(console)
    except LabError as exc:
        console.print(f"[bold red]the show is stuck:[/] {exc}", highlight=False)
        console.print("what happened: python -m tests.lab timeline (with --keep)")
    finally:
        if fresh and not args.keep:
            teardown.down(lambda _: None, keep_logs=not good)
    console.print("[bold green]all good[/]" if good else "[bold red]NOT good[/]")
    return 0 if good else 1


def _play(console: Console) -> bool:
    with Stage(console) as stage:
        show = demo.Demo(stage)
        findings = show.play()
    found = violations()
    findings += [demo.Finding(False, violation) for violation in found]
    findings += [demo.Finding(True, "every invariant held: nothing ran twice")] * (not found)
    return demo.show_findings(stage, findings)


def _bench(args: argparse.Namespace) -> int:
    console = Console()
    if args.runs < 1:
        raise LabError("--runs takes a number from 1")
    fresh = ensure_up()
    try:
        runs = bench.failovers(args.runs, lambda line: console.print(line, highlight=False))
        found = violations()
    finally:
        if fresh and not args.keep:
            teardown.down(lambda _: None)
    if args.json:
        print(json.dumps(runs, indent=1))
    else:
        console.print(bench.summary(runs))
    for violation in found:
        console.print(f"[bold red]violated:[/] {violation}")
    return 1 if found else 0


def _bench_evacuate(args: argparse.Namespace) -> int:
    console = Console()
    fixed = [int(word) for word in args.fixed.split(",") if word.isdecimal() and int(word)]
    if args.vms < 1 or args.rounds < 1 or not fixed:
        raise LabError("--vms and --rounds take a number from 1, --fixed a list of them: 8,16")
    fresh = ensure_up()
    try:
        found = bench_evacuate.run(
            args.vms, fixed, args.rounds, lambda line: console.print(line, highlight=False)
        )
    finally:
        if fresh and not args.keep:
            teardown.down(lambda _: None, keep_logs=True)
    times = bench_evacuate.ratio(found)
    console.print(bench_evacuate.summary(found, args.vms))
    console.print(
        f"the engine takes {times:.2f} times as long as the best script "
        f"(limit {bench_evacuate.LIMIT:g})"
    )
    return 0 if times <= bench_evacuate.LIMIT else 1


def _timeline(args: argparse.Namespace) -> int:
    observer = Observer()
    names = {alarm["alarm_id"]: alarm["name"] for alarm in observer.aodh.alarms()}
    found = timeline.moments(observer.store, names)
    if args.json:
        print(timeline.as_json(found))
    else:
        for line in timeline.as_text(found):
            print(line)
    return 0
