# SPDX-License-Identifier: Apache-2.0
"""In which order VMs come back: by priority, and each after those that it depends on.

A VM names others in its metadata `vmha:depends-on`, by name or id, separated by commas. It is
started once they are active: where Nova starts what it evacuates (before microversion 2.95) the
evacuation itself waits, later the start alone does. A dependency is no reason to stay down for
ever: what cannot become active is not waited for, and nothing is waited for longer than
`Policy.depends_wait`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from vmha_remediator.remedy import original, protect
from vmha_remediator.remedy.facts import Facts, Server
from vmha_remediator.remedy.incident import Incident, VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy

DEPENDS_ON = "vmha:depends-on"
#: So many names of one VM are read; Nova keeps 255 characters of a metadata value.
MOST = 16

OVER = frozenset({VmStatus.DONE, VmStatus.SKIPPED})
#: VM -> VMs, by their ids.
Graph = dict[str, set[str]]


def named(server: Server) -> tuple[str, ...]:
    """Return the names and ids that a server depends on, in its own order."""
    words = (word.strip() for word in server.metadata.get(DEPENDS_ON, "").split(","))
    return tuple(dict.fromkeys(word for word in words if word))[:MOST]


def unresolved(incident: Incident, servers: Iterable[Server], policy: Policy) -> tuple[str, ...]:
    """Return what the incident's VMs depend on and none of `servers` is called."""
    known = tuple(servers)
    found: dict[str, None] = {}
    for server in known:
        if not protect.is_protected(server, policy.protect):
            continue
        vm = incident.vm(server.id)
        if vm is not None and vm.status in OVER:
            continue
        for ref in named(server):
            if not _called(ref, server, known) and not _recorded(ref, incident):
                found[ref] = None
    return tuple(found)


def _called(ref: str, server: Server, known: Iterable[Server]) -> list[Server]:
    """Return the servers that `server` means: of that id, or of that name in its project."""
    return [s for s in known if s.project == server.project and ref in (s.id, s.name)]


def _recorded(ref: str, incident: Incident) -> list[str]:
    """Return the incident's VMs of that id or name, also those that are over with."""
    return [vm.server_id for vm in incident.vms if ref in (vm.server_id, vm.name)]


@dataclass(frozen=True)
class Order:
    """What the facts say of the order; keys are server ids."""

    ranks: Mapping[str, tuple[int | str, ...]]
    waits: Mapping[str, str]  # VMs that must not start yet, and for what they wait
    late: Mapping[str, str]  # VMs that have waited long enough, and for what
    remarks: Mapping[str, tuple[str, ...]]  # what is wrong with a VM's own wishes

    def rank(self, vm: VmRecord) -> tuple[int | str, ...]:
        """Return what sorts the most important VM first, and each after what it depends on."""
        return self.ranks.get(vm.server_id, (-vm.priority, 0, vm.name, vm.server_id))


def order(incident: Incident, facts: Facts, now: float, policy: Policy) -> Order:
    """Return the order in which the VMs of an incident are to come back."""
    servers = {s.id: s for s in facts.servers or ()}
    known = (*servers.values(), *(s for s in facts.others if s.id not in servers))
    mine = {vm.server_id: vm for vm in incident.vms}
    remarks: dict[str, list[str]] = {
        vm: [protect.bad_priority(servers[vm])]
        for vm in mine
        if vm in servers and protect.bad_priority(servers[vm])
    }
    graph: Graph = {}
    for vm in mine.keys() & servers.keys():
        for ref in named(servers[vm]):
            found = {s.id for s in _called(ref, servers[vm], known)}
            found |= {other for other in _recorded(ref, incident) if other not in servers}
            graph.setdefault(vm, set()).update(found)
            if not found:
                text = f"depends on '{ref}', which no server of its project is called: ignored"
                remarks.setdefault(vm, []).append(text)
    names = {s.id: s.name for s in known} | {vm.server_id: vm.name for vm in incident.vms}
    for cycle in _without_cycles(graph):
        path = " -> ".join(names.get(vm, vm) for vm in cycle)
        for vm in set(cycle):
            text = f"its dependencies form a cycle ({path}): ignored, its priority alone counts"
            remarks.setdefault(vm, []).append(text)
    state = _State(incident, facts, {s.id: s for s in known}, mine, policy)
    waits = _waits(graph, state)
    for vm, others in graph.items():
        for text in (state.hopeless(other) for other in sorted(others)):
            if text:
                remarks.setdefault(vm, []).append(text)
    begun = incident.proof.time if incident.proof is not None else incident.opened
    patient = now - begun < policy.depends_wait
    late = {} if patient else waits
    told = {vm: tuple(texts) for vm, texts in remarks.items()}
    return Order(_ranks(mine, graph), waits if patient else {}, late, told)


