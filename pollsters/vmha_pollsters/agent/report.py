# SPDX-License-Identifier: Apache-2.0
"""What the agent tells others: readings for the pollster, status for people. Plain data."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from vmha_pollsters.agent.daemon import Agent
from vmha_pollsters.agent.picture import Picture
from vmha_pollsters.agent.storage.reader import Seen
from vmha_pollsters.agent.storage.writer import Written
from vmha_pollsters.agent.witness.peers import Peer
from vmha_pollsters.agent.witness.roster import senders, targets
from vmha_pollsters.lease.layout import Flag
from vmha_pollsters.reading import values
from vmha_remediator.rules import metrics

#: A question without any more to it than its operation.
NOTHING: Mapping[str, Any] = MappingProxyType({})


def own(picture: Picture) -> dict[str, float]:
    """Return what this host says of itself; what it is too early to say is absent."""
    sure = picture.qualification
    told = {
        metrics.STORAGE.name: sure.storage,
        metrics.HEARS.name: sure.hears,
        metrics.ROLE.name: metrics.ROLES.get(picture.role),
    }
    return {name: float(value) for name, value in told.items() if value is not None}


def readings(agent: Agent, asked: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Return what there is to publish now.

    `age` is how old it is (s): a reader drops what is older than a few seconds. `hosts` is
    empty unless this host is a qualified witness; `why` then says what keeps it silent.
    `watched` is how many hosts it watches. `asked["skip"]` may name the slots (one bit each, a
    hexadecimal number) whose hosts the reader wants only if they are suspect. Who asks for
    `rows` gets bare `Reading`s instead of `hosts`, which costs a third.
    """
    picture = agent.picture
    found = picture.readings(agent.limits, _skipped(asked.get("skip")))
    answer = {
        "host": agent.host,
        "age": round(time.monotonic() - picture.at, 3),
        "role": picture.role,
        "qualified": picture.qualification.ok,
        "why": list(picture.qualification.why),
        "clock_ok": picture.qualification.clock_ok,
        "own": own(picture),
        "watched": len(picture.peers) if picture.views else 0,
    }
    if asked.get("rows"):
        return {**answer, "rows": found}
    hosts = [
        {"host": r.host, "slot": r.slot, "suspect": r.suspect, "values": values(r)} for r in found
    ]
    return {**answer, "hosts": hosts}


def _skipped(bits: object) -> frozenset[int]:
    """Return the slots named by a hexadecimal number; nonsense names none."""
    try:
        raw = int(str(bits or "0"), 16)
    except ValueError:
        return frozenset()
    return frozenset(n for n, bit in enumerate(reversed(f"{raw:b}")) if bit == "1")


def status(agent: Agent, _asked: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Return what a person wants to know of this agent."""
    picture, written, seen = agent.picture, agent.writer.written, agent.reader.seen
    now = time.monotonic()
    roster = picture.roster
    names = {p.slot: p.host for p in picture.peers}
    return {
        "host": agent.host,
        "role": picture.role,
        "qualified": picture.qualification.ok,
        "why": list(picture.qualification.why),
        "isolated": picture.isolated,
        "hears": picture.qualification.heard,
        "live": picture.qualification.live,
        "clock": _seconds(picture.qualification.clock),
        "clock_ok": picture.qualification.clock_ok,
        "age": _seconds(now - picture.at),
        "lease": {
            "slot": written.slot,
            "renewed": _seconds(None if written.at is None else now - written.at),
            "read": _seconds(None if seen.at is None else now - seen.at),
            "cluster": seen.header.cluster if seen.header else None,
            "driver": agent.settings.lease_driver,
            "path": agent.settings.lease_path,
            "area": str(seen.header.uuid) if seen.header else None,
            "slots": seen.header.hosts if seen.header else None,
            "taken": len(seen.slots),
            "problems": _lease_problems(seen, written, set(names)),
            "events": sorted([*agent.writer.events.told(), *agent.reader.events.told()]),
        },
        "roster": None
        if roster is None
        else {
            "master": names.get(roster.master, f"slot {roster.master}"),
            "witnesses": [names.get(n, f"slot {n}") for n in roster.witnesses],
            "term": roster.term,
            "stale": picture.roster_stale,
        },
        "watchdog": _watchdog(agent),
        "believed": [names.get(n, f"slot {n}") for n in sorted(picture.views)],
        "heartbeats": {
            "problem": agent.heart.problem,
            "taken": agent.heart.taken,
            "refused": dict(agent.heart.rejected),
            "dropped": agent.heart.dropped(),
        },
        "peers": _peers(agent, picture),
    }


def _lease_problems(seen: Seen, written: Written, shown: set[int]) -> list[str]:
    """Return what is wrong with the storage, damaged slots of no known host included."""
    found = [written.problem, seen.problem, seen.roster_problem]
    for sights in (seen.fresh, seen.sights):
        found += [s.problem for slot, s in sorted(sights.items()) if slot not in shown]
    return list(dict.fromkeys(problem for problem in found if problem))


def _watchdog(agent: Agent) -> dict[str, Any] | None:
    """Return the state of this host's watchdog; None: none is configured."""
    if agent.tether is None:
        return None
    armed = agent.picture.armed
    return {
        "armed": armed is not None,
        "timeout": None if armed is None else _seconds(armed.timeout),
        "promise": None if armed is None else _seconds(armed.promise),
        "problem": agent.tether.problem,
    }


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _peers(agent: Agent, picture: Picture) -> list[dict[str, Any]]:
    answer = frozenset[int]()
    if picture.slot is not None:
        known = [p.slot for p in picture.peers]
        answer = targets(picture.slot, picture.roster, known)
        expected = senders(picture.slot, picture.roster, known)
        answer = answer if expected is None else answer & expected
    told = {r.host: values(r) for r in picture.readings(agent.limits)}
    return [_peer(agent, peer, peer.slot in answer, told.get(peer.host)) for peer in picture.peers]


def _peer(
    agent: Agent, peer: Peer, answers: bool, published: dict[str, float] | None
) -> dict[str, Any]:
    slot = agent.reader.seen.slots.get(peer.slot)
    return {
        "host": peer.host,
        "slot": peer.slot,
        "address": None if slot is None else slot.address,
        "priority": peer.priority,
        "flags": [flag.name.lower() for flag in Flag if flag in peer.flags and flag.name],
        "heard": _seconds(peer.opinion.heard),
        "lease": _seconds(peer.opinion.lease),
        "hears_us": _seconds(agent.heart.acked(peer.host)) if answers else None,
        "clock": _seconds(peer.clock_offset),
        "probe": peer.opinion.probe.name.lower(),
        "probe_proven": list(agent.prober.proven(peer.host)),
        "watchdog": _seconds(peer.watchdog or None),
        "problem": peer.problem,
        "published": published,
    }
