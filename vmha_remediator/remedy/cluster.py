# SPDX-License-Identifier: Apache-2.0
"""The hosts as a whole: what is wrong with most of them at once is one situation, not many.

A situation is only told. It starts nothing; it keeps reports that it explains from being told
host by host, and holds failures whose evidence it makes worthless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from vmha_remediator.remedy.facts import OUR_REASON, Service
from vmha_remediator.rules import metrics
from vmha_remediator.rules.judge import Readings, State, Verdict

#: Stands for the cluster where an incident names its host; no host can be called so.
EVERYBODY = "*"
#: How that is said to people.
CLUSTER = "the cluster"

SILENT = "telemetry-silent"
STORAGE = "storage-outage"
NETWORK = "network-outage"
FLAPPING = "flapping"

#: Fewer hosts than this are never "most of them".
FEWEST = 2
#: So many hosts are named in a sentence.
NAMED = 8


@dataclass(frozen=True)
class Limits:
    """When it is most of the hosts; ages in seconds, as the rules in force have them."""

    share: float = 0.5  # more than this share of the hosts
    heartbeat_age: float = 5.0
    lease_age: float = 8.0
    standing: str = ""  # the situation that is told: it stands until half the share is left


Test = Callable[[Mapping[str, float], Limits], bool]


def witnessed(values: Mapping[str, float]) -> bool:
    """Tell whether any witness says something of the host."""
    return bool(values.keys() - metrics.OWN)


def silent(values: Mapping[str, float], limits: Limits) -> bool:
    """Tell whether no witness says anything of the host."""
    return not witnessed(values)


def tells(values: Mapping[str, float], limits: Limits) -> bool:
    """Tell whether anything of the paths can be learnt from the host: it does not look dead."""
    dead = _is(values, metrics.LEASE_AGE, limits.lease_age, old=True) and _is(
        values, metrics.HEARTBEAT_AGE, limits.heartbeat_age, old=True
    )
    return bool(values) and not dead


def lost_storage(values: Mapping[str, float], limits: Limits) -> bool:
    """Tell whether the host lives, and its way to the storage does not work."""
    if values.get(metrics.STORAGE.name) == 0:
        return True
    return _is(values, metrics.LEASE_AGE, limits.lease_age, old=True) and _is(
        values, metrics.HEARTBEAT_AGE, limits.heartbeat_age, old=False
    )


def lost_network(values: Mapping[str, float], limits: Limits) -> bool:
    """Tell whether the host lives, and does not hear the others or is not heard by them."""
    if values.get(metrics.HEARS.name) == 0 and values.get(metrics.STORAGE.name) != 0:
        return True
    return (
        _is(values, metrics.HEARTBEAT_AGE, limits.heartbeat_age, old=True)
        and _is(values, metrics.LEASE_AGE, limits.lease_age, old=False)
        and values.get(metrics.REACHABLE.name) == 0
    )


def _is(values: Mapping[str, float], metric: metrics.Metric, limit: float, *, old: bool) -> bool:
    value = values.get(metric.name)
    return value is not None and (value >= limit) is old


@dataclass(frozen=True)
class Situation:
    """One thing that can be wrong with most hosts, and what a person can do about it."""

    name: str
    severity: str
    test: Test  # whether one host is in it
    of_known: bool  # its share is counted of the hosts that tell anything about it
    what: str  # what those hosts have in common
    advice: str
    explains: frozenset[str]  # verdicts on single hosts that are not told while it stands
    #: Why a failure seen meanwhile is not believed; empty: it is handled as always.
    spoils: str = ""


#: In order of precedence: lost storage also makes witnesses silent, and a lost network may
#: take the telemetry of some hosts with it.
SITUATIONS: tuple[Situation, ...] = (
    Situation(
        STORAGE,
        "critical",
        lost_storage,
        True,
        "have lost the storage that keeps the leases",
        "Look at the shared storage and the way to it. VMs on it may hang; they are left where "
        "they are, since no other host could run them better.",
        frozenset({"storage-lost", SILENT, FLAPPING}),
        "leases have stopped nearly everywhere, so this host's tells nothing about it",
    ),
    Situation(
        NETWORK,
        "critical",
        lost_network,
        True,
        "do not hear the others, or are not heard, on the management network",
        "Look at the management network (switches, VLAN, firewall). The hosts live: their leases "
        "are renewed, and their VMs keep running.",
        frozenset({"isolation", "partition", "agent-down", SILENT, FLAPPING}),
        "hardly anybody is heard, so that this host is not heard tells nothing about it",
    ),
    Situation(
        SILENT,
        "critical",
        silent,
        False,
        "have no measures by any witness",
        "Nobody is protected meanwhile. Look at ceilometer-polling on the hosts, the message bus, "
        "ceilometer-agent-notification and gnocchi-metricd; and at the management network, if "
        "telemetry uses it, too.",
        frozenset({SILENT, "isolation", "partition", "agent-down", "storage-lost", FLAPPING}),
    ),
)
BY_NAME: Mapping[str, Situation] = {situation.name: situation for situation in SITUATIONS}


def judge(readings: Sequence[Readings], limits: Limits) -> tuple[Verdict, ...]:
    """Return one verdict a situation, in the table's order; at most one is ALARM.

    Without hosts nothing is known, and every one is UNKNOWN.
    """
    if not readings:
        return tuple(
            _verdict(s, State.UNKNOWN, f"{s.name}: no hosts are known") for s in SITUATIONS
        )
    verdicts: list[Verdict] = []
    for situation in SITUATIONS:
        among = list(readings)
        if situation.of_known:
            among = [r for r in readings if tells(r.values, limits)]
        hit = sorted(r.host for r in among if situation.test(r.values, limits))
        stands = len(hit) >= FEWEST and len(hit) > limits.share * len(among)
        if situation.name == limits.standing:
            stands = bool(hit) and len(hit) > limits.share / 2 * len(among)
        stands = stands and all(v.state is not State.ALARM for v in verdicts)
        state = State.ALARM if stands else State.OK
        if situation.of_known and not among:
            state = State.UNKNOWN
        verdicts.append(_verdict(situation, state, _evidence(situation, hit, len(among), state)))
    return tuple(verdicts)


def _verdict(situation: Situation, state: State, evidence: str) -> Verdict:
    return Verdict(situation.name, EVERYBODY, state, "report", situation.severity, evidence)


def _evidence(situation: Situation, hit: Sequence[str], total: int, state: State) -> str:
    counted = f"{len(hit)} of {total} hosts {situation.what}"
    if state is not State.ALARM:
        return f"{situation.name} does not hold: {counted}."
    return f"{situation.name}: {counted} ({names(hit)}). {situation.advice}"


def names(hosts: Iterable[str]) -> str:
    """Return a few of the hosts' names, and how many more there are."""
    found = sorted(hosts)
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more


