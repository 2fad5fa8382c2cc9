# SPDX-License-Identifier: Apache-2.0
"""What the plugin adds to `openstack --help`: pairs of runs with and without it, in turns.

`openstack --help` loads every command of every plugin, so it is the slowest start there is. The
plugin is hidden by leaving its entry points out of what stevedore finds; both runs of a pair go
through the same few lines. CPU time is what to go by on a machine that does other things, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

PAIRS = 10
#: What the plugin may add at most, in milliseconds.
GOAL = 50.0
RUN = """
import sys
from stevedore import _cache
hidden, every = sys.argv.pop(1) == "without", _cache.get_group_all
def found(group):
    return [e for e in every(group) if not (hidden and e.value.startswith("vmha_remediator"))]
_cache.get_group_all = found
from openstackclient import shell
sys.exit(shell.main(["--help"]))
"""


def run(which: str) -> tuple[float, float, str]:
    """Return wall and CPU time of one run in ms, and what it printed."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", RUN, which],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"openstack --help ended with {process.returncode}")
    wall = time.perf_counter() - began
    return wall * 1000, (used.ru_utime + used.ru_stime) * 1000, said


def main() -> int:
    """Measure, print, and return 1 if the goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of runs")
    pairs = parser.parse_args().pairs
    if ("vmha host list" in run("without")[2]) or ("vmha host list" not in run("with")[2]):
        raise SystemExit("the plugin is not installed here, or cannot be hidden")
    walls, cpus = [], []
    for n in range(pairs):
        found = {which: run(which) for which in (("with", "without"), ("without", "with"))[n % 2]}
        walls.append((found["with"][0], found["without"][0]))
        cpus.append((found["with"][1], found["without"][1]))
        print(f"{n + 1:2} of {pairs}: {cpus[-1][0] - cpus[-1][1]:+7.1f} ms CPU", file=sys.stderr)
    print(f"openstack --help, {pairs} pairs, load {os.getloadavg()[0]:.1f}; medians in ms")
    head = ("with", "without", "added", "from", "to", "least", "least w/o")
    print(f"{'':10}" + "".join(f"{word:>10}" for word in head))
    for name, times in (("CPU time", cpus), ("wall time", walls)):
        added = sorted(one - other for one, other in times)
        half = len(added) // 4  # the middle half of the differences
        print(
            f"{name:10}{statistics.median(t[0] for t in times):10.0f}"
            f"{statistics.median(t[1] for t in times):10.0f}{statistics.median(added):+10.1f}"
            f"{added[half]:+10.1f}{added[-1 - half]:+10.1f}"
            f"{min(t[0] for t in times):10.0f}{min(t[1] for t in times):10.0f}"
        )
    return int(statistics.median(one - other for one, other in cpus) > GOAL)


if __name__ == "__main__":
    sys.exit(main())
