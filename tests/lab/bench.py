# SPDX-License-Identifier: Apache-2.0
"""Measure failovers: from power loss to every protected VM running again, stage by stage."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable

from rich.table import Table

from tests.lab import boot, faults, hosts, timeline
from tests.lab.errors import LabError
from tests.lab.observe import Observer
from tests.lab.snapshot import Snapshot
from tests.lab.watch import all_well, both, incident_state, run_elsewhere, runs_well, watch

VMS = 12
READY, RECOVERY, RETURN = 120.0, 180.0, 180.0  # s, upper bounds

Say = Callable[[str], None]
Run = dict[str, float]  # stage -> seconds after the power loss


def failovers(runs: int, say: Say) -> list[Run]:
    """Kill a host `runs` times, each time the one with most protected VMs; return the times."""
    observer = Observer()
    boot.top_up(VMS, say)
    found = []
    for number in range(1, runs + 1):
        ready = watch(observer, _ready, "every host is well and every VM runs", READY)
        host, protected = _victim(ready)
        reached = _one(observer, host, protected)
        found.append(reached)
        told = ", ".join(f"{name} {seconds:.1f}" for name, seconds in reached.items())
        say(f"run {number} of {runs}: {host} with {len(protected)} protected VMs: {told}")
        _back(observer, host)
    return found


def _one(observer: Observer, host: str, protected: list[str]) -> Run:
    observer.since = time.time()  # not the incident of an earlier run
    hosts.kill(host)
    lost = faults.last("kill", host)
    watch(
        observer,
        both(
            incident_state(host, "failure", "recovered", "readmitted"),
            run_elsewhere(protected, host),
        ),
        f"the protected VMs of {host} run elsewhere",
        RECOVERY,
    )
    return timeline.stages(observer.latest(host), lost)


def _back(observer: Observer, host: str) -> None:
    """Switch the host on, wait until it is taken back, and start what died with it."""
    hosts.boot_host(host)
    watch(
        observer,
        both(incident_state(host, "failure", "readmitted"), all_well),
        f"{host} takes part again",
        RETURN,
    )
    boot.restart_dead(host)


def _ready(shot: Snapshot) -> bool:
    return all_well(shot) and all(runs_well(vm) for vm in shot.vms)


def _victim(shot: Snapshot) -> tuple[str, list[str]]:
    counts = Counter(vm.host for vm in shot.vms if vm.tagged)
    if not counts:
        raise LabError("no protected VM runs: python -m tests.lab boot 12 --mix")
    host = counts.most_common(1)[0][0]
    return host, [vm.id for vm in shot.vms if vm.tagged and vm.host == host]


def summary(runs: list[Run]) -> Table:
    """Return a table of minimum, median and maximum of every stage, in seconds."""
    table = Table(title=f"seconds after power loss, {len(runs)} runs", title_justify="left")
    for column in ("stage", "minimum", "median", "maximum"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, _ in timeline.STAGES:
        values = [run[name] for run in runs if name in run]
        if values:
            figures = (min(values), statistics.median(values), max(values))
            table.add_row(name, *(f"{value:.1f}" for value in figures))
    return table
