# SPDX-License-Identifier: Apache-2.0
"""What each operation of the REST API does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from vmha_remediator.api import foresight, views
from vmha_remediator.api.backend import Backend
from vmha_remediator.api.route import Call
from vmha_remediator.errors import CloudUnavailable, IncidentError, NoSuchHost, StillReading
from vmha_remediator.remedy import capacity, protect, unprotectable
from vmha_remediator.remedy.cluster import EVERYBODY
from vmha_remediator.remedy.incident import Incident, VmStatus
from vmha_remediator.remedy.look import Look
from vmha_remediator.remedy.states import IncidentState
from vmha_remediator.rules.alarms import parse_name
from vmha_remediator.store.pages import Filter
from vmha_remediator.store.people import RELEASABLE

Answer = Mapping[str, Any]
HOUR = 3600.0  # s


# -- the cluster ----------------------------------------------------------------------------


def cluster(call: Call) -> Answer:
    """Return what stands for all: who leads, how many hosts are well, what is wrong."""
    backend = call.backend
    look, leader = backend.view.look(), backend.store.leader()
    active = backend.store.incidents(active_only=True)
    names = _names(look, active)
    states = Counter(views.state_of((look.sights or {}).get(name)) for name in names)
    limits = backend.limits(len(look.sights or ()))
    roles = {name: views.role(sight, limits) for name, sight in (look.sights or {}).items()}
    told = next((i for i in active if i.host == EVERYBODY), None)
    return {
        "leader": leader
        and {
            "owner": leader.owner,
            "since": leader.since,
            "said": leader.said,
            "said_at": leader.said_at,
        },
        "situation": told
        and {
            "rule": told.rule,
            "severity": told.severity,
            "evidence": told.evidence,
            "incident": told.id,
        },
        "masters": sorted(name for name, role in roles.items() if role == "master"),
        "witnesses": sorted(name for name, role in roles.items() if role == "witness"),
        "hosts": {"total": len(names)}
        | {state: states[state] for state in (views.WELL, views.UNWELL, views.UNKNOWN)},
        "incidents": {
            "active": len(active),
            "held": sum(i.state is IncidentState.HELD for i in active),
        },
        "trouble": list(look.trouble),
        "time": backend.clock(),
    }


# -- hosts ----------------------------------------------------------------------------------


def hosts(call: Call) -> Answer:
    """Return every host that Nova or telemetry knows, by name."""
    found, trouble = _hosts(call.backend)
    return {"hosts": [found[name] for name in sorted(found)], "trouble": trouble}


def host(call: Call) -> Answer:
    """Return one host."""
    found, trouble = _hosts(call.backend)
    name = call.path["host"]
    if name not in found:
        raise NoSuchHost(f"neither Nova nor telemetry knows a host named {name!r}")
    return {"host": found[name], "trouble": trouble}


def _hosts(backend: Backend) -> tuple[dict[str, Any], list[str]]:
    look, active = backend.view.look(), backend.store.incidents(active_only=True)
    trouble = list(look.trouble)
    protected: Counter[str] | None = None
    try:
        protected = Counter(
            s.host
            for s in backend.view.servers()
            if s.host and protect.is_protected(s, backend.policy.protect)
        )
    except CloudUnavailable as exc:
        trouble.append(f"the servers cannot be listed now: {exc}")
    by_host = {i.host: i for i in active}
    kept = backend.store.maintenance()
    names = _names(look, active)
    limits = backend.limits(len(look.sights or ()))
    return {
        name: views.host(
            name,
            look,
            by_host.get(name),
            protected[name] if protected is not None else None,
            views.maintenance(kept.get(name)),
            limits,
        )
        for name in names
    }, trouble


def _names(look: Look, active: list[Incident]) -> set[str]:
    known = {*(look.services or ()), *(look.sights or ()), *(i.host for i in active)}
    return known - {EVERYBODY}


def _must_exist(backend: Backend, name: str) -> None:
    look = backend.view.look()
    if look.services is None:
        raise CloudUnavailable("Nova cannot be asked whether it knows the host")
    if name not in look.services:
        raise NoSuchHost(f"Nova knows no nova-compute service named {name!r}")


def set_maintenance(call: Call) -> Answer:
    """Leave a host alone until a person ends that, or for so many hours."""
    name, hours = call.path["host"], call.body.get("hours")
    _must_exist(call.backend, name)
    until = None if hours is None else call.backend.clock() + hours * HOUR
    call.backend.store.set_maintenance(name, call.body["reason"], call.caller.name, until)
    call.backend.doorbell()
    return host(call)


def end_maintenance(call: Call) -> Answer:
    """Look after a host again; ending what is not set changes nothing."""
    call.backend.store.unset_maintenance(call.path["host"])
    call.backend.doorbell()
    return host(call)


def recover(call: Call) -> Answer:
    """Have a failure go on now: what holds it is released, what waits is tried again."""
    name, store, who = call.path["host"], call.backend.store, call.caller.name
    found = store.active(name)
    if found is None or found.action != "recover":
        raise IncidentError(
            f"no failure of {name} stands, and a person's word alone moves no VM: it might still "
            "run there. Where nothing measures the host, power it off, then: openstack compute "
            f"service set --down {name} nova-compute; openstack server evacuate SERVER"
        )
    if found.state is IncidentState.HELD:
        found = store.release(found.id, who)
    elif any(vm.status is VmStatus.PENDING for vm in found.vms):
        found = store.retry(found.id, who)
    return _changed(call.backend, found)


def confirm_fenced(call: Call) -> Answer:
    """Take a person's word that a host is off; the body repeats its name."""
    name = call.path["host"]
    if call.body["host"] != name:
        raise IncidentError(
            f"the body confirms {call.body['host']!r}, the address {name!r}; nothing was done"
        )
    incident = call.backend.store.confirm_fenced(name, call.caller.name)
    return _changed(call.backend, incident)


