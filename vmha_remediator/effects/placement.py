# SPDX-License-Identifier: Apache-2.0
"""Placement: what is free on each host, and what each VM takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from vmha_remediator.effects.asking import PLACEMENT_VERSION, Asking, understood
from vmha_remediator.effects.nova import Nova
from vmha_remediator.remedy.capacity import Space
from vmha_remediator.remedy.facts import Server
from vmha_remediator.remedy.room import Room

#: Providers read at the same time.
AT_ONCE = 8

Taken = dict[str, dict[str, int]]


class Placement(Asking):
    """What is needed of Placement. Raises `CloudUnavailable` or `CloudRefused`."""

    @understood
    def read(self, hypervisors: Mapping[str, str]) -> tuple[dict[str, Room], Taken]:
        """Return the room on each host, and what each server takes: amounts by class.

        `hypervisors` maps a hypervisor's id to its host. Three requests a provider, hence not
        for every look. Providers that are on no host (shared storage) are left out.
        """
        found = self._get("/resource_providers")["resource_providers"]
        on = {
            str(raw["uuid"]): hypervisors[raw["root_provider_uuid"]]
            for raw in found
            if raw.get("root_provider_uuid") in hypervisors
        }
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="placement") as pool:
            parts = list(pool.map(self._provider, on))
        by_host: dict[str, list[_Provider]] = {}
        for uuid, part in zip(on, parts, strict=True):
            by_host.setdefault(on[uuid], []).append(part)
        taken: dict[str, Counter[str]] = {}
        for part in parts:
            for consumer, amounts in part.taken.items():
                taken.setdefault(consumer, Counter()).update(amounts)
        rooms = {host: _room(providers) for host, providers in by_host.items()}
        return rooms, {consumer: dict(amounts) for consumer, amounts in taken.items()}

    def _provider(self, uuid: str) -> _Provider:
        base = f"/resource_providers/{quote(uuid)}"
        inventories = self._get(f"{base}/inventories", {"inventories": {}})["inventories"]
        taken = self._get(f"{base}/allocations", {"allocations": {}})["allocations"]
        traits = self._get(f"{base}/traits", {"traits": []})["traits"]
        return _Provider(inventories, taken, traits)

    def _get(self, path: str, missing: Any = None) -> Any:
        """Return an answer; `missing` stands for a provider that has just been deleted."""
        answer = self._request("placement", "GET", path, microversion=PLACEMENT_VERSION)
        if missing is not None and answer.status_code == 404:
            return missing
        return self._body(answer, "placement")


def read_space(nova: Nova, placement: Placement, servers: tuple[Server, ...]) -> Space:
    """Return what there is and who takes it; raises `CloudUnavailable` or `CloudRefused`."""
    rooms, taken = placement.read(nova.hypervisors())
    return Space(rooms, taken, servers, tuple(nova.groups()), tuple(nova.aggregates()))


class _Provider:
    """One provider's answers, taken apart."""

    def __init__(
        self, inventories: Mapping[str, Any], taken: Mapping[str, Any], traits: Iterable[str]
    ) -> None:
        self.taken = {
            str(consumer): {str(name): int(size) for name, size in raw["resources"].items()}
            for consumer, raw in taken.items()
        }
        used: Counter[str] = Counter()
        for amounts in self.taken.values():
            used.update(amounts)
        self.free = {str(n): _capacity(raw) - used[n] for n, raw in inventories.items()}
        self.largest = {
            str(n): min(self.free[n], int(raw["max_unit"])) for n, raw in inventories.items()
        }
        self.traits = frozenset(str(trait) for trait in traits)


def _capacity(raw: Mapping[str, Any]) -> int:
    """Return how much may be taken, as Placement itself computes it."""
    return int((int(raw["total"]) - int(raw["reserved"])) * float(raw["allocation_ratio"]))


def _room(providers: list[_Provider]) -> Room:
    free: Counter[str] = Counter()
    largest: dict[str, int] = {}
    for provider in providers:
        free.update(provider.free)
        for name, size in provider.largest.items():
            largest[name] = max(size, largest.get(name, 0))
    times = Counter(name for provider in providers for name in provider.free)
    return Room(
        free=dict(free),
        largest=largest,
        traits=frozenset(trait for provider in providers for trait in provider.traits),
        split=frozenset(name for name, count in times.items() if count > 1),
    )
