# SPDX-License-Identifier: Apache-2.0
"""Play scenarios: `python -m tests.scenarios NAME...`, `--list`, `explore`, `crash`, `mutants`."""

from __future__ import annotations

import argparse
import sys

from tests.scenarios.sim import crash, explore, mutants, script
from tests.scenarios.sim.many import spread


def main() -> int:
    """Run one command and return its exit status."""
    others = {"explore": explore.main, "crash": crash.main, "mutants": mutants.main}
    if sys.argv[1:] and sys.argv[1] in others:
        return others[sys.argv[1]](sys.argv[2:])
    parser = argparse.ArgumentParser(
        prog="python -m tests.scenarios",
        description="Play scenarios on the virtual clock and compare their logs with log.expect.",
        epilog="also, each with a --help of its own: explore (random faults), crash (the engine "
        "dies at every deed), mutants (wrong code has to be found)",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--bless", action="store_true", help="make the logs the expected ones")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    args = parser.parse_args()
    if args.list:
        for name in script.names():
            first = (script.ROOT / name / "README").read_text(encoding="utf-8").splitlines()[0]
            print(f"{name:<32} {first}")
        return 0
    names = args.names or script.names()
    outcomes = spread(script.play, names, "fork")
    return max(
        [_tell(n, o, args.bless, len(names) == 1) for n, o in zip(names, outcomes, strict=True)]
    )


def _tell(name: str, outcome: script.Outcome, bless: bool, alone: bool) -> int:
    if alone:
        print(outcome.log, end="")
    known = script.load(name).xfail
    for problem in outcome.problems:
        print(f"{name}: {'known: ' if known else 'PROBLEM: '}{problem}")
    if known and not outcome.problems:
        print(f"{name}: works now; take xfail out of its script.yaml")
    if known or outcome.problems:  # a wrong story is never blessed
        return 0 if known and outcome.problems else 1
    changed = script.difference(name, outcome.log)
    if not changed:
        print(f"{name}: as expected")
        return 0
    if bless:
        script.bless(name, outcome.log)
        print(f"{name}: blessed")
        return 0
    print(f"{name}: the log differs:\n{changed}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
