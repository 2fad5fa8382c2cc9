# SPDX-License-Identifier: Apache-2.0
"""Get together what the invariants judge: storage, processes, Nova, event log, journal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.lab import faults, hosts, invariants, layout, net, nova_api, records, storage
from tests.lab.errors import LabError
from tests.lab.guests import guests
from tests.lab.invariants import Episode, Evacuation, Place, PowerHistory, Proof
from vmha_pollsters.ask import ask
from vmha_remediator import conf as vmha_conf
from vmha_remediator.errors import AgentUnavailable, VmhaError
from vmha_remediator.remedy.incident import Change, Incident, VmStatus
from vmha_remediator.store import store_to_read

_MOVING = 2.0  # s for which Nova and the truth may differ while something moves
_ELECTION = 15.0  # s for the agents to agree after the last fault was healed
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
    found += _lasting(lambda: invariants.check_places(places()), _MOVING)
    proofs = [Proof(i.host, i.proof.time, i.closed) for i in incidents if i.proof]
    found += invariants.check_evacuations(evacuations(), proofs, power(events))
    told = episodes(incidents, untold)
    found += invariants.check_episodes(told, power_offs(events))
    found += invariants.check_storm(told, _storm_limit())
    if undisturbed():
        found += _lasting(lambda: invariants.check_masters(masters()), _ELECTION)
    return found


def undisturbed() -> bool:
    """Return whether no fault of network or storage is set and no host is frozen."""
    on = [host for host in layout.HOSTS if hosts.power_state(host) == "on"]
    return not any(
        hosts.frozen(host) or net.faults(host) or storage.state(host)["mode"] != "ok"
        for host in on
    )


def masters() -> dict[str, str | None]:
    """Return host -> the master that its agent follows, of the agents that answer.

    None: it has just started and has not read the roster yet.
    """
    return {host: (s["roster"] or {}).get("master") for host, s in _statuses().items()}


def witnesses() -> list[str]:
    """Return the witnesses by the newest roster that an agent knows, the master first."""
    rosters = [s["roster"] for s in _statuses().values() if s["roster"]]
    if not rosters:
        return []
    newest = max(rosters, key=lambda roster: int(roster["term"]))
    return [str(host) for host in newest["witnesses"]]


def qualified(host: str) -> bool:
    """Return whether the agent of `host` may speak of others."""
    return bool(_statuses().get(host, {}).get("qualified"))


def _statuses() -> dict[str, dict[str, Any]]:
    """Return host -> what its agent says of itself, of the agents that answer."""
    found: dict[str, dict[str, Any]] = {}
    for host in layout.HOSTS:
        with contextlib.suppress(AgentUnavailable):
            found[host] = ask(str(layout.host_dir(host) / "agent.sock"), "status")
    return found


def _lasting(check: Callable[[], list[str]], seconds: float) -> list[str]:
    """Return the violations that were there at every look for `seconds`.

    Nova and the processes cannot be read at one instant, and an election takes its time.
    """
    found, deadline = check(), time.monotonic() + seconds
    while found and time.monotonic() < deadline:
        time.sleep(0.5)
        again = check()
        found = [sentence for sentence in found if sentence in again]
    return found


def _storm_limit() -> int:
    config = layout.ETC / "vmha.conf"
    if not config.exists():
        return 1
    share = vmha_conf.load(config_files=[str(config)]).guards.storm_share
    return max(1, int(share * len(layout.HOSTS)))


def places() -> list[Place]:
    """Return where each VM is, by Nova and in truth."""
    return [
        Place(g.vm, g.name, g.status, g.task, g.nova_host, g.running_on, g.died_with_its_host)
        for g in guests()
    ]


def evacuations(vm: str | None = None) -> list[Evacuation]:
    """Return Nova's evacuation records that it accepted, of one server or all, oldest first."""
    only = f"&instance_uuid={vm}" if vm else ""
    found = [
        Evacuation(
            vm=m["instance_uuid"],
            source=m["source_compute"],
            status=m["status"],
            created=nova_api.epoch(m["created_at"]),
            number=m["id"],
            dest=m["dest_compute"],
            updated=nova_api.epoch(m["updated_at"] or m["created_at"]),
        )
        for m in nova_api.get(f"/os-migrations?migration_type=evacuation{only}")["migrations"]
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
        if kind == "sqlite" and not Path(path).exists():  # it never ran
            return [], []
        store = store_to_read(conf)
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
        allowed=bool(incident.released_by),
        unreported=tuple(f"became {change.after}" for change in untold),
    )
