# SPDX-License-Identifier: Apache-2.0
"""Measure evacuations: the engine against a bare script that fires the same ones at Nova.

The script is as good as a script can be: it knows that the host is dead, names no destination,
writes nothing down, and each of its threads asks for the next VM as soon as one runs. It is
tried with several fixed concurrencies, and the engine is compared with the best of them.
Both are timed by what the guests write: the engine from the stored proof that the host is off,
the script from its first request, each to the moment in which the last VM runs again.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from tests.lab import boot, hosts, nova_api, process, records, services, timeline
from tests.lab.errors import LabError
from tests.lab.guests import servers
from tests.lab.observe import Observer
from tests.lab.services import base
from tests.lab.watch import all_well, both, incident_state, watch
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.remedy.states import IncidentState

HOST = "h1"
PREFIX = "bench"
RECOVERED = (IncidentState.RECOVERED, IncidentState.READMITTED)
FIXED = (4, 8, 16, 32)
LIMIT = 1.3  # the engine may take so much longer than the best script
WAIT = 600.0  # s, an upper bound for each phase: 50 VMs on a busy machine take minutes
POLL = 0.25  # s between two looks of the script at a VM

Say = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """How long it took to bring all VMs back, in seconds; `parallel` 0: the engine."""

    parallel: int
    seconds: float
    half: float  # until half of them ran


def run(count: int, fixed: Sequence[int], rounds: int, say: Say) -> list[Result]:
    """Evacuate `count` VMs by each fixed concurrency and by the engine, `rounds` times."""
    observer = Observer()
    found: list[Result] = []
    for number in range(1, rounds + 1):
        for parallel in (0, *fixed):
            vms = _prepare(observer, count)
            result = _by_engine(observer, vms) if not parallel else _by_script(vms, parallel)
            found.append(result)
            say(f"round {number}: {_name(result)}: {result.seconds:.1f} s for {count} VMs")
            _restore(observer)
    return found


def ratio(results: Sequence[Result]) -> float:
    """Return the engine's median time by that of the best fixed concurrency."""
    return _median(results, 0) / min(_median(results, p) for p in _fixed(results))


def summary(results: Sequence[Result], count: int) -> Table:
    """Return a table with a line each for the engine and every fixed concurrency."""
    title = f"{count} VMs of one dead host: seconds until the last of them runs"
    table = Table(title=title, title_justify="left")
    for column in ("who", "median", "minimum", "maximum", "half of them"):
        table.add_column(column, justify="left" if column == "who" else "right")
    for parallel in (0, *_fixed(results)):
        mine = [r for r in results if r.parallel == parallel]
        times = [r.seconds for r in mine]
        figures = (statistics.median(times), min(times), max(times))
        half = statistics.median(r.half for r in mine)
        table.add_row(_name(mine[0]), *(f"{value:.1f}" for value in (*figures, half)))
    return table


def _fixed(results: Sequence[Result]) -> list[int]:
    return sorted({r.parallel for r in results} - {0})


def _median(results: Sequence[Result], parallel: int) -> float:
    return statistics.median(r.seconds for r in results if r.parallel == parallel)


def _name(result: Result) -> str:
    return f"script, {result.parallel} at a time" if result.parallel else "engine"


# -- before and after ----------------------------------------------------------------------


def _prepare(observer: Observer, count: int) -> list[str]:
    """Boot the VMs, all by one request, on a host that is well; return their ids."""
    watch(observer, all_well, "every host is well", WAIT)
    boot.many(count, HOST, PREFIX)

    def ready() -> bool:
        found = _mine()
        if any(s["status"] == "ERROR" for s in found):
            raise LabError(f"{HOST} has no room for {count} VMs: see 'openstack server list'")
        disks = records.disks()
        active = [s["id"] for s in found if s["status"] == "ACTIVE" and s["id"] in disks]
        return len([vm for vm in active if records.last(disks[vm]) is not None]) == count

    process.wait_for(ready, f"{count} VMs to run on {HOST}", WAIT, interval=1)
    return [str(s["id"]) for s in _mine()]


def _mine() -> list[dict[str, Any]]:
    return [s for s in servers() if str(s["name"]).startswith(PREFIX)]


def _restore(observer: Observer) -> None:
    """Delete the VMs, switch the host on and take it back."""
    mine = [s["id"] for s in _mine()]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda vm: nova_api.request("DELETE", f"/servers/{vm}"), mine))
    process.wait_for(lambda: not _mine(), "the VMs to be gone", WAIT, interval=1)
    hosts.boot_host(HOST)
    if not process.alive("remediator"):
        _until_unforced()
        base.start(services.find("remediator"))
    settled = incident_state(HOST, "failure", "readmitted", "cleared")
    any_open = any(i.host == HOST for i in observer.store.incidents(active_only=True))
    watch(observer, both(settled, all_well) if any_open else all_well, f"{HOST} is back", WAIT)


def _until_unforced() -> None:
    """Take the force-down back, once the host's nova-compute has completed its records."""

    def done() -> bool:
        try:
            nova_api.set_service(HOST, forced_down=False)
        except LabError:  # Nova refuses while evacuation records are not completed
            return False
        return True

    process.wait_for(done, f"Nova to take {HOST} back", WAIT, interval=1)


# -- the two of them -----------------------------------------------------------------------


def _by_engine(observer: Observer, vms: Sequence[str]) -> Result:
    begun = observer.since = time.time()
    hosts.kill(HOST)

    def recovered() -> bool:  # asks nobody but the engine's database: looking costs time, too
        return any(i.state in RECOVERED for i in _failures(observer, begun))

    process.wait_for(recovered, "the engine to bring every VM back", WAIT, interval=1)
    proof = _failures(observer, begun)[0].proof
    assert proof is not None
    return _result(0, proof.time, vms)


def _failures(observer: Observer, since: float) -> list[Incident]:
    found = observer.store.incidents()
    return [i for i in found if i.host == HOST and i.rule == "failure" and i.opened >= since]


def _by_script(vms: Sequence[str], parallel: int) -> Result:
    base.stop(services.find("remediator"))
    hosts.kill(HOST)
    nova_api.set_service(HOST, forced_down=True)
    begun = time.time()
    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(_evacuate, vms))
    return _result(parallel, begun, vms)


def _evacuate(vm: str) -> None:
    """Fire one evacuation and wait until the VM runs elsewhere."""
    deadline = time.monotonic() + WAIT
    nova_api.post(f"/servers/{vm}/action", {"evacuate": {}})
    while True:
        server = nova_api.get(f"/servers/{vm}")["server"]
        moved = server["OS-EXT-SRV-ATTR:host"] != HOST and not server["OS-EXT-STS:task_state"]
        if moved and server["status"] == "ACTIVE":
            return
        if server["status"] == "ERROR" or time.monotonic() > deadline:
            raise LabError(f"{server['name']} was not evacuated: it is {server['status']}")
        time.sleep(POLL)


def _result(parallel: int, begun: float, vms: Sequence[str]) -> Result:
    """Read from the disks when each guest wrote for the first time on its new host."""

    def wrote() -> list[float]:
        lives = (timeline.lives(vm) for vm in vms)
        return sorted(w for life in lives for host, w in life[-1:] if host != HOST and w > begun)

    process.wait_for(lambda: len(wrote()) == len(vms), "every guest to write", WAIT, interval=1)
    times = wrote()
    return Result(parallel, times[-1] - begun, times[len(times) // 2] - begun)
