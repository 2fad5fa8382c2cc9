# SPDX-License-Identifier: Apache-2.0
"""VMs in states in which Nova does not evacuate, and some that are there to be left alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.lab import boot, layout, nova_api, process
from tests.lab.errors import LabError

_TIMEOUT = 60.0  # s for a server to get into a state
REASON = "the accounts are being closed"
LOCK = {"lock": {"locked_reason": REASON}}


@dataclass(frozen=True)
class Odd:
    """One VM: the actions that bring it where it is before the failure, and its status then."""

    name: str
    actions: Sequence[Mapping[str, Any]]
    before: str
    after: str  # its status after the failure; "" when it is gone
    moves: bool = True  # whether it is on another host in the end
    born_elsewhere: bool = False  # and cold-migrated to the host that will die


def all_of(host: str) -> tuple[Odd, ...]:
    """Return one of each, for `host`."""
    return (
        Odd("odd-paused", ({"pause": None}, LOCK), "PAUSED", "PAUSED"),
        Odd("odd-suspended", ({"suspend": None},), "SUSPENDED", "SUSPENDED"),
        Odd("odd-rescued", ({"rescue": None},), "RESCUE", "RESCUE"),
        Odd("odd-stopped", ({"os-stop": None}, LOCK), "SHUTOFF", "SHUTOFF"),
        Odd("odd-locked", (LOCK,), "ACTIVE", "ACTIVE"),
        Odd("odd-error", ({"os-resetState": {"state": "error"}},), "ERROR", "ACTIVE"),
        Odd(
            "odd-resized",
            ({"migrate": {"host": host}},),
            "VERIFY_RESIZE",
            "ACTIVE",
            born_elsewhere=True,
        ),
        Odd("odd-shelved", ({"shelve": None},), "SHELVED", "SHELVED", moves=False),
        Odd("odd-deleted", (), "ACTIVE", ""),
    )


@contextmanager
def servers(wanted: Sequence[Odd], host: str) -> Iterator[dict[str, str]]:
    """Yield name -> id of VMs that are as wanted on `host`; they are deleted in the end."""
    elsewhere = next(h for h in layout.HOSTS if h != host)
    plans = [boot.Plan(o.name, elsewhere if o.born_elsewhere else host, True) for o in wanted]
    ids = dict(zip((o.name for o in wanted), boot.boot(plans, lambda _: None), strict=True))
    try:
        for odd in wanted:
            for body in odd.actions:
                act(ids[odd.name], body)
                if body is not LOCK:
                    wait_status(ids[odd.name], odd.before)
        yield ids
    finally:
        delete(ids.values())


def act(vm: str, body: Mapping[str, Any]) -> None:
    """Ask Nova for something to be done to a server, as its owner would."""
    nova_api.post(f"/servers/{vm}/action", dict(body))


def show(vm: str) -> dict[str, Any]:
    """Return a server as Nova tells it; raises `LabError` when there is none."""
    found: dict[str, Any] = nova_api.get(f"/servers/{vm}")["server"]
    return found


def wait_status(vm: str, status: str) -> None:
    """Wait until a server has a status and no task."""

    def there() -> bool:
        server = show(vm)
        return server["status"] == status and server["OS-EXT-STS:task_state"] is None

    process.wait_for(there, f"server {vm} to be {status}", _TIMEOUT, interval=0.3)


def delete(vms: Iterable[str]) -> None:
    """Delete servers and wait until they are gone."""
    left = [vm for vm in vms if exists(vm)]
    for vm in left:
        nova_api.request("DELETE", f"/servers/{vm}")
    process.wait_for(
        lambda: not any(exists(vm) for vm in left), "servers to be deleted", _TIMEOUT, interval=0.3
    )


def exists(vm: str) -> bool:
    """Tell whether Nova knows a server."""
    try:
        show(vm)
    except LabError as exc:
        if "could not be found" in str(exc):
            return False
        raise
    return True
