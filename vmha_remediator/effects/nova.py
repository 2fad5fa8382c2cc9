# SPDX-License-Identifier: Apache-2.0
"""Nova through its public API: who is where, and run it elsewhere.

Requests are made plainly, each with the microversion that its body was written for, over
openstacksdk's session, catalogue and version discovery. Every method may raise
`CloudUnavailable` (try again later) or `CloudRefused` (Nova said no, with its message).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from openstack.connection import Connection
from oslo_log import log

from vmha_remediator.effects import nova_parse as parse
from vmha_remediator.errors import CloudRefused, CloudUnavailable, ConfigError
from vmha_remediator.remedy.facts import Migration, Server, ServerGroup, Service, Stop
from vmha_remediator.remedy.protect import EVACUABLE

LOG = log.getLogger(__name__)

Version = tuple[int, int]

#: PUT /os-services/{uuid} and UUIDs of services begin here (2017, Pike).
MIN_VERSION: Version = (2, 53)
MAX_VERSION: Version = (99, 0)
#: From 2.95 on an evacuated server is left stopped on its destination, to be started in order.
#: Nova refuses that while one of its nova-computes is too old; then this is asked for.
EVACUATE: Version = (2, 95)
EVACUATE_RUNNING: Version = (2, 94)
#: So long nothing is left stopped after Nova has refused to, in seconds.
AS_BEFORE_FOR = 600.0
#: 2.98 shows image properties within a server, 2.73 a lock's reason, 2.47 the extra specs.
SERVERS: Version = (2, 98)
MIGRATIONS: Version = (2, 80)
SERVICES: Version = (2, 69)
#: Shares can be attached from here on.
SHARES: Version = (2, 97)
#: From 2.48 on every driver answers in one form.
DIAGNOSTICS: Version = (2, 48)
#: What Nova says (409) when nova-compute has just found that a guest does not run.
NOT_RUNNING = "power state"
#: 2.64 gives a group's policy as a word.
GROUPS: Version = (2, 64)
#: From 2.88 on hypervisors no longer show how much is free.
HYPERVISORS: Version = (2, 87)
PAGE = 500

#: What a server can be asked to do, by the name in the journal: (body, microversion). From 2.87
#: on also a server that boots from a volume can be rescued.
ACTIONS: Mapping[str, tuple[Mapping[str, Any], Version]] = {
    # Not os-start: nova-compute powers the guest on before it looks whether it still should,
    # so a request left in the queue of a host that died would start the VM there when the host is
    # back, though it runs elsewhere by then. A hard reboot looks first.
    "start": ({"reboot": {"type": "HARD"}}, MIN_VERSION),
    "stop": ({"os-stop": None}, MIN_VERSION),
    "pause": ({"pause": None}, MIN_VERSION),
    "suspend": ({"suspend": None}, MIN_VERSION),
    "rescue": ({"rescue": None}, (2, 87)),
    "confirm-resize": ({"confirmResize": None}, MIN_VERSION),
}


class Nova:
    """What is needed of Nova; safe to use from many threads."""

    def __init__(
        self, connection: Connection, timeout: float = 10.0, cap: Version | None = None
    ) -> None:
        """Use `connection`; `cap` is the highest microversion to ask for, None: no limit."""
        self._cloud = connection
        self._timeout = timeout
        self._cap = cap
        self._as_before_until = 0.0
        self._left_stopped = False
        self._lock = threading.Lock()
        self._max: Version | None = None
        self._images: dict[str, Mapping[str, str]] = {}

    # -- reading ------------------------------------------------------------------------

    def services(self) -> list[Service]:
        """Return every nova-compute service."""
        body = self._json("GET", "/os-services?binary=nova-compute", SERVICES)
        return [parse.service(raw) for raw in body["services"]]

    def servers(self, host: str) -> list[Server]:
        """Return every server, of any project, that Nova places on `host`."""
        path = f"/servers/detail?all_tenants=1&host={quote(host, safe='')}&limit={PAGE}"
        return [self._server(raw) for raw in self._pages(path, "servers", SERVERS)]

    def server(self, server_id: str) -> Server | None:
        """Return one server, or None when it is gone."""
        body = self._json("GET", f"/servers/{quote(server_id)}", SERVERS, missing=True)
        return None if body is None else self._server(body["server"])

    def all_servers(self) -> list[Server]:
        """Return every server of every project."""
        path = f"/servers/detail?all_tenants=1&limit={PAGE}"
        return [self._server(raw) for raw in self._pages(path, "servers", SERVERS)]

    def runs(self, server_id: str) -> bool | None:
        """Return whether the guest runs, which its nova-compute asks the hypervisor for now.

        None: nova-compute cannot say (the hypervisor gives no diagnostics, the server is gone).
        """
        path = f"/servers/{quote(server_id)}/diagnostics"
        answer = self._request("compute", "GET", path, microversion=self.version(DIAGNOSTICS))
        if answer.status_code == 409:
            return False if NOT_RUNNING in parse.message(answer) else None
        if answer.status_code in (400, 403, 404, 501):
            return None
        self._body(answer)
        return True

    def last_stop(self, server_id: str) -> Stop | None:
        """Return the latest request to stop a server, None when there was none."""
        path = f"/servers/{quote(server_id)}/os-instance-actions"
        body = self._json("GET", path, MIN_VERSION, missing=True)
        return parse.last_stop(body["instanceActions"]) if body is not None else None

    def changed_since(self, time: float) -> list[Server]:
        """Return every server that has changed since then (s since the epoch) and still exists."""
        since = quote(parse.iso(time), safe="")
        path = f"/servers/detail?all_tenants=1&changes-since={since}&limit={PAGE}"
        pages = self._pages(path, "servers", SERVERS)
        return [self._server(raw) for raw in pages if raw.get("status") != "DELETED"]

    def called(self, name: str) -> list[Server]:
        """Return every server, of any project, of exactly that name."""
        pattern = quote(f"^{re.escape(name)}$", safe="")
        path = f"/servers/detail?all_tenants=1&name={pattern}&limit={PAGE}"
        found = (self._server(raw) for raw in self._pages(path, "servers", SERVERS))
        return [server for server in found if server.name == name]

    def evacuations(self, host: str) -> list[Migration]:
        """Return the records of all evacuations away from `host`."""
        path = (
            f"/os-migrations?migration_type=evacuation&source_compute={quote(host, safe='')}"
            f"&limit={PAGE}"
        )
        return [parse.migration(raw) for raw in self._pages(path, "migrations", MIGRATIONS)]

    def examined(self, servers: Iterable[Server]) -> list[Server]:
        """Return servers with what their ports and shares tell; a request for each server.

        Too slow for a failure, where Nova's refusal says the same; made for telling it before.
        """
        vnics = self._vnic_types()
        return [
            replace(s, vnic_types=vnics.get(s.id, frozenset()), shares=self._has_share(s.id))
            for s in servers
        ]

    def _vnic_types(self) -> dict[str, frozenset[str]]:
        """Return the kinds of ports of each server; nothing where Neutron does not show them."""
        path = "/ports?fields=device_id&fields=binding:vnic_type"
        found: dict[str, frozenset[str]] = {}
        for port in self._body(self._request("network", "GET", path)).get("ports", ()):
            server, kind = str(port.get("device_id")), str(port.get("binding:vnic_type"))
            found[server] = found.get(server, frozenset()) | {kind}
        return found

    def _has_share(self, server_id: str) -> bool:
        if self.highest() < SHARES:
            return False
        body = self._json("GET", f"/servers/{quote(server_id)}/shares", SHARES, missing=True)
        return bool(body and body.get("shares"))

    def groups(self) -> list[ServerGroup]:
        """Return every server group of every project."""
        path = f"/os-server-groups?all_projects=1&limit={PAGE}"
        found: list[ServerGroup] = []
        while True:
            body = self._json("GET", f"{path}&offset={len(found)}", GROUPS)
            found += [parse.group(raw) for raw in body["server_groups"]]
            if len(body["server_groups"]) < PAGE:
                return found

    def free_memory(self) -> dict[str, int]:
        """Return the free memory of each host in MB, as its nova-compute last said."""
        path = f"/os-hypervisors/detail?limit={PAGE}"
        found: dict[str, int] = {}
        for raw in self._pages(path, "hypervisors", HYPERVISORS):
            host, free = parse.free_memory(raw)
            found[host] = found.get(host, 0) + free
        return found

    def _server(self, raw: Mapping[str, Any]) -> Server:
        shown = parse.image_properties(raw)
        if shown is None:
            return parse.server(raw, self._image(str(raw["image"]["id"])))
        image = raw.get("image")
        if not isinstance(image, Mapping) or EVACUABLE in shown:
            return parse.server(raw, shown)
        # From 2.98 on Nova shows what it uses itself of an image; ours is for Glance to tell.
        try:
            return parse.server(raw, {**self._image(str(image["id"])), **shown})
        except (CloudRefused, CloudUnavailable) as exc:
            LOG.warning("%s: its image's properties are not known now: %s", raw["name"], exc)
            return parse.server(raw, shown)

    def _image(self, image_id: str) -> Mapping[str, str]:
        """Return an image's properties from Glance; they hardly change, so once is enough."""
        if image_id not in self._images:
            response = self._request("image", "GET", f"/images/{quote(image_id)}")
            found = {} if response.status_code == 404 else self._body(response)
            self._images[image_id] = {k: str(v) for k, v in found.items()}
        return self._images[image_id]

    # -- acting -------------------------------------------------------------------------

    def force_down(self, service_id: str, forced: bool) -> None:
        """Set or take back a service's force-down."""
        self._service(service_id, {"forced_down": forced})

    def enable(self, service_id: str) -> None:
        """Let the scheduler choose the service's host again."""
        self._service(service_id, {"status": "enabled"})

    def disable(self, service_id: str, reason: str) -> None:
        """Keep the scheduler from choosing the service's host."""
        self._service(service_id, {"status": "disabled", "disabled_reason": reason[:255]})

    def evacuate(self, server_id: str, dest: str | None = None) -> None:
        """Ask for a server to be run elsewhere; `dest` None lets the scheduler choose.

        A `dest` is checked by the scheduler: `force`, which 2.29 to 2.67 know, is never sent.

        A return means that Nova has accepted it, not that it is done: follow `evacuations`.
        """
        body = {"evacuate": {"host": dest} if dest else {}}
        if time.monotonic() < self._as_before_until:
            self._action(server_id, body, EVACUATE_RUNNING)
            return
        try:
            self._action(server_id, body, EVACUATE)
            self._left_stopped = self.highest() >= EVACUATE
        except CloudRefused as exc:
            if "microversion 2.95" not in str(exc):
                raise
            LOG.warning("%s; evacuated servers are left running for now", exc)
            self._as_before_until = time.monotonic() + AS_BEFORE_FOR
            self._left_stopped = False
            self._action(server_id, body, EVACUATE_RUNNING)

    def leaves_stopped(self) -> bool:
        """Tell whether Nova is known to leave what it evacuates stopped: it has done so."""
        return self._left_stopped

    def reset_state(self, server_id: str, to: str) -> None:
        """Set a server's state to "active" or "error" without touching the server."""
        self._action(server_id, {"os-resetState": {"state": to}}, MIN_VERSION)

    def act(self, server_id: str, action: str) -> None:
        """Ask for one of `ACTIONS`; a user's lock is no hindrance for an administrator."""
        body, version = ACTIONS[action]
        self._action(server_id, body, version)

    def reboot(self, server_id: str) -> None:
        """Start a server afresh on the host where it is, whatever became of its guest.

        This is what "start" asks for, too, and for the same reason.
        """
        self.act(server_id, "start")

    def _service(self, service_id: str, change: Mapping[str, Any]) -> None:
        self._json("PUT", f"/os-services/{quote(service_id)}", SERVICES, json=change)

    def _action(self, server_id: str, action: Mapping[str, Any], version: Version) -> None:
        self._json("POST", f"/servers/{quote(server_id)}/action", version, json=action)

    # -- talking ------------------------------------------------------------------------

    def version(self, wanted: Version) -> str:
        """Return the microversion to ask for: `wanted`, or the highest that Nova has."""
        return "{}.{}".format(*min(wanted, self.highest()))

    def highest(self) -> Version:
        """Return the highest microversion that Nova offers and [cloud] allows."""
        with self._lock:
            if self._max is not None:
                return self._max
        with parse.translated("asking for Nova's versions"):
            # Even naming the service asks it for its versions, and so may fail.
            data = self._cloud.compute.get_endpoint_data()
        if data is None or not data.max_microversion:
            raise CloudUnavailable(
                "Nova did not say which versions it has; check [cloud] region_name and interface"
            )
        found: Version = min(tuple(data.max_microversion), self._cap or MAX_VERSION)
        if found < MIN_VERSION:
            raise ConfigError(
                "Nova offers (or [cloud] compute_microversion_max allows) microversion {}.{} at "
                "most, at least {}.{} is needed".format(*found, *MIN_VERSION)
            )
        with self._lock:
            self._max = found
        return found

    def _pages(self, path: str, key: str, version: Version) -> Iterator[Mapping[str, Any]]:
        """Yield the items of a list, page after page."""
        marker = ""
        while True:
            body = self._json("GET", f"{path}{marker}", version)
            items = body[key]
            yield from items
            if len(items) < PAGE or not any(
                link.get("rel") == "next" for link in body.get(f"{key}_links", ())
            ):
                return
            last = items[-1]
            marker = f"&marker={quote(str(last.get('uuid') or last['id']))}"

    def _json(
        self,
        method: str,
        path: str,
        version: Version,
        *,
        json: Mapping[str, Any] | None = None,
        missing: bool = False,
    ) -> Any:
        """Return the answer's body; None for a 404 that `missing` allows."""
        response = self._request(
            "compute", method, path, microversion=self.version(version), json=json
        )
        if missing and response.status_code == 404:
            return None
        return self._body(response)

    def _request(self, service: str, method: str, path: str, **options: Any) -> Any:
        what = f"{method} {path.split('?')[0]}"
        with parse.translated(what):
            return getattr(self._cloud, service).request(
                path,
                method,
                raise_exc=False,
                timeout=self._timeout,
                # The engine's next cycle is the retry. openstacksdk asks a Glance that
                # answers 503 six times, over 15 s, for each image.
                status_code_retries=0,
                headers={"Accept": "application/json"},
                **options,
            )

    def _body(self, response: Any) -> Any:
        status, text = response.status_code, parse.message(response)
        what = f"{response.request.method} {response.request.path_url.split('?')[0]}"
        if status >= 500 or status in (401, 408, 413, 429):
            raise CloudUnavailable(f"{what}: {status} {text}")
        if status >= 400:
            raise CloudRefused(f"{what}: {status} {text}")
        if not response.content:
            return {}
        try:
            return response.json()
        except ValueError as exc:
            if status == 202:
                return {}
            raise CloudUnavailable(f"{what}: the answer is not JSON") from exc
