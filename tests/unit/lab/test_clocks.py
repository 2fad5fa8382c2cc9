# SPDX-License-Identifier: Apache-2.0
"""A process with a clock of its own: the wall clock steps with the file, nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.lab import clocks, layout

#: Says how far the clocks of this process and of a forked child are ahead of the given ones.
PROBE = """
import datetime, os, sys, time
wall, mono, wanted = float(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
def settled():
    return abs(time.time() - wall - (time.monotonic() - mono) - wanted) < 1
while not settled():
    time.sleep(0.01)
told = datetime.datetime.now(datetime.UTC).timestamp() - time.time()
if os.fork() == 0:
    while not settled():
        time.sleep(0.01)
    os._exit(0)
_, status = os.wait()
print(round(told), time.monotonic() - mono < 60, status)
"""


def told(host: str, ahead: float) -> str:
    clocks.set_ahead(host, ahead)
    now = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time(), time.monotonic())"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.split()
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *now, str(ahead)],
        env={**os.environ, **clocks.environment(host, "agent")},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


def test_its_clock_is_ahead_or_behind_and_so_are_its_children(lab: Path) -> None:
    layout.host_dir("h1").mkdir(parents=True)
    assert told("h1", 3600.0) == "0 True 0"
    assert told("h1", -3600.0) == "0 True 0"


def test_only_what_dates_measures_gets_one_and_only_where_asked_for(lab: Path) -> None:
    layout.host_dir("h1").mkdir(parents=True)
    assert clocks.environment("h1", "agent") == {}
    clocks.set_ahead("h1", 0.0)
    assert set(clocks.environment("h1", "polling")) == {"VMHA_LAB_CLOCK", "PYTHONPATH"}
    assert clocks.environment("h1", "compute") == {}
    clocks.forget("h1")
    assert not clocks.own("h1")
