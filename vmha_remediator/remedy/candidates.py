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
from collections.abc import Mapping
from dataclasses import dataclass, field

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

    def __post_init__(self) -> None:
        self._unfit = unfit(self.facts)
        self._electable = electable(self.facts)
        self._fit = [s for s in self.facts.services if s.host not in self._unfit]
        self._home = next((s.zone for s in self.facts.services if s.host == self.facts.host), "")

        ranked = sorted(self._fit, key=lambda s: self._rank(s, {}))
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
        must = self.policy.candidates != SCHEDULER or self._electable & (full | self._unfit.keys())
        if not must:
            return Choice()
        able = self._able(server)
        if not able:
            return Choice(nowhere=self._nowhere(server))
        free = [s for s in able if s.host not in full]
        if not free:
            return Choice(full=True)
        return Choice(min(free, key=lambda s: self._rank(s, tried)).host)

    def untried(self, server: Server, tried: Mapping[str, int]) -> bool:
        """Tell whether another host can be named that this VM has not been refused by."""
        if not names_hosts(self.facts, self.policy):
            return False
        return any(s.host not in tried for s in self._able(server))

    def _able(self, server: Server) -> list[Service]:
        """Return the healthy hosts in the VM's availability zone."""
        return [s for s in self._fit if not server.zone or s.zone == server.zone]

    def _is_full(self, host: str) -> bool:
        return self.under_way[host] >= self.policy.parallel_per_host

    def _rank(self, service: Service, tried: Mapping[str, int]) -> tuple[int | bool | str, ...]:
        """Return what sorts the best first: refused seldom, reserve, watched, near, most free."""
        host = service.host
        return (
            tried.get(host, 0),
            self.policy.candidates == RESERVED and host not in self.policy.reserved_hosts,
            host in self.facts.unwatched,
            service.zone != self._home,
            self.given[host] - self.facts.free.get(host, 0),
            self.under_way[host],
            host,
        )

    def _nowhere(self, server: Server) -> str:
        where = f" in availability zone {server.zone}" if server.zone else ""
        rest = {h: why for h, why in self._unfit.items() if h != self.facts.host}
        return f"no healthy host{where} is left{_listed(rest)}"


def _listed(unfit: Mapping[str, str]) -> str:
    if not unfit:
        return ""
    some = [f"{host} ({why})" for host, why in sorted(unfit.items())[:_NAMED]]
    more = len(unfit) - len(some)
    return f": {', '.join(some)}{f' and {more} more' if more > 0 else ''}"