def _waits(graph: Graph, state: _State) -> dict[str, str]:
    found = {}
    for vm, others in graph.items():
        awaited = [text for other in sorted(others) if (text := state.awaited(other))]
        if awaited:
            found[vm] = f"waits for {', '.join(awaited)}"
    return found


def remarks(
    incident: Incident, facts: Facts, now: float, policy: Policy, records: Iterable[VmRecord]
) -> tuple[str, ...]:
    """Return what people should know of the wishes of `records`, which are of the incident."""
    found = order(incident, facts, now, policy).remarks
    return tuple(f"{vm.name}: {text}" for vm in records for text in found.get(vm.server_id, ()))


def _without_cycles(graph: Graph) -> list[list[str]]:
    """Take the dependencies of VMs in a cycle out of the graph; return the cycles."""
    cycles = []
    while True:
        ordered = {vm: sorted(graph[vm]) for vm in sorted(graph)}
        try:
            TopologicalSorter(ordered).prepare()
        except CycleError as exc:
            cycle = list(reversed(exc.args[1]))  # each depends on the next one
            cycles.append(cycle)
            for vm in set(cycle):
                graph[vm] -= set(cycle)
        else:
            return cycles


def _ranks(mine: Mapping[str, VmRecord], graph: Graph) -> dict[str, tuple[int | str, ...]]:
    """Return each VM's place; one is at least as important as those that depend on it."""
    first_to_last = [vm for vm in TopologicalSorter(graph).static_order() if vm in mine]
    weight = {vm: record.priority for vm, record in mine.items()}
    depth = dict.fromkeys(mine, 0)
    open_ones = {vm for vm, record in mine.items() if record.status not in OVER}
    for vm in first_to_last:
        for other in graph.get(vm, set()) & open_ones:
            depth[vm] = max(depth[vm], depth[other] + 1)
    for vm in reversed(first_to_last):
        for other in graph.get(vm, set()) & mine.keys():
            weight[other] = max(weight[other], weight[vm])
    return {vm: (-weight[vm], depth[vm], mine[vm].name, vm) for vm in mine}


@dataclass(frozen=True)
class _State:
    """What is known of the servers that somebody depends on."""

    incident: Incident
    facts: Facts
    servers: Mapping[str, Server]
    mine: Mapping[str, VmRecord]
    policy: Policy

    def awaited(self, server_id: str) -> str:
        """Return in words a server that is not active and can be expected to be, or nothing."""
        vm, name = self.mine.get(server_id), self._name(server_id)
        if vm is not None:
            over = vm.status in OVER or original.wanted(vm) == "stopped"
            return "" if over else f"{name} ({vm.status})"
        return f"{name} (its host has failed, too)" if self._returns(server_id) else ""

    def _returns(self, server_id: str) -> bool:
        """Tell whether another failure's evacuation is to bring a server back."""
        if server_id in self.facts.recovering:
            return True
        server, hosts = self.servers.get(server_id), self.facts.cluster
        if server is None or hosts is None or server.vm_state == "stopped":
            return False
        failed = server.host in (hosts.failing | hosts.fenced) - {self.incident.host}
        return failed and protect.is_protected(server, self.policy.protect)

    def hopeless(self, server_id: str) -> str:
        """Return why a server that is not active is not waited for, or nothing."""
        vm, server = self.mine.get(server_id), self.servers.get(server_id)
        name = self._name(server_id)
        if vm is not None:
            stopped = original.wanted(vm) == "stopped"
            return f"depends on {name}, which is stopped: not waited for" if stopped else ""
        if server is None or self._returns(server_id):
            return ""
        if server.host == self.incident.host:
            return f"depends on {name}, which is not protected: not waited for"
        if server.vm_state != "active":
            return f"depends on {name}, which is {server.vm_state}: not waited for"
        return ""

    def _name(self, server_id: str) -> str:
        if server_id in self.mine:
            return self.mine[server_id].name
        return self.servers[server_id].name if server_id in self.servers else server_id
