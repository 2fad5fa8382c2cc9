# SPDX-License-Identifier: Apache-2.0
"""Checks of the hosts: are they measured, alarmed and fenceable, and could one be lost?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from vmha_remediator.doctor.finding import (
    Check,
    Finding,
    NotRead,
    Seen,
    Unread,
    known,
    names,
    ok,
    unknown,
    wrong,
)
from vmha_remediator.remedy import capacity as room
from vmha_remediator.remedy import protect
from vmha_remediator.remedy.capacity import Fit
from vmha_remediator.rules import metrics

AREA = "hosts"
LOG_IN = "check [cloud] and whether Nova answers: openstack compute service list"
BOOKS = "check that Placement answers, and that the account of [cloud] may read it (role admin)"
MORE = (
    "enable or add a host, or free room there: openstack compute service list; openstack vmha "
    "capacity list"
)
READ = "check [cloud], and that Gnocchi answers: openstack metric status"
LIST = "check [cloud], and that Aodh answers: openstack alarm list"


def agents(seen: Seen, check: str) -> Iterator[Finding]:
    """Every compute host publishes, and everybody who publishes is a compute host."""
    services, readings = known(seen.services, LOG_IN), known(seen.readings, READ)
    computes = {s.host for s in services}
    measured = {h for h, r in readings.items() if metrics.HEARTBEAT_AGE.name in r.values}
    if missing := computes - measured:
        yield wrong(
            AREA,
            check,
            f"no witness speaks of {names(missing)}: their failure would not be seen",
            "start vmha-agent and the vmha ceilometer-polling there, and look at "
            "'vmha-agent status' on one of them",
        )
    if strange := measured - computes:
        yield wrong(
            AREA,
            check,
            f"{names(strange)} publish, but Nova has no nova-compute of that name",
            "set [agent] host to the name in 'openstack compute service list'",
        )
    if not missing and not strange:
        yield ok(AREA, check, f"all {len(computes)} compute hosts are measured")


def witnesses(seen: Seen, check: str) -> Iterator[Finding]:
    """Enough qualified witnesses stand behind every host's readings."""
    readings = known(seen.readings, READ)
    few = {
        host
        for host, r in readings.items()
        if r.values.get(metrics.WITNESSES.name, seen.limits.witnesses) < seen.limits.witnesses
    }
    if few:
        yield wrong(
            AREA,
            check,
            f"fewer than {seen.limits.witnesses} qualified witnesses speak of {names(few)}: a "
            f"failure there is never recognised",
            "'vmha-agent status' on the witnesses says why they are not qualified",
        )
    elif readings:
        yield ok(AREA, check, f"{seen.limits.witnesses} or more witnesses stand behind each host")


def probes(seen: Seen, check: str) -> Iterator[Finding]:
    """Reachability is proven: without it no failure is ever recognised."""
    readings = known(seen.readings, READ)
    blind = {
        host
        for host, r in readings.items()
        if metrics.HEARTBEAT_AGE.name in r.values and metrics.REACHABLE.name not in r.values
    }
    if blind:
        yield wrong(
            AREA,
            check,
            f"no probe ever succeeded to {names(blind)}, so their reachability is not known and "
            f"their failure would not be recognised",
            "let the hosts ping each other on the management network, or let one TCP port "
            "through (a refused connection is an answer)",
        )
    elif readings:
        yield ok(AREA, check, "probes between the hosts have been proven")


def alarms(seen: Seen, check: str) -> Iterator[Finding]:
    """Aodh holds exactly the alarms that the rules make."""
    plan = known(seen.alarms, LIST)
    if plan.empty:
        yield ok(AREA, check, f"{plan.unchanged} alarms are as the rules want them")
        return
    yield wrong(
        AREA,
        check,
        f"{len(plan.create)} alarms are missing, {len(plan.update)} differ from the rules, "
        f"{len(plan.delete)} are too many",
        "vmha-manage alarms sync (first with --dry-run)",
    )


def evaluated(seen: Seen, check: str) -> Iterator[Finding]:
    """Aodh really evaluates them: of a host with measures none stays without data."""
    states, readings = known(seen.alarm_states, LIST), known(seen.readings, READ)
    measured = {h for h, r in readings.items() if metrics.REACHABLE.name in r.values}
    stuck = {
        host
        for (_rule, host), state in states.items()
        if state == "insufficient data" and host in measured
    }
    if stuck:
        yield wrong(
            AREA,
            check,
            f"alarms of {names(stuck)} have no data in Aodh although Gnocchi has measures",
            "look at aodh-evaluator (is it running, can it log in to Gnocchi?), and give it "
            "10 s if the host has just begun to publish",
        )
    elif states:
        yield ok(AREA, check, "Aodh evaluates the alarms of every host with measures")