def expected(readings: Sequence[Readings], services: Iterable[Service] | None) -> list[Readings]:
    """Return the readings of the hosts that ought to be watched.

    Gnocchi never forgets a host, so one of which no witness speaks counts only while Nova knows
    it and no operator has disabled it. One that is down in Nova has left or is off (of a host
    that just died witnesses go on speaking), unless nobody is watched at all. `services` None:
    Nova has not been seen yet; then every host counts.
    """
    if services is None:
        return list(readings)
    watching = any(witnessed(r.values) for r in readings)
    wanted = {s.host for s in services if wants_watch(s) and (s.up or not watching)}
    return [r for r in readings if witnessed(r.values) or r.host in wanted]


def wants_watch(service: Service | None) -> bool:
    """Tell whether an operator wants the host in service, as far as Nova shows it."""
    if service is None:
        return False
    return service.enabled or (service.disabled_reason or "").startswith(OUR_REASON)


def silence(readings: Readings) -> Verdict:
    """Return what the readings say of one host's silence: whether no witness speaks of it."""
    host = readings.host
    if witnessed(readings.values):
        return Verdict(SILENT, host, State.OK, "report", "low", f"{host} has measures")
    return Verdict(
        SILENT,
        host,
        State.ALARM,
        "report",
        "moderate",
        f"{SILENT}: {host} has no measures, though others have and its nova-compute is up, so "
        f"its failure would not be seen. Start vmha-agent and ceilometer-polling on it, and look "
        f"at their logs; if it is to leave, disable its compute service.",
    )
