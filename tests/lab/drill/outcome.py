# SPDX-License-Identifier: Apache-2.0
"""PURE: what has to come of a fault, and what is wrong with what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.lab.snapshot import IncidentView, Snapshot

FAILURE = "failure"
#: Stands for the cluster where an incident names its host.
CLUSTER = "*"
TOLD = ("reported", "cleared")
RECOVERED = ("recovered", "readmitted")
#: A guest writes every 0.1 s; one that is silent for longer (s) has stopped.
MUTE = 3.0


@dataclass(frozen=True)
class Expected:
    """What has to come of a fault: one incident, or none, and nothing else.

    `also` are further rules that may be told of single hosts. `moves`: the protected VMs of the
    host run elsewhere in the end. `writes`: guests that are not moved go on writing all along.
    """

    rule: str | None = None
    of_cluster: bool = False
    states: tuple[str, ...] = TOLD
    also: frozenset[str] = frozenset()
    moves: bool = False
    writes: bool = True

    @property
    def verdict(self) -> str:
        """Return the verdict in words."""
        if self.rule is None:
            return "nothing"
        return f"{self.rule} of the cluster" if self.of_cluster else self.rule

    @property
    def action(self) -> str:
        """Return what is to be done about it, in words."""
        if self.moves:
            return "fenced, VMs elsewhere"
        return "none" if self.rule is None else "report"

    def host(self, victim: str) -> str:
        """Return the host that the incident is to name."""
        return CLUSTER if self.of_cluster else victim

    def came(self, victim: str, shot: Snapshot) -> bool:
        """Tell whether the incident that has to come is there, in one of its states."""
        found = [i for i in shot.incidents if (i.host, i.rule) == (self.host(victim), self.rule)]
        return bool(found) and found[-1].state in self.states


def nothing(*also: str, writes: bool = True) -> Expected:
    """Expect no incident at all, but perhaps reports by the rules in `also`."""
    return Expected(also=frozenset(also), writes=writes)


def told(rule: str, *also: str, of_cluster: bool = False, writes: bool = True) -> Expected:
    """Expect one report, and nothing done."""
    return Expected(rule, of_cluster=of_cluster, also=frozenset(also), writes=writes)


def recovery(*also: str) -> Expected:
    """Expect a failure: the host is fenced, then its protected VMs run elsewhere."""
    return Expected(FAILURE, states=RECOVERED, also=frozenset(also), moves=True, writes=False)


@dataclass
class Seen:
    """What many looks showed, from just before the fault on."""

    before: Snapshot
    failed: dict[str, str] = field(default_factory=dict)  # host -> how it was called failed
    moved: dict[str, str] = field(default_factory=dict)  # VM name -> from where to where
    mute: dict[str, float] = field(default_factory=dict)  # VM name -> longest silence, s
    twice: dict[str, str] = field(default_factory=dict)  # VM name -> the hosts it ran on

    def note(self, shot: Snapshot, judged: Iterable[tuple[str, str, str]] = ()) -> None:
        """Take one look in; `judged` are (host, verdict, evidence) of the rules themselves."""
        for host, verdict, evidence in judged:
            if verdict == FAILURE:
                self.failed.setdefault(host, evidence)
        for view in shot.hosts:
            if view.alarms.get(FAILURE) == "alarm":
                self.failed.setdefault(view.name, "Aodh's alarm fired")
        was = {vm.id: vm for vm in self.before.vms}
        for vm in shot.vms:
            old = was.get(vm.id)
            if old is None:
                continue
            if vm.host != old.host:
                self.moved[vm.name] = f"{old.host} to {vm.host}"
            if len(vm.running_on) > 1:
                self.twice[vm.name] = ", ".join(vm.running_on)
            if vm.last_write is not None and vm.last_write > MUTE:
                self.mute[vm.name] = max(vm.last_write, self.mute.get(vm.name, 0.0))


def problems(
    expected: Expected, victim: str, seen: Seen, incidents: Iterable[IncidentView]
) -> list[str]:
    """Return a sentence for each thing that came and should not have, or did not come."""
    found = list(_incidents(expected, victim, list(incidents)))
    for host, evidence in seen.failed.items():
        if expected.rule != FAILURE or host != victim:
            found.append(f"false failure: {host} was called failed ({evidence})")
    mine = {vm.name for vm in seen.before.vms if vm.host == victim and vm.tagged}
    for vm, way in seen.moved.items():
        if not (expected.moves and vm in mine):
            found.append(f"{vm} was moved from {way}")
    if expected.moves:
        found += [f"{vm} was not moved" for vm in sorted(mine - seen.moved.keys())]
    found += [f"{vm} ran twice: on {where}" for vm, where in seen.twice.items()]
    if expected.writes:
        found += [f"{vm} wrote nothing for {s:.1f} s" for vm, s in seen.mute.items()]
    return found


def _incidents(expected: Expected, victim: str, incidents: list[IncidentView]) -> Iterable[str]:
    wanted = (expected.host(victim), expected.rule)
    right = [i for i in incidents if (i.host, i.rule) == wanted]
    if expected.rule is not None and not right:
        yield f"missed: no {expected.verdict}"
    if len(right) > 1:
        yield f"{len(right)} incidents of {expected.verdict} where one was due"
    for incident in right:
        if incident.state not in expected.states:
            yield f"{expected.verdict} is {incident.state}: {_last_word(incident)}"
    for incident in incidents:
        if incident in right or incident.rule in expected.also - {FAILURE}:
            continue
        kind = "false failure" if incident.rule == FAILURE else "uncalled-for report"
        yield f"{kind}: {incident.rule} of {incident.host} ({_last_word(incident)})"


def _last_word(incident: IncidentView) -> str:
    return incident.steps[-1][2] if incident.steps else "nothing said"