def fencing(seen: Seen, check: str) -> Iterator[Finding]:
    """Every compute host can be powered off, and its power state is read now."""
    if isinstance(seen.fences, Unread):
        yield wrong(AREA, check, seen.fences.why, "write [fencing] hosts_file, then: vmha-manage "
                    "fence test")  # fmt: skip
        return
    computes = (
        set(seen.fences) if isinstance(seen.services, Unread) else {s.host for s in seen.services}
    )
    if not computes:
        yield wrong(AREA, check, "no host can be fenced: [fencing] hosts_file names none, or is "
                    "missing", "write it, then: vmha-manage fence test")  # fmt: skip
        return
    if without := {h for h in computes if h in seen.trouble or h not in seen.fences}:
        first = min(without)
        yield wrong(
            AREA,
            check,
            f"{names(without)} cannot be fenced: {seen.trouble.get(first, 'no entry')}",
            "complete [fencing] hosts_file; until then their failure is held for a person",
        )
    mute = {
        host: next(f.sentence for f in found if not f.ok)
        for host, found in seen.fences.items()
        if found and not any(f.ok for f in found)
    }
    if mute:
        first = min(mute)
        yield wrong(
            AREA,
            check,
            f"the power state of {names(mute)} cannot be read: {mute[first]}",
            f"vmha-manage fence test {first}",
        )
    if not without and not mute:
        yield ok(AREA, check, f"{len(computes)} hosts can be fenced, their power state is read")


def identity(seen: Seen, check: str) -> Iterator[Finding]:
    """No other machine would be switched off for a host, and believed to be it."""
    if isinstance(seen.fences, Unread) or not seen.fences:
        return  # said by the check before
    loose = {
        host: next(f.driver for f in found if not f.pinned)
        for host, found in seen.fences.items()
        if not all(f.pinned for f in found)
    }
    if not loose:
        yield ok(AREA, check, "a BMC that belongs to another machine would be noticed")
        return
    first = min(loose)
    yield unknown(
        AREA,
        check,
        f"nobody can tell whose BMC answers for {names(loose)}: whatever machine is at its "
        "address would be switched off, and the host believed to be off",
        f"'vmha-manage fence test {first}' reads its UUID; write it into [fencing] hosts_file: "
        f"{first}: {{{loose[first]}: {{uuid: ...}}}}",
    )


def capacity(seen: Seen, check: str) -> Iterator[Finding]:
    """The protected VMs of any one host have room on the others."""
    services, space = known(seen.services, LOG_IN), known(seen.space, BOOKS)
    known(seen.servers, LOG_IN)
    states = {} if isinstance(seen.alarm_states, Unread) else seen.alarm_states
    alarmed = {host for (_rule, host), state in states.items() if state == "alarm"}
    able = room.takers(services, alarmed, seen.policy)
    found = room.outlooks(space, able, seen.policy)
    says = " ".join(f"{o.says}." for o in found if o.fit is not Fit.FITS)
    match room.worst(found):
        case Fit.FITS:
            count = sum(o.vms for o in found)
            yield ok(AREA, check, f"{count} protected VMs; {room.sentence(found)}")
        case Fit.MAY_NOT:
            yield unknown(AREA, check, says, MORE)
        case Fit.NOT:
            yield wrong(AREA, check, says, MORE)


def unprotected(seen: Seen, check: str) -> Iterator[Finding]:
    """Somebody is protected at all."""
    servers = known(seen.servers, LOG_IN)
    kept = sum(protect.is_protected(s, seen.policy.protect) for s in servers)
    if kept or not servers:
        yield ok(AREA, check, f"{kept} of {len(servers)} VMs are protected")
    else:
        yield wrong(
            AREA,
            check,
            f"none of {len(servers)} VMs is protected, so no failure would move any",
            "openstack server set --tag vmha SERVER, or [evacuation] protect = all",
        )


Look = Callable[[Seen, str], Iterator[Finding]]


def _check(name: str, look: Look, seen: Seen) -> Iterator[Finding]:
    """Look, or say why nothing can be told."""
    try:
        yield from look(seen, name)
    except NotRead as exc:
        yield unknown(AREA, name, exc.why, exc.fix)


CHECKS: tuple[Check, ...] = tuple(
    partial(_check, name, look)
    for name, look in (
        ("agents", agents),
        ("witnesses", witnesses),
        ("reachability", probes),
        ("alarms", alarms),
        ("evaluation", evaluated),
        ("fencing", fencing),
        ("identity", identity),
        ("capacity", capacity),
        ("protection", unprotected),
    )
)
