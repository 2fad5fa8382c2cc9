# SPDX-License-Identifier: Apache-2.0
"""What `vmha-manage fence` finds out: many hosts side by side, each with a deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from vmha_remediator.errors import FencingError, VmhaError
from vmha_remediator.fencing.bounded import Bounded

if TYPE_CHECKING:
    from vmha_remediator.effects.nova import Nova
    from vmha_remediator.fencing.fencer import Fencer
    from vmha_remediator.fencing.inventory import Inventory

#: Hosts that are looked at side by side.
WORKERS = 16
Row = dict[str, Any]


def gather(
    hosts: Sequence[str],
    deadline: float,
    look: Callable[[str], list[Row]],
    failed: Callable[[str, str], Row],
) -> list[Row]:
    """Return the rows of all hosts, in their order; `failed` makes one for a host without end."""
    bounded = Bounded()

    def one(host: str) -> list[Row]:
        try:
            return bounded.run(host, deadline, lambda: look(host))
        except FencingError as exc:
            return [failed(host, str(exc))]

    with ThreadPoolExecutor(max_workers=min(WORKERS, max(1, len(hosts)))) as pool:
        return [row for rows in pool.map(one, hosts) for row in rows]


def listed(found: Inventory, hosts: Sequence[str]) -> list[Row]:
    """Return one row a level: who would fence, and what that would prove."""
    rows = []
    for host in hosts:
        trouble = found.trouble(host)
        if trouble is not None:
            rows.append(_listed(host, None, (), "", trouble))
        for number, level in enumerate(found.levels.get(host, ()), 1):
            proofs = {getattr(m.driver, "proves", "power is off"): None for m in level}
            names = tuple(method.name for method in level)
            rows.append(_listed(host, number, names, " and ".join(proofs), ""))
    return rows


def _listed(
    host: str, level: int | None, drivers: tuple[str, ...], proves: str, problem: str
) -> Row:
    return {
        "host": host,
        "level": level,
        "drivers": list(drivers),
        "proves": proves,
        "problem": problem,
    }


def status(fencer: Fencer, hosts: Sequence[str], deadline: float) -> list[Row]:
    """Return what each driver of each host reads."""

    def look(host: str) -> list[Row]:
        trouble = fencer.trouble(host)
        if trouble is not None:
            return [_status(host, None, "unknown", trouble)]
        return [
            _status(host, r.driver, r.power.value, "" if r.ok else r.sentence)
            for r in fencer.powers(host)
        ]

    return gather(hosts, deadline, look, lambda host, why: _status(host, None, "unknown", why))


def _status(host: str, driver: str | None, power: str, says: str) -> Row:
    return {"host": host, "driver": driver, "power": power, "says": says}


def tested(fencer: Fencer, hosts: Sequence[str], deadline: float) -> list[Row]:
    """Return the findings of a dry run, and what each level would prove."""

    def look(host: str) -> list[Row]:
        trouble = fencer.trouble(host)
        if trouble is not None:
            return [_tested(host, None, False, trouble)]
        rows = [
            _tested(host, driver, finding.ok, finding.what)
            for driver, findings in fencer.check(host).items()
            for finding in findings
        ]
        bad = {row["driver"] for row in rows if not row["good"]}
        for level in listed(fencer.listed(), [host]):
            good = not bad.intersection(level["drivers"])
            would = "would prove" if good else "cannot prove now"
            name = "+".join(level["drivers"])
            rows.append(_tested(host, name, good, f"level {level['level']} {would}: "
                                f"{level['proves']}"))  # fmt: skip
        return rows

    return gather(hosts, deadline, look, lambda host, why: _tested(host, None, False, why))


def _tested(host: str, driver: str | None, good: bool | None, finding: str) -> Row:
    return {"host": host, "driver": driver, "good": good, "finding": finding}


def rehearsed(fencer: Fencer, host: str) -> list[Row]:
    """Power one host off and on again and return how that went."""
    return [_tested(host, r.level, r.ok, r.sentence) for r in fencer.rehearse(host)]


def refuse_what_is_used(nova: Nova, host: str, active: Mapping[str, int]) -> None:
    """Raise `VmhaError` unless the host may be powered off for a test: disabled and empty."""
    if host in active:
        raise VmhaError(f"{host} has incident {active[host]} under way; it is left alone")
    services = [service for service in nova.services() if service.host == host]
    if not services:
        raise VmhaError(f"Nova knows no nova-compute on {host}; it is left alone")
    if any(service.enabled for service in services):
        raise VmhaError(
            f"nova-compute on {host} is enabled, so VMs may come at any moment; first: "
            f"openstack compute service set --disable --disable-reason 'fence test' {host} "
            "nova-compute"
        )
    servers = nova.servers(host)
    if servers:
        names = ", ".join(sorted(server.name for server in servers)[:5])
        raise VmhaError(
            f"{len(servers)} VMs are on {host} ({names}{', ...' if len(servers) > 5 else ''}); "
            "move them away first; nothing was powered off"
        )
