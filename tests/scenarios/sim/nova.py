# SPDX-License-Identifier: Apache-2.0
"""Nova: what it believes, what it refuses, and how long its work takes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.nova_books import NovaBooks
from tests.scenarios.sim.clockwork import EPOCH
from tests.scenarios.sim.hosts import Host
from vmha_remediator.errors import CloudRefused, CloudUnavailable
from vmha_remediator.remedy.facts import Migration, Server, ServerGroup, Service, Stop

if TYPE_CHECKING:
    from tests.scenarios.sim.world import World

REPORT_EVERY = 10.0  # report_interval
SERVICE_DOWN_TIME = 60.0
REQUEST = 0.02  # s, one API call
SCHEDULING = 0.5
REBUILD = 1.0
MEMORY = 8192  # MB of a host
VM = 512
UNDER_WAY = ("accepted", "pre-migrating")
KEEPS_DOWN = (*UNDER_WAY, "done")
ACTING = 0.3
#: States in which a guest is there, running or held.
RESIDENT = ("active", "paused", "rescued", "resized")
#: What a server must be for an action, and what it is after it.
ACTIONS = {
    "start": (("stopped",), "active"),
    "stop": (("active", "error"), "stopped"),
    "pause": (("active",), "paused"),
    "suspend": (("active",), "suspended"),
    "rescue": (("active", "stopped"), "rescued"),
    "confirm-resize": (("resized",), "active"),
}
EVACUABLE = ("active", "stopped", "error")
REBOOTABLE = ("active", "stopped", "paused", "suspended", "error")
RPC_TIMEOUT = 10.0  # s, of the request that waits for it


class Nova(NovaBooks):
    """Compute API, scheduler, conductor and computes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = itertools.count(1)
        self.servers_by_id: dict[str, Server] = {}
        self.records: list[Migration] = []
        self.reported: dict[str, float] = {}
        self.forced: set[str] = set()
        self.disabled: dict[str, str] = {}
        self.touched: dict[str, float] = {}
        self.down = False
        self.cursed: set[str] = set()  # servers whose guests do not live
        self.room: set[str] | None = None  # hosts with capacity; None: all
        self.resume_guests = False
        self.stops: dict[str, Stop] = {}  # the latest request to stop each server
        self.stays_stopped = False  # what it evacuates
        self.apart: dict[str, frozenset[str]] = {}  # strict anti-affinity groups
        self.refuses: set[str] = set()  # actions
        self.books_away = False  # Placement does not answer
        self._claims: dict[str, set[str]] = {}  # hosts chosen for each server, ever
        self._cast: set[str] = set()  # servers of which the conductor has asked such a host
        self._waiting: dict[str, set[str]] = {}  # server -> hosts whose queues have requests
        self.spoiled: set[str] = set()  # servers whose next start at a destination fails
        self.half: dict[str, tuple[str, int]] = {}  # server -> host and boot where it half began
        self.loses: set[str] = set()  # servers whose next evacuation no service hears of
        self.lost: set[str] = set()  # and the records of those
        self._queues: dict[str, str] = {}  # record -> the host that has been asked
        self.removed: set[str] = set()  # hosts whose compute services were deleted
        self.tardy: dict[str, float] = {}  # host -> s before nova-compute works its queue off
        self._started: dict[str, float] = {}  # when each nova-compute began
        self._dropped: set[tuple[str, str]] = set()  # (server, host) of requests lost in a queue
        self._taken: dict[str, str] = {}  # server -> the destination that has begun it last

    def boot(self, name: str, host: str, tagged: bool = True, **fields: Any) -> None:
        """Create a server that runs on `host`, or is there in another state."""
        server = Server(
            id=name,
            name=name,
            host=host,
            status="ACTIVE",
            vm_state="active",
            tags=frozenset({"vmha"} if tagged else ()),
        )
        server = replace(server, **fields)
        self.servers_by_id[name] = server
        if server.vm_state in RESIDENT:
            self._world.guest_starts(name, self._world.hosts[host])

    # -- the engine's port ----------------------------------------------------------------

    def services(self) -> list[Service]:
        self._request()
        return [self.service(host) for host in self._world.hosts if host not in self.removed]

    def free_memory(self) -> dict[str, int]:
        self._request()
        return {host: self._free(host) for host in self._world.hosts}

    def _free(self, host: str) -> int:
        used = sum(s.host == host for s in self.servers_by_id.values())
        return 0 if self.room is not None and host not in self.room else MEMORY - VM * used

    def force_down(self, service_id: str, forced: bool) -> None:
        self._request()
        self.set_forced(service_id.removeprefix("service-"), forced)

    def set_forced(self, host: str, forced: bool) -> None:
        unfinished = [r for r in self.records if r.source == host and r.status in KEEPS_DOWN]
        if not forced and unfinished:
            raise CloudRefused("400 the service has evacuation records that are not completed")
        (self.forced.add if forced else self.forced.discard)(host)
        self.touched[host] = self._now()
        self._world.log("nova", f"service of {host} is {'forced down' if forced else 'unforced'}")

    def enable(self, service_id: str) -> None:
        self._request()
        host = service_id.removeprefix("service-")
        self.disabled.pop(host, None)
        self.touched[host] = self._now()
        self._world.log("nova", f"scheduling to {host} is enabled")

    def disable(self, service_id: str, reason: str) -> None:
        self._request()
        host = service_id.removeprefix("service-")
        self.disabled[host] = reason
        self.touched[host] = self._now()
        self._world.log("nova", f"scheduling to {host} is disabled")

    def evacuate(self, server_id: str, dest: str | None = None) -> None:
        self._request()
        server = self.servers_by_id.get(server_id)
        if server is None:
            raise CloudRefused("404 no such server")
        if server.host is None or self.service(server.host).up:
            raise CloudRefused("400 the compute service is up")
        if server.task_state or server.vm_state not in EVACUABLE:
            raise CloudRefused(f"409 the server is {server.vm_state}/{server.task_state}")
        self._set(server_id, task_state="rebuilding")
        record = Migration(
            id=f"m{next(self._numbers)}",
            server_id=server_id,
            source=server.host,
            dest=dest,
            status="accepted",
            created=float(int(self._now())),
        )
        self._world.evacuation_accepted(server, record)
        self.records.append(record)
        self._cast.discard(server_id)
        self._world.log("nova", f"accepts the evacuation of {server_id} from {server.host}")
        if server_id in self.loses:
            self.loses.remove(server_id)
            self.lost.add(record.id)
            return
        self._world.clockwork.after(SCHEDULING, lambda: self._schedule(server_id, dest))

    def reset_state(self, server_id: str, to: str) -> None:
        self._request()
        self._set(server_id, vm_state=to, status=to.upper(), task_state=None)
        self._world.log("nova", f"state of {server_id} is reset to {to}")

    def act(self, server_id: str, action: str) -> None:
        self._request()
        server = self.servers_by_id[server_id]
        needed, to = ACTIONS[action]
        if action in self.refuses or server.vm_state not in needed or server.task_state:
            raise CloudRefused(f"409 cannot {action} a server that is {server.vm_state}")
        self._set(server_id, task_state=f"{action}-task")
        self._world.log("nova", f"is asked to {action} {server_id}")
        self._world.clockwork.after(ACTING, lambda: self._acted(server_id, to))

    def _acted(self, server_id: str, to: str) -> None:
        server = self.servers_by_id.get(server_id)
        if server is None:
            return
        host = self._world.hosts[str(server.host)]
        if to in RESIDENT and server_id not in host.guests and host.powered:
            self._world.guest_starts(server_id, host)
        elif to not in RESIDENT:
            self._world.guest_ends(server_id, host)
        self._set(server_id, vm_state=to, status=to.upper(), task_state=None)

    def groups(self) -> list[ServerGroup]:
        if self.apart:  # the time of a request that finds nothing would be in every log
            self._request()
        return [
            ServerGroup(name, name, "anti-affinity", members)
            for name, members in self.apart.items()
        ]

    def last_stop(self, server_id: str) -> Stop | None:
        self._request()
        return self.stops.get(server_id)

    def runs(self, server_id: str) -> bool | None:
        """Ask the nova-compute of a server, which asks its hypervisor."""
        self._request()
        server = self.servers_by_id.get(server_id)
        if server is None or server.host is None:
            return None
        host = self._world.hosts[server.host]
        if not host.runs("compute") or not self._reaches(host):
            self._world.clockwork.park(RPC_TIMEOUT)
            raise CloudUnavailable("GET diagnostics: no answer in time")
        return server_id in host.guests

    def queued_at(self, server_id: str, source: str) -> frozenset[str]:
        """Return what Placement's books say once the conductor is through with the latest one."""
        if self.books_away:
            raise CloudUnavailable("Placement cannot be reached")
        if server_id not in self._cast:
            return frozenset()
        self._request()  # one that finds nothing would be in every log
        return frozenset(self._claims[server_id])

    def reboot(self, server_id: str) -> None:
        self._request()
        server = self.servers_by_id.get(server_id)
        if server is None:
            raise CloudRefused("404 no such server")
        if server.task_state or server.vm_state not in REBOOTABLE:
            raise CloudRefused(f"409 the server is {server.vm_state}/{server.task_state}")
        self._world.restarting(server)
        self._set(server_id, task_state="rebooting_hard")
        self._world.log("nova", f"reboots {server_id} on {server.host}")
        self._world.clockwork.after(REBUILD, lambda: self.rebooted(server_id))

    def rebooted(self, server_id: str) -> None:
        """Do it where it was asked for, unless something else has become of the server."""
        server = self.servers_by_id.get(server_id)
        if server is None or server.task_state != "rebooting_hard":
            return
        host = self._world.hosts[str(server.host)]
        if not host.runs("compute") or not self._reaches(host):
            self._world.clockwork.after(1.0, lambda: self.rebooted(server_id))
            return
        if server_id not in self.cursed:
            self._world.guest_starts(server_id, host)
        self._set(server_id, vm_state="active", status="ACTIVE", task_state=None)

    def stop_by(self, server_id: str, user: str | None) -> None:
        """Stop a server for a user, or because its guest was found off (user None)."""
        self.stops[server_id] = Stop(user, self._now())
        server = self.servers_by_id[server_id]
        self._world.guest_ends(server_id, self._world.hosts[str(server.host)])
        self._set(server_id, vm_state="stopped", status="SHUTOFF")
        self._world.log("nova", f"stops {server_id}, asked by {user or 'nobody'}")

    # -- a compute ------------------------------------------------------------------------

    def compute(self, host: Host) -> None:
        """Be nova-compute on `host`: tidy up, bring guests back, report."""
        clockwork = self._world.clockwork
        self._started[host.name] = clockwork.now
        clockwork.park(1.0)
        while not self._reaches(host):
            clockwork.park(1.0)
        self._tidy(host)
        while True:
            if self._reaches(host):
                self.reported[host.name] = self._now()
            clockwork.park(REPORT_EVERY)

    def _tidy(self, host: Host) -> None:
        """Remove what was evacuated and complete its records: one of each server, the newest."""
        left = [r for r in self.records if r.source == host.name and r.status in KEEPS_DOWN]
        for record in {record.server_id: record for record in left}.values():
            if record.server_id in host.guests:
                self._world.guest_ends(record.server_id, host)
            self._record(record.id, status="completed", updated=self._now())
        for server in list(self.servers_by_id.values()):
            idle = server.id not in host.guests and not server.task_state
            if server.host == host.name and server.vm_state == "active" and idle:
                self._back(server, host)

    def _back(self, server: Server, host: Host) -> None:
        if self.resume_guests:
            self._world.guest_starts(server.id, host)
        else:
            # Nova's own power sync finds the guest off and stops the server, by nobody.
            self.stops[server.id] = Stop(None, self._now())
            self._set(server.id, vm_state="stopped", status="SHUTOFF")

    def _reaches(self, host: Host) -> bool:
        return not self.down and self._world.network.open(host.name, "ctl")

    def may_begin_on(self, record: Migration) -> frozenset[str] | None:
        """Return the hosts that may yet begin an evacuation, in truth; None: none is chosen."""
        if record.dest is not None:
            return frozenset({record.dest})
        if record.server_id not in self._cast:
            return None
        return frozenset(self._waiting[record.server_id])

    # -- an evacuation ----------------------------------------------------------------------

    def _schedule(self, server_id: str, wanted: str | None) -> None:
        """Choose a host; of two records that are accepted the conductor takes the older one.

        Where the source has completed the record meanwhile it goes on without; here, with that.
        """
        own = [r for r in self.records if r.server_id == server_id]
        record = next((r for r in own if r.status == "accepted"), own[-1])
        number = record.id
        dest = self._checked(wanted) if wanted else self._choose(server_id, record.source)
        if record.server_id not in self.servers_by_id:
            self._record(number, status="error")
        elif dest is None:
            fault = "No valid host was found."
            self._set(
                record.server_id, vm_state="error", status="ERROR", task_state=None, fault=fault
            )
            self._record(number, status="error")
        else:
            self._claims.setdefault(server_id, set()).add(dest)
            self._cast.add(server_id)
            self._waiting.setdefault(server_id, set()).add(dest)
            self._queues[number] = dest
            self._dropped.discard((server_id, dest))
            self._begin(number, self._world.hosts[dest])

    def heading_for(self) -> str | None:
        """Return where the first evacuation that is under way goes, whatever Nova says of it."""
        going = (r.dest or self._queues.get(r.id) for r in self.records if r.status in UNDER_WAY)
        return next((host for host in going if host is not None), None)

    def _begin(self, number: str, host: Host) -> None:
        """Wait in the destination's queue until it takes it; only then Nova says where it goes."""
        if (self._find(number).server_id, host.name) in self._dropped:
            return
        if not self._works(host) or self._is_late(host):
            self._world.clockwork.after(1.0, lambda: self._begin(number, host))
            return
        self._waiting[self._find(number).server_id].discard(host.name)
        server = self.servers_by_id.get(self._find(number).server_id)
        self._record(number, status="pre-migrating", dest=host.name)
        if server is not None and server.task_state == "rebuilding":
            self._set(server.id, task_state="rebuild_spawning")
            self._taken[server.id] = host.name
            self._world.clockwork.after(REBUILD, lambda: self._rebuild(number, host))
            return
        self._record(number, status="failed", updated=self._now())
        if server is not None:  # it is put in error, wherever it runs
            self._set(server.id, vm_state="error", status="ERROR", task_state="rebuilding")

    def lose_queue(self, host: str) -> None:
        """Forget what waits in a host's queue, as RabbitMQ does that starts anew."""
        for server_id, waiting in self._waiting.items():
            if host in waiting:
                waiting.discard(host)
                self._dropped.add((server_id, host))

    def _is_late(self, host: Host) -> bool:
        began = self._started.get(host.name, 0.0) + self.tardy.get(host.name, 0.0)
        return self._world.clockwork.now < began

    def _works(self, host: Host) -> bool:
        return host.runs("compute") and self._reaches(host) and host.storage.state == "works"

    def _rebuild(self, number: str, host: Host) -> None:
        """Run it on the destination, once that works."""
        if not self._works(host):
            self._world.clockwork.after(1.0, lambda: self._rebuild(number, host))
            return
        record = self._find(number)
        server = self.servers_by_id.get(record.server_id)
        mine = server is not None and self._taken.get(server.id) == host.name
        if server is None or not mine or server.task_state != "rebuild_spawning":
            self._record(number, status="failed", updated=self._now())
            return
        if server.id in self.spoiled:
            self.spoiled.remove(server.id)
            self.half[server.id] = (host.name, host.boots)
            fault = "The guest could not be started."
            self._set(server.id, vm_state="error", status="ERROR", task_state=None, fault=fault)
            self._record(number, status="failed", updated=self._now())
            return
        if self._rival(server.id, host.name):
            self._set(server.id, task_state=None, fault="Anti-affinity was violated.")
            self._record(number, status="failed")
            return
        stopped = server.vm_state == "stopped" or (
            self.stays_stopped and server.vm_state != "error"
        )
        if not stopped:
            self._world.guest_starts(server.id, host)
        state, status = ("stopped", "SHUTOFF") if stopped else ("active", "ACTIVE")
        self._set(
            server.id, host=host.name, vm_state=state, status=status, task_state=None, fault=""
        )
        self._record(number, status="done")
        self._world.evacuated(server.id, record.source, host.name)

    def _rival(self, server_id: str, host: str) -> bool:
        """Tell whether a member of the server's strict group is there already."""
        members = [group for group in self.apart.values() if server_id in group]
        others = frozenset().union(*members) - {server_id}
        return any(self.servers_by_id[o].host == host for o in others if o in self.servers_by_id)

    def _checked(self, host: str) -> str | None:
        """Check a named destination as the scheduler does."""
        service = self.service(host)
        room = self.room is None or host in self.room
        return host if service.up and service.enabled and room else None

    def _choose(self, server_id: str, source: str) -> str | None:
        """Choose as the scheduler does: by its own idea of what is up."""
        services = [self.service(host) for host in self._world.hosts]
        up = [s.host for s in services if s.up and s.enabled and s.host != source]
        if self.room is not None:
            up = [host for host in up if host in self.room]
        up = [host for host in up if not self._rival(server_id, host)]
        load = {h: sum(s.host == h for s in self.servers_by_id.values()) for h in up}
        return min(up, key=lambda h: (load[h], h), default=None)

    def service(self, host: str) -> Service:
        """Return what Nova says of a service now."""
        reported = self.reported.get(host, 0.0)
        fresh = self._now() - reported < SERVICE_DOWN_TIME
        return Service(
            id=f"service-{host}",
            host=host,
            up=fresh and host not in self.forced,
            enabled=host not in self.disabled,
            forced_down=host in self.forced,
            updated_at=max(reported, self.touched.get(host, 0.0)),
            disabled_reason=self.disabled.get(host),
        )

    def change(self, server_id: str, **fields: Any) -> None:
        """Let a user do something with a server."""
        self._set(server_id, **fields)

    def _find(self, number: str) -> Migration:
        return next(r for r in self.records if r.id == number)

    def _record(self, number: str, **fields: Any) -> None:
        place = next(n for n, r in enumerate(self.records) if r.id == number)
        self.records[place] = replace(self.records[place], **fields)

    def _set(self, server_id: str, **fields: Any) -> None:
        self.servers_by_id[server_id] = replace(self.servers_by_id[server_id], **fields)

    def _request(self) -> None:
        began = self._world.clockwork.now
        self._world.clockwork.park(REQUEST)
        if self._world.clockwork.now - began > RPC_TIMEOUT:  # who asks was stopped meanwhile
            raise CloudUnavailable("Nova: the connection was closed before it was asked")
        if self.down or "keystone" in self._world.telemetry.down:
            raise CloudUnavailable("Nova cannot be reached")

    def _now(self) -> float:
        return EPOCH + self._world.clockwork.now