def release_host(call: Call) -> Answer:
    """Let the held incident of a host go on."""
    incident = call.backend.store.active(call.path["host"])
    if incident is None:
        raise NoSuchHost(f"{call.path['host']!r} has no active incident")
    return _changed(call.backend, call.backend.store.release(incident.id, call.caller.name))


# -- incidents ------------------------------------------------------------------------------


def incidents(call: Call) -> Answer:
    """Return a page of incidents, the latest first."""
    query = call.query
    wanted = Filter(
        host=query.get("host"),
        rule=query.get("rule"),
        states=(query["state"],) if "state" in query else (),
        active=query.get("active"),
        marker=query.get("marker"),
    )
    found, more = call.backend.store.page(wanted, query.get("limit", 50))
    return {"incidents": [views.summary(incident) for incident in found], "next": more}


def incident(call: Call) -> Answer:
    """Return one incident with its journal, proof, VMs and changes."""
    return _whole(call.backend, call.backend.store.incident(call.path["incident_id"]))


def release(call: Call) -> Answer:
    """Let a held incident go on, or close one that is only kept open."""
    found = call.backend.store.release(call.path["incident_id"], call.caller.name)
    return _changed(call.backend, found)


def retry(call: Call) -> Answer:
    """Try now what an incident would try again later."""
    found = call.backend.store.retry(call.path["incident_id"], call.caller.name)
    return _changed(call.backend, found)


def cancel(call: Call) -> Answer:
    """Close an incident before its host is fenced; the host is in maintenance from then on.

    Without the flag the failure, which stands, would only be opened anew.
    """
    store, who = call.backend.store, call.caller.name
    found = store.incident(call.path["incident_id"])
    if not found.active:
        raise IncidentError(f"incident {found.id} is over ({found.state})")
    if found.host == EVERYBODY:
        raise IncidentError("what stands for the whole cluster ends by itself; nothing is done")
    if found.fencing_begun:
        raise IncidentError(
            f"{found.host} may be off already, so incident {found.id} cannot be taken back; its "
            "VMs would stay down"
        )
    reason = f"incident {found.id} cancelled: {call.body['reason']}"
    store.set_maintenance(found.host, reason[:255], who)
    if found.state in RELEASABLE:
        found = store.release(found.id, who)
    return _changed(call.backend, found)


def _changed(backend: Backend, found: Incident) -> Answer:
    backend.doorbell()
    return _whole(backend, found)


def _whole(backend: Backend, found: Incident) -> Answer:
    return {"incident": views.whole(found, backend.store.changes(found.id))}


# -- the rest -------------------------------------------------------------------------------


def alarms(call: Call) -> Answer:
    """Return the alarms that watch the hosts, without their signed addresses."""
    found = []
    for alarm in call.backend.view.alarms():
        rule, of = parse_name(alarm["name"]) or ("", "")
        found.append(
            {
                "id": str(alarm["alarm_id"]),
                "name": str(alarm["name"]),
                "rule": rule,
                "host": of,
                "state": str(alarm.get("state")),
                "enabled": bool(alarm.get("enabled")),
                "severity": str(alarm.get("severity")),
            }
        )
    return {"alarms": sorted(found, key=lambda alarm: (alarm["host"], alarm["rule"]))}


def protection(call: Call) -> Answer:
    """Return which servers are protected, at what priority, and which cannot be and why."""
    wanted, backend = call.query.get("host"), call.backend
    servers = [s for s in backend.view.servers() if wanted is None or s.host == wanted]
    if wanted is not None:  # a request for each: not for all servers of a cloud
        servers = backend.view.examined(servers)
    trouble, stranded = [], {}
    try:
        stranded = {
            server_id: views.stranded(outlook, why)
            for outlook in foresight.foresee(backend)
            for server_id, why in outlook.stranded.items()
        }
    except CloudUnavailable as exc:
        trouble.append(f"whether there is room elsewhere is not known: {exc}")
    policy = backend.policy
    found = [
        views.server(s, policy.protect, unprotectable.why(s, policy.disks) or stranded.get(s.id))
        for s in servers
    ]
    return {
        "servers": sorted(found, key=lambda s: (s["host"] or "", s["name"])),
        "trouble": trouble,
    }


def foresee(call: Call) -> Answer:
    """Return whether any one host can fail: whether its protected VMs have room on the others."""
    try:
        found = foresight.foresee(call.backend)
    except CloudUnavailable as exc:
        says = f"Whether any one host can fail is not known: {exc}."
        reading = isinstance(exc, StillReading)
        return {"fit": foresight.UNKNOWN, "says": says, "hosts": [], "reading": reading}
    return {
        "fit": str(capacity.worst(found)),
        "says": capacity.sentence(found),
        "hosts": [views.outlook(one) for one in found],
        "reading": False,
    }
