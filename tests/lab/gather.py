# SPDX-License-Identifier: Apache-2.0
"""Get together what the invariants judge: storage, processes, Nova, event log, journal."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.lab import faults, invariants, layout, nova_api, records
from tests.lab.errors import LabError
from tests.lab.guests import guests
from tests.lab.invariants import Episode, Evacuation, Place, PowerHistory, Proof
from vmha_remediator import conf as vmha_conf
from vmha_remediator.errors import VmhaError
from vmha_remediator.remedy.incident import Change, Incident, VmStatus
from vmha_remediator.store import open_store

_REPORT_WITHIN = 30.0  # s after a change in which somebody must have been told
#: Events of the lab's log that change a host's power.
_POWER = {"boot": "on", "power-is-off": "off"}
_POWER_OFF = ("ForceOff", "GracefulShutdown", "ForceRestart", "GracefulRestart", "PowerCycle")


def violations() -> list[str]:
    """Return every violation there is now; raises `LabError` when Nova cannot be asked."""
    events, (incidents, untold) = faults.events(), journal()
    found = []
    for vm, disk in records.disks().items():
        found += invariants.check_disk(vm, records.lines(disk))
    found += invariants.check_places(places())
    proofs = [Proof(i.host, i.proof.time, i.closed) for i in incidents if i.proof]
    found += invariants.check_evacuations(evacuations(), proofs, power(events))
    return found + invariants.check_episodes(episodes(incidents, untold), power_offs(events))


def places() -> list[Place]:
    """Return where each VM is, by Nova and in truth."""
    return [
        Place(g.vm, g.name, g.status, g.task, g.nova_host, g.running_on, g.died_with_its_host)
        for g in guests()
    ]


def evacuations() -> list[Evacuation]:
    """Return Nova's evacuation records that it accepted, oldest first."""
    found = [
        Evacuation(
            vm=m["instance_uuid"],
            source=m["source_compute"],
            status=m["status"],
            created=nova_api.epoch(m["created_at"]),
            number=m["id"],
        )
        for m in nova_api.get("/os-migrations?migration_type=evacuation")["migrations"]
    ]
    return sorted(found, key=lambda evacuation: evacuation.number)


def power(events: Iterable[dict[str, Any]]) -> PowerHistory:
    """Return when each host had power, from the lab's own log."""
    changes: dict[str, list[tuple[float, str]]] = {}
    for event in events:
        if event["kind"] in _POWER:
            changes.setdefault(event["host"], []).append((event["t"], _POWER[event["kind"]]))
    return PowerHistory(changes)


def power_offs(events: Iterable[dict[str, Any]]) -> list[tuple[float, str]]:
    """Return when a BMC was told to take a host's power away."""
    return [
        (event["t"], event["host"])
        for event in events
        if event["kind"] == "redfish" and event["detail"].get("reset_type") in _POWER_OFF
    ]


def journal() -> tuple[list[Incident], list[Change]]:
    """Return every incident, and the changes nobody was told of; none if it never ran.

    Raises `LabError` if the remediator's database is there and cannot be read.
    """
    config = layout.ETC / "vmha.conf"
    if not config.exists():
        return [], []
    try:
        conf = vmha_conf.load(config_files=[str(config)])
        kind, _, path = conf.database.connection.partition(":///")
        if kind == "sqlite" and not Path(path).exists():  # opening it would make it
            return [], []
        store = open_store(conf)
        try:
            return store.incidents(), store.unreported()
        finally:
            store.close()
    except VmhaError as exc:
        raise LabError(f"the remediator's journal cannot be read: {exc}") from exc


def episodes(incidents: Iterable[Incident], untold: Iterable[Change]) -> list[Episode]:
    """Return the incidents as the invariants see them."""
    late = [change for change in untold if change.time < time.time() - _REPORT_WITHIN]
    return [_episode(i, [c for c in late if c.incident_id == i.id]) for i in incidents]


def _episode(incident: Incident, untold: list[Change]) -> Episode:
    return Episode(
        number=incident.id,
        host=incident.host,
        rule=incident.rule,
        recovers=incident.action == "recover",
        opened=incident.opened,
        closed=incident.closed,
        proof=incident.proof.time if incident.proof else None,
        touched=tuple(vm.server_id for vm in incident.vms if vm.started is not None),
        unexplained=tuple(
            vm.name for vm in incident.vms if vm.status is VmStatus.PENDING and not vm.reason
        ),
        unreported=tuple(f"became {change.after}" for change in untold),
    )
