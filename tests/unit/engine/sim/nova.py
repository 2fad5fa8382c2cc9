# SPDX-License-Identifier: Apache-2.0
"""Nova's side: what it believes, what it refuses, and the evacuations it works on."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.nova_books import NovaBooks
from vmha_remediator.errors import CloudRefused, CloudUnavailable
from vmha_remediator.remedy.facts import Migration, Server, ServerGroup, Service

if TYPE_CHECKING:
    from tests.unit.engine.sim.world import World

SERVICE_DOWN_TIME = 60.0

#: State of a server after each action.
AFTER = {
    "start": "active",
    "stop": "stopped",
    "pause": "paused",
    "suspend": "suspended",
    "rescue": "rescued",
    "confirm-resize": "active",
}


class SimNova(NovaBooks):
    """Nova's side: what it believes, and the evacuations it works on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = itertools.count(1)
        self.servers_by_id: dict[str, Server] = {}
        self.records: list[Migration] = []
        self.forced: set[str] = set()
        self.disabled: dict[str, str] = {}
        self.touched: dict[str, float] = {}
        self.down = False
        self.full = False  # the scheduler finds no host
        self.capacity_for: set[str] | None = None  # hosts that may be chosen; None: all
        self.stays_stopped = False  # what it evacuates, as from microversion 2.95 on
        self.refuses: set[str] = set()  # actions
        self.server_groups: list[ServerGroup] = []

    def boot(self, name: str, host: str, *, tagged: bool = True, **fields: Any) -> Server:
        """Create a server that runs (or is stopped) on `host`."""
        server = Server(
            id=f"id-{name}",
            name=name,
            host=host,
            status="ACTIVE",
            vm_state="active",
            tags=frozenset({"vmha"} if tagged else ()),
        )
        server = replace(server, **fields)
        self.servers_by_id[server.id] = server
        if server.vm_state == "active":
            self._world.run_guest(server.id, host)
        return server

    # -- the cloud port -----------------------------------------------------------------

    def services(self) -> list[Service]:
        self._request()
        return [self._service(host) for host in self._world.hosts]

    def free_memory(self) -> dict[str, int]:
        self._request()
        load = {
            h: sum(s.host == h for s in self.servers_by_id.values()) for h in self._world.hosts
        }
        return {host: 8192 - 512 * count for host, count in load.items()}

    def force_down(self, service_id: str, forced: bool) -> None:
        host = service_id.removeprefix("service-")
        with self._changing("force-down"):
            open_records = [r for r in self.records if r.source == host and _keeps_down(r)]
            if not forced and open_records:
                raise CloudRefused("400 the service has evacuation records that are not done")
            (self.forced.add if forced else self.forced.discard)(host)
            self.touched[host] = self._world.clock.time
            self._world.note("force-down" if forced else "unforce", host)

    def enable(self, service_id: str) -> None:
        host = service_id.removeprefix("service-")
        with self._changing("enable"):
            self.disabled.pop(host, None)
            self._world.note("enable", host)

    def disable(self, service_id: str, reason: str) -> None:
        host = service_id.removeprefix("service-")
        with self._changing("disable"):
            self.disabled[host] = reason
            self._world.note("disable", host)

    def evacuate(self, server_id: str, dest: str | None = None) -> None:
        server = self.servers_by_id[server_id]
        with self._changing("evacuate"):
            if server.host is None or self._service(server.host).up:
                raise CloudRefused("400 the compute service is up")
            if server.task_state or server.vm_state not in ("active", "stopped", "error"):
                raise CloudRefused(f"409 the server is {server.vm_state}/{server.task_state}")
            self._set(server, task_state="rebuilding")
            self.records.append(
                Migration(
                    id=f"m-{next(self._numbers)}",
                    server_id=server_id,
                    source=server.host,
                    dest=dest,
                    status="accepted",
                    created=self._world.clock.time,
                )
            )
            self._world.note("evacuate", server.name)

    def reset_state(self, server_id: str, to: str) -> None:
        with self._changing("reset-state"):
            server = self.servers_by_id[server_id]
            self._set(server, vm_state=to, status=to.upper(), task_state=None)
            self._world.note("reset", server.name)

    def act(self, server_id: str, action: str) -> None:
        server = self.servers_by_id[server_id]
        with self._changing(action):
            self._world.note(action, server.name)
            if action in self.refuses:
                raise CloudRefused(f"409 cannot {action} it now")
            to = AFTER[action]
            self._set(server, vm_state=to, status=to.upper())
            if action in ("start", "rescue") and not self._world.runs_on(server_id):
                self._world.run_guest(server_id, str(server.host))
            elif action in ("stop", "suspend"):
                self._world.guests -= {(server_id, str(server.host))}

    def groups(self) -> list[ServerGroup]:
        self._request()
        return self.server_groups

    def runs(self, server_id: str) -> bool | None:
        self._request()
        return bool(self._world.runs_on(server_id))

    def queued_at(self, server_id: str, source: str) -> frozenset[str]:
        """Nothing ever waits in a queue here."""
        return frozenset()

    def reboot(self, server_id: str) -> None:
        with self._changing("reboot"):
            server = self.servers_by_id[server_id]
            self._world.guests.discard((server_id, str(server.host)))
            self._set(server, vm_state="active", status="ACTIVE", fault="")
            self._world.run_guest(server_id, str(server.host))
            self._world.note("reboot", server.name)

    # -- what goes on by itself ---------------------------------------------------------

    def work(self) -> None:
        """Bring every evacuation one step on: accepted, pre-migrating, done or error."""
        for record in list(self.records):
            age = self._world.clock.time - record.created
            if record.status == "accepted" and age >= 0.5:
                dest = record.dest or self._choose()
                if dest is None:
                    self._fail(record)
                else:
                    self._record(record, status="pre-migrating", dest=dest)
            elif record.status == "pre-migrating" and age >= 1.5:
                self._arrive(record)

    def compute_started(self, host: str) -> None:
        """Do what a restarted nova-compute does about evacuations away from it."""
        for record in list(self.records):
            if record.source == host and _keeps_down(record):
                self._record(record, status="completed")

    def break_off(self, record: Migration) -> None:
        """Let the destination fail in the middle of it."""
        server = self.servers_by_id[record.server_id]
        fault = "the network could not be plugged"
        self._set(server, vm_state="error", status="ERROR", task_state=None, fault=fault)
        self._record(self.records[self._index(record)], status="failed")

    def _index(self, record: Migration) -> int:
        return next(n for n, r in enumerate(self.records) if r.id == record.id)

    def _arrive(self, record: Migration) -> None:
        dest = str(record.dest)
        server = self.servers_by_id.get(record.server_id)
        if server is None:
            self._record(record, status="failed")
            return
        if not self._world.hosts[dest].powered:
            return  # its conductor waits for a destination that is gone
        stopped = server.vm_state == "stopped" or (
            self.stays_stopped and server.vm_state != "error"
        )
        self._world.run_guest(server.id, dest)  # Nova starts it and stops it again
        if stopped:
            self._world.guests -= {(server.id, dest)}
        state = "stopped" if stopped else "active"
        self._set(
            server,
            host=dest,
            vm_state=state,
            status="SHUTOFF" if stopped else "ACTIVE",
            task_state=None,
            fault="",
        )
        self._record(record, status="done")

    def _fail(self, record: Migration) -> None:
        server = self.servers_by_id[record.server_id]
        fault = "No valid host was found."
        self._set(server, vm_state="error", status="ERROR", task_state=None, fault=fault)
        self._record(record, status="error")

    def _choose(self) -> str | None:
        if self.full:
            return None
        services = [self._service(host) for host in self._world.hosts]
        up = [service.host for service in services if service.up and service.enabled]
        if self.capacity_for is not None:
            up = [host for host in up if host in self.capacity_for]
        load = {h: sum(s.host == h for s in self.servers_by_id.values()) for h in up}
        return min(up, key=lambda h: (load[h], h), default=None)

    def _service(self, name: str) -> Service:
        host = self._world.hosts[name]
        fresh = self._world.clock.time - host.reported < SERVICE_DOWN_TIME
        return Service(
            id=f"service-{name}",
            host=name,
            up=fresh and name not in self.forced,
            enabled=name not in self.disabled,
            forced_down=name in self.forced,
            updated_at=max(host.reported, self.touched.get(name, 0.0)),
            disabled_reason=self.disabled.get(name),
        )

    def _set(self, server: Server, **fields: Any) -> None:
        self.servers_by_id[server.id] = replace(server, **fields)

    def _record(self, record: Migration, **fields: Any) -> None:
        self.records[self.records.index(record)] = replace(record, **fields)

    def _request(self) -> None:
        if self.down:
            raise CloudUnavailable("Nova cannot be reached")

    def _changing(self, what: str) -> _Around:
        self._request()
        return _Around(self._world, what)


def _keeps_down(record: Migration) -> bool:
    return record.status in ("accepted", "pre-migrating", "done")


class _Around:
    """Offers a place to crash before and after a change."""

    def __init__(self, world: World, what: str) -> None:
        self._world, self._what = world, what

    def __enter__(self) -> None:
        self._world.point(f"before {self._what}")

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            self._world.point(f"after {self._what}")
