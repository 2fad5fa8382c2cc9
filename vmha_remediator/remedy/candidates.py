# SPDX-License-Identifier: Apache-2.0
"""Where a VM may run again: hosts that are well by the evidence, and which of them is named.

Nova's evacuate has no list of hosts to leave out, and its scheduler goes by Nova's own idea of
what is up, which is up to a minute old. So while Nova could choose a host that is not well, or
that has enough to do, a destination is named; Nova's scheduler still checks it (2.29 to 2.67
without `force`, 2.68 and later always). Disabling such a host instead would take effect too
late: Nova's API then waits a minute for the answer of a nova-compute that nobody reaches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vmha_remediator.remedy.aggregates import Aggregates
from vmha_remediator.remedy.cells import FOREIGN
from vmha_remediator.remedy.facts import Facts, Server, Service
from vmha_remediator.remedy.policy import Policy

SCHEDULER = "scheduler"
SPREAD = "spread"
RESERVED = "reserved"
POLICIES = (SCHEDULER, SPREAD, RESERVED)

#: So many hosts are named in a sentence.
_NAMED = 6


def unfit(facts: Facts) -> dict[str, str]:
    """Return each host that must not be given a VM, and why."""
    found = {s.host: _objection(s, facts) for s in facts.services}
    return {host: why for host, why in found.items() if why}


def _objection(service: Service, facts: Facts) -> str:
    if service.host == facts.host:
        return "failed"
    if service.forced_down:
        return "forced down"
    if not service.enabled:
        return f"disabled: {service.disabled_reason or 'no reason given'}"
    if not service.up:
        return "its nova-compute is down"
    return facts.troubled.get(service.host, "")


def electable(facts: Facts) -> frozenset[str]:
    """Return the hosts that Nova's scheduler could choose."""
    return frozenset(
        s.host
        for s in facts.services
        if s.up and s.enabled and not s.forced_down and s.host != facts.host
    )


def astray(facts: Facts) -> frozenset[str]:
    """Return the hosts that Nova's scheduler could choose although they are not well."""
    return electable(facts) & unfit(facts).keys()


def names_hosts(facts: Facts, policy: Policy) -> bool:
    """Tell whether destinations are named now, by the policy or because hosts are not well."""
    return policy.candidates != SCHEDULER or bool(astray(facts))


@dataclass(frozen=True)
class Choice:
    """Where a VM is to go: to `dest`, where the scheduler likes (None), or nowhere now."""

    dest: str | None = None
    full: bool = False  # every host that is well has enough to do: wait for one of them
    nowhere: str = ""  # why no host can take it


