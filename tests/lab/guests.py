# SPDX-License-Identifier: Apache-2.0
"""Who really runs where: from processes and disks, beside what Nova says."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from tests.lab import faults, hosts, layout, nova_api, records
from tests.lab.virt import hypervisor

TAG = "vmha"  # the server tag that asks for protection


@dataclass(frozen=True)
class GuestView:
    """One VM; ages in seconds, None where nothing was ever written."""

    vm: str
    name: str
    tagged: bool
    status: str  # Nova's, or "unknown to Nova"
    task: str | None
    nova_host: str | None
    running_on: tuple[str, ...]  # a host a live process: twice if two run there
    last_writer: str | None  # host
    last_boot: str | None  # and its boot id then
    last_write_age: float | None

    @property
    def died_with_its_host(self) -> bool:
        """Return whether its host has booted since it last wrote, or has no power."""
        if self.nova_host not in layout.HOSTS:
            return False
        same_boot = self.last_boot == hosts.boot_id(str(self.nova_host))
        return not same_boot or hosts.power_state(str(self.nova_host)) == "off"


def servers() -> list[dict[str, Any]]:
    """Return every server of the cloud in detail, as Nova tells it to an administrator."""
    found: list[dict[str, Any]] = nova_api.get("/servers/detail?all_tenants=1&limit=1000")[
        "servers"
    ]
    return found


def running() -> dict[str, tuple[str, ...]]:
    """Return VM uuid -> the hosts that have a process of it."""
    found: dict[str, tuple[str, ...]] = {}
    for host in layout.HOSTS:
        for _, vm in hypervisor.processes(host):
            found[vm] = (*found.get(vm, ()), host)
    return found


def kill(vm: str) -> list[str]:
    """Kill the process of a VM and nothing else; return the hosts on which it ran."""
    found = []
    for host in layout.HOSTS:
        for pid, running_vm in hypervisor.processes(host):
            if running_vm == vm:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                found.append(host)
    faults.record("kill-vm", found[0] if found else None, vm=vm)
    return found


def spoil(vm: str) -> None:
    """Let the next attempt of a nova-compute to spawn a VM fail, on whichever host that is."""
    records.disks()[vm].with_name(hypervisor.SPOILED).touch()
    faults.record("spoil-vm", vm=vm)


def guests() -> list[GuestView]:
    """Return every VM that Nova knows of, runs anywhere or has a disk; by name."""
    nova = {server["id"]: server for server in servers()}
    alive, disks = running(), records.disks()
    found = []
    for vm in nova.keys() | alive.keys():
        last = records.last(disks[vm]) if vm in disks else None
        server = nova.get(vm, {})
        found.append(
            GuestView(
                vm=vm,
                name=server.get("name", vm),
                tagged=TAG in server.get("tags", ()),
                status=server.get("status", "unknown to Nova"),
                task=server.get("OS-EXT-STS:task_state"),
                nova_host=server.get("OS-EXT-SRV-ATTR:host"),
                running_on=alive.get(vm, ()),
                last_writer=last.host if last else None,
                last_boot=last.boot if last else None,
                last_write_age=max(0.0, time.monotonic() - last.mono / 1e9) if last else None,
            )
        )
    return sorted(found, key=lambda guest: guest.name)
