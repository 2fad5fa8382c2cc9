# SPDX-License-Identifier: Apache-2.0
"""Boot VMs through Nova and wait until each of them writes to its disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.lab import hosts, layout, nova_api, process, records
from tests.lab.errors import Busy, LabError
from tests.lab.guests import TAG, GuestView, guests, servers
from tests.lab.services import cloudapi

IMAGE, FLAVOR = "tiny", "m1.tiny"
_AT_A_TIME = 4
_TIMEOUT = 120.0  # s, of whatever Nova is at with a VM


@dataclass(frozen=True)
class Plan:
    """One VM to boot."""

    name: str
    host: str
    tagged: bool


def plan(
    count: int, on: Sequence[str], tagged: Callable[[int], bool], prefix: str, taken: set[str]
) -> list[Plan]:
    """Return `count` VMs over the hosts in turn; `tagged` is asked for each one's turn."""
    names = (f"{prefix}-{n}" for n in range(1, len(taken) + count + 1))
    free = [name for name in names if name not in taken][:count]
    return [
        Plan(name, on[index % len(on)], tagged(index // len(on)))
        for index, name in enumerate(free)
    ]


def mixed(turn: int) -> bool:
    """Tag the first two VMs of a host and leave out the third, and so on."""
    return turn % 3 != 2


def boot(plans: Sequence[Plan], progress: Callable[[str], None] = print) -> list[str]:
    """Boot all, a few at a time; return their ids once each is ACTIVE and writes.

    Raises `LabError` with Nova's reason if one does not come up.
    """
    image = _id(cloudapi.connect().image.find_image(IMAGE), f"image {IMAGE!r}")
    flavor = _id(cloudapi.connect().compute.find_flavor(FLAVOR), f"flavor {FLAVOR!r}")

    def one(wanted: Plan) -> str:
        vm = _create(wanted, image, flavor)
        _wait(vm, wanted)
        progress(f"{wanted.name} runs on {wanted.host}{' (tagged)' if wanted.tagged else ''}")
        return vm

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return list(pool.map(one, plans))


def top_up(count: int, progress: Callable[[str], None] = print) -> list[str]:
    """Boot what is missing of `count` VMs, mixed as `mixed` says; return their ids.

    They go where they would have gone among `count` new ones, over the hosts that have power.
    """
    taken = names()
    missing = count - len(taken)
    if missing <= 0:
        return []
    return boot(plan(missing, hosts_for(None), mixed, "vm", taken), progress)


def many(count: int, host: str, prefix: str) -> None:
    """Ask for many protected VMs on one host by a single request; do not wait for them."""
    image = _id(cloudapi.connect().image.find_image(IMAGE), f"image {IMAGE!r}")
    flavor = _id(cloudapi.connect().compute.find_flavor(FLAVOR), f"flavor {FLAVOR!r}")
    body = _body(Plan(prefix, host, tagged=True), image, flavor)
    nova_api.post("/servers", {"server": body | {"min_count": count, "max_count": count}})


def names() -> set[str]:
    """Return the names of all servers there are."""
    return {str(server["name"]) for server in servers()}


def restart_dead(*on: str) -> list[str]:
    """Hard-reboot, through Nova, the VMs that died with these hosts and that Nova still has there.

    For hosts that came back without their VMs having been evacuated. Returns their names. Their
    nova-compute may just be finding them off, and refuses anything else until it has stopped them.
    """
    asked: dict[str, str] = {}

    def all_asked() -> bool:
        dead = _dead(on)
        for guest in dead:
            if guest.task or guest.vm in asked:
                continue
            with suppress(Busy):  # since the moment in which it was looked at
                nova_api.post(f"/servers/{guest.vm}/action", {"reboot": {"type": "HARD"}})
                asked[guest.vm] = guest.name
        return all(guest.vm in asked for guest in dead)

    what = f"Nova to be done with the VMs of {', '.join(on)}"
    process.wait_for(all_asked, what, _TIMEOUT, interval=0.5)
    return [*asked.values()]


def _dead(on: Collection[str]) -> list[GuestView]:
    return [
        guest
        for guest in guests()
        if guest.nova_host in on and guest.status in ("ACTIVE", "SHUTOFF")
        if not guest.running_on and guest.died_with_its_host
    ]


def _create(wanted: Plan, image: str, flavor: str) -> str:
    body = _body(wanted, image, flavor)
    return str(nova_api.post("/servers", {"server": body})["server"]["id"])


def _body(wanted: Plan, image: str, flavor: str) -> dict[str, Any]:
    return {
        "name": wanted.name,
        "imageRef": image,
        "flavorRef": flavor,
        "networks": "none",
        "host": wanted.host,
        "tags": [TAG] if wanted.tagged else [],
    }


def _wait(vm: str, wanted: Plan) -> None:
    deadline = time.monotonic() + _TIMEOUT
    status = "BUILD"
    while True:
        if status != "ACTIVE":
            server = nova_api.get(f"/servers/{vm}")["server"]
            status = server["status"]
        if status == "ERROR":
            why = server.get("fault", {}).get("message", "no reason given")
            raise LabError(f"{wanted.name} did not start on {wanted.host}: {why}")
        if status == "ACTIVE" and _writes(vm):
            return
        if time.monotonic() > deadline:
            what = "its guest does not write" if status == "ACTIVE" else f"it is {status}"
            raise LabError(f"{wanted.name} on {wanted.host}: {what} after {_TIMEOUT:g} s")
        time.sleep(0.2)


def _writes(vm: str) -> bool:
    disk = records.disks().get(vm)
    return disk is not None and records.last(disk) is not None


def _id(found: Any, what: str) -> str:
    if found is None:
        raise LabError(f"the cloud has no {what}: python -m tests.lab up")
    return str(found.id)


def hosts_for(host: str | None) -> tuple[str, ...]:
    """Return the hosts to spread over: the named one, or all that have power."""
    if host is not None:
        return (hosts.check(host),)
    return tuple(h for h in layout.HOSTS if hosts.power_state(h) == "on") or layout.HOSTS
