# SPDX-License-Identifier: Apache-2.0
"""What happened when: faults, evidence, alarms, incident steps and VMs, in one order.

Each source speaks for itself: the lab's event log, the pollsters' and Aodh's logs, the incident
journal, and the disks (the first record that a guest wrote after it came up elsewhere).
"""

from __future__ import annotations

import datetime
import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from tests.lab import faults, layout, records
from vmha_remediator.remedy.incident import Incident, VmStatus
from vmha_remediator.store import Store

#: Logs that know of something that nobody stores: file, what to look for, source, what to say.
#: A pollster says whom it suspects when that changes: from then on it publishes samples of it.
_LOGS = (
    ("h*-polling.log", re.compile(r"suspect: (?P<what>.+)$"), "evidence", "suspects {what}"),
    ("remediator.log", re.compile(r"(?P<what>Alarm \S+ of \S+ rang)"), "webhook", "{what}"),
    (
        "aodh-evaluator.log",
        re.compile(r"alarm (?P<alarm>\S+) transitioning to (?P<what>\S.*?) because"),
        "aodh",
        "{alarm} -> {what}",
    ),
)


@dataclass(frozen=True)
class Moment:
    """One thing that happened; `t` is wall time in seconds since the epoch."""

    t: float
    source: str  # "lab", "evidence", "aodh", "webhook", "incident", "vm"
    host: str | None
    what: str


def moments(store: Store, alarm_names: dict[str, str]) -> list[Moment]:
    """Return all that is known, oldest first; `alarm_names` maps alarm ids to names."""
    incidents = list(store.incidents())
    found = [
        *_faults(),
        *_logged(alarm_names),
        *(m for incident in incidents for m in _incident(incident)),
        *_takeovers(incidents),
    ]
    return sorted(found, key=lambda m: m.t)


def _faults() -> Iterator[Moment]:
    for event in faults.events():
        detail = ", ".join(f"{k}={v}" for k, v in (event.get("detail") or {}).items())
        text = f"{event['kind']}{f' ({detail})' if detail else ''}"
        yield Moment(event["t"], "lab", event.get("host"), text)


def _logged(alarm_names: dict[str, str]) -> Iterator[Moment]:
    """Yield what is found in logs; the host is the log's own, if it is of one."""
    for pattern, wanted, source, saying in _LOGS:
        for path in sorted(layout.LOGS.glob(pattern)):
            host = path.name.split("-")[0] if path.name.startswith("h") else None
            for at, text in _log_lines(path.read_text(errors="replace").splitlines()):
                if match := wanted.search(text):
                    found = match.groupdict()
                    alarm = found.get("alarm", "")
                    told = saying.format(**found | {"alarm": alarm_names.get(alarm, alarm)})
                    yield Moment(at, source, host, told)


def _incident(incident: Incident) -> Iterator[Moment]:
    for step in incident.steps:
        yield Moment(step.time, "incident", incident.host, f"{step.step}: {step.sentence}")
    for vm in incident.vms:
        if vm.started is not None:
            what = f"{vm.name}: evacuation accepted by Nova"
            yield Moment(vm.started, "vm", incident.host, what)
        if vm.finished is not None and vm.status is VmStatus.DONE:
            yield Moment(vm.finished, "vm", vm.dest, f"{vm.name}: {vm.vm_state} on {vm.dest}")


def _takeovers(incidents: Iterable[Incident]) -> Iterator[Moment]:
    names = {vm.server_id: vm.name for incident in incidents for vm in incident.vms}
    for vm, name in names.items():
        for host, wall in lives(vm):
            yield Moment(wall, "vm", host, f"{name}: its guest writes on {host}")


def lives(vm: str) -> list[tuple[str, float]]:
    """Return (host, wall time of the first record) of each life of a guest, oldest first."""
    path = records.disks().get(vm)
    if path is None:
        return []
    found: list[tuple[str, float]] = []
    last: tuple[str, str, int] | None = None
    for line in records.lines(path):
        try:
            record = records.parse(line)
        except ValueError:
            continue  # the invariants tell of it
        life = (record.host, record.boot, record.start)
        if life != last:
            found.append((record.host, record.wall))
            last = life
    return found


#: The stages from the fault to the last VM, in order; what each one ends with.
STAGES: tuple[tuple[str, str], ...] = (
    ("detected", "the engine opened the incident"),
    ("fencing", "power off was asked for"),
    ("proof", "proof of power off stored"),
    ("first evacuation", "Nova accepted the first evacuation"),
    ("last evacuation", "Nova accepted the last evacuation"),
    ("last VM active", "the last protected VM is recovered by Nova's word"),
    ("all guests write", "every protected guest has written to its disk again"),
)


def stages(incident: Incident, since: float) -> dict[str, float]:
    """Return seconds from `since` to each stage that this incident has reached."""
    started = [vm.started for vm in incident.vms if vm.started is not None]
    done = [vm for vm in incident.vms if vm.status is VmStatus.DONE and vm.finished is not None]
    finished = [vm.finished for vm in done if vm.finished is not None]
    writes = [
        next(
            (wall for host, wall in lives(vm.server_id) if wall > since and host == vm.dest), None
        )
        for vm in done
    ]
    wrote = [wall for wall in writes if wall is not None]
    at = {
        "detected": incident.opened,
        "fencing": incident.fencing_since,
        "proof": incident.proof.time if incident.proof else None,
        "first evacuation": min(started, default=None),
        "last evacuation": max(started, default=None),
        "last VM active": max(finished, default=None),
        "all guests write": max(wrote, default=None) if len(wrote) == len(incident.vms) else None,
    }
    return {name: at[name] - since for name, _ in STAGES if at[name] is not None}  # type: ignore[operator]


def _log_lines(lines: Iterable[str]) -> Iterator[tuple[float, str]]:
    for line in lines:
        stamp, text = line[:23], line[24:]
        try:
            yield _wall(stamp), text
        except ValueError:
            continue


def _wall(stamp: str) -> float:
    return datetime.datetime.fromisoformat(stamp.replace(",", ".")).timestamp()


def as_text(found: Iterable[Moment]) -> Iterator[str]:
    """Yield one line a moment, with the seconds since the latest fault before it."""
    fault: float | None = None
    for moment in found:
        if moment.source == "lab":
            fault = moment.t
        stamp = time.strftime("%H:%M:%S", time.localtime(moment.t)) + f".{int(moment.t * 10) % 10}"
        after = f"+{moment.t - fault:6.1f} s" if fault is not None else " " * 9
        yield f"{stamp} {after}  {moment.source:9} {moment.host or '-':4} {moment.what}"


def as_json(found: Iterable[Moment]) -> str:
    """Return a JSON list of moments."""
    return json.dumps([asdict(m) for m in found], indent=1)