@dataclass
class Chooser:
    """Chooses destinations within one plan, and counts what it has given to whom."""

    facts: Facts
    policy: Policy
    under_way: Counter[str] = field(default_factory=Counter)  # evacuations to each known host
    given: Counter[str] = field(default_factory=Counter)  # MB, by those and by this plan
    unknown: int = 0  # evacuations of which Nova has not said yet where they go
    foreign: frozenset[str] = frozenset()  # hosts in another cell: Nova's scheduler knows

    def __post_init__(self) -> None:
        self._unfit = unfit(self.facts) | dict.fromkeys(self.foreign, FOREIGN)
        self._electable = electable(self.facts) - self.foreign
        self._aggregates = Aggregates(self.facts.aggregates or ())
        self._fit = [s for s in self.facts.services if s.host not in self._unfit]
        self._home = next((s.zone for s in self.facts.services if s.host == self.facts.host), "")

        ranked = sorted(self._fit, key=lambda s: self._rank(s, {}, {}))
        self._favourite = {service.host for service in ranked[:1]}

    def take(self, dest: str | None, server: Server | None) -> None:
        """Count an evacuation to a host, asked for now or earlier."""
        if dest is None:
            self.unknown += 1
        else:
            self.under_way[dest] += 1
            self.given[dest] += server.ram if server is not None else 0

    def choose(self, server: Server, tried: Mapping[str, int]) -> Choice:
        """Choose for one VM; `tried` counts its failed attempts by destination."""
        full = {s.host for s in self._fit if self._is_full(s.host)}
        if self.unknown >= self.policy.parallel_per_host:
            # Asked at the same time, the scheduler likes the same host best for all of them:
            # likely the one that we would name. The next ones go elsewhere.
            full |= self._favourite
        able = self._able(server)
        if not self._electable & (full | self._unfit.keys()) and not self._names(tried):
            return Choice() if able or self._may_be_anywhere(server) else self._nowhere(server)
        if not able:
            return self._nowhere(server)
        free = [s for s in able if s.host not in full]
        if not free:
            return Choice(full=True)
        objected = self._aggregates.objections(server, [s.host for s in free])
        return Choice(min(free, key=lambda s: self._rank(s, tried, objected)).host)

    def _names(self, tried: Mapping[str, int]) -> bool:
        """Tell whether the policy wants a name; what enough hosts have refused is the scheduler's.

        It knows at once whether any of the others takes the VM: what keeps it from the first few,
        an aggregate or a group, mostly keeps it from many.
        """
        if self.policy.candidates == SPREAD:
            return sum(tried.values()) < self.policy.quick_attempts
        return self.policy.candidates != SCHEDULER

    def _may_be_anywhere(self, server: Server) -> bool:
        """Tell whether Nova may know a host for a VM for which we see none."""
        return self.facts.aggregates is None or server.zone_guessed or not self._zone(server)

    def untried(self, server: Server, tried: Mapping[str, int]) -> bool:
        """Tell whether another host can be named that this VM has not been refused by."""
        if not names_hosts(self.facts, self.policy):
            return False
        return any(s.host not in tried for s in self._able(server))

    def _zone(self, server: Server) -> str | None:
        """Return the availability zone that the VM must stay in, None: it may go anywhere."""
        known = self.facts.aggregates is not None
        return self._aggregates.zone(server) if known else server.zone

    def _able(self, server: Server) -> list[Service]:
        """Return the healthy hosts in the VM's availability zone."""
        zone = self._zone(server)
        return [s for s in self._fit if not zone or s.zone == zone]

    def _is_full(self, host: str) -> bool:
        return self.under_way[host] >= self.policy.parallel_per_host

    def _rank(
        self, service: Service, tried: Mapping[str, int], objected: Mapping[str, str]
    ) -> tuple[int | bool | str, ...]:
        """Return what sorts the best first.

        Refused seldom, in the right aggregates, reserve, watched, near, most free.
        """
        host = service.host
        return (
            tried.get(host, 0),
            host in objected,
            self.policy.candidates == RESERVED and host not in self.policy.reserved_hosts,
            host in self.facts.unwatched,
            service.zone != self._home,
            self.given[host] - self.facts.free.get(host, 0),
            self.under_way[host],
            host,
        )

    def _nowhere(self, server: Server) -> Choice:
        zone = self._zone(server)
        here = {s.host for s in self.facts.services if not zone or s.zone == zone}
        rest = {h: why for h, why in self._unfit.items() if h in here and h != self.facts.host}
        where = f" in availability zone {zone}" if zone else ""
        return Choice(nowhere=f"no healthy host{where} is left{_listed(rest)}{self._way(zone)}")

    def _way(self, zone: str | None) -> str:
        """Return how hosts get into a zone, where its aggregates are known."""
        ways = [f"openstack aggregate add host {a} HOST" for a in self._aggregates.of_zone(zone)]
        if not ways:
            return ""
        return (
            "; Nova keeps it in its zone: let a host there take VMs again, or have an empty one "
            f"join ({' or '.join(ways)})"
        )

    def kept(self, server: Server) -> str:
        """Return to which healthy hosts its zone and the aggregates keep a VM, or nothing."""
        able, zone = [service.host for service in self._able(server)], self._zone(server)
        said = (
            f"; Nova keeps it in availability zone {zone}: {_some(sorted(able))}" if zone else ""
        )
        found = self._aggregates.objections(server, able)
        if found:
            needs = " and ".join(sorted(set(found.values())))
            said += f"; {_some(sorted(found))} may refuse it: it needs a host {needs}"
        return said


def _listed(unfit: Mapping[str, str]) -> str:
    if not unfit:
        return ""
    return f": {_some([f'{host} ({why})' for host, why in sorted(unfit.items())])}"


def _some(names: Sequence[str]) -> str:
    """Return names in words, not too many of them."""
    more = len(names) - _NAMED
    return f"{', '.join(names[:_NAMED])}{f' and {more} more' if more > 0 else ''}"
