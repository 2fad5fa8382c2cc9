# SPDX-License-Identifier: Apache-2.0
"""Nova through its public API: who is where, and run it elsewhere (`nova_acts`, `nova_api`)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from openstack.connection import Connection
from oslo_config import cfg
from oslo_log import log

from vmha_remediator.conf import cloud
from vmha_remediator.effects import nova_parse as parse
from vmha_remediator.effects.asking import understood
from vmha_remediator.effects.nova_acts import NovaActs
from vmha_remediator.effects.nova_api import MIN_VERSION, PAGE, SERVICES, Version
from vmha_remediator.effects.nova_queues import HYPERVISORS, NovaQueues
from vmha_remediator.effects.session import make_connection
from vmha_remediator.errors import CloudRefused, CloudUnavailable
from vmha_remediator.remedy.facts import (
    Aggregate,
    Migration,
    Server,
    ServerGroup,
    Service,
    Stop,
)
from vmha_remediator.remedy.protect import EVACUABLE

LOG = log.getLogger(__name__)

#: 2.98 shows image properties within a server, 2.73 a lock's reason, 2.47 the extra specs.
SERVERS: Version = (2, 98)
MIGRATIONS: Version = (2, 80)
#: Shares can be attached from here on.
SHARES: Version = (2, 97)
#: From 2.48 on every driver answers in one form.
DIAGNOSTICS: Version = (2, 48)
#: What Nova says (409) when nova-compute has just found that a guest does not run.
NOT_RUNNING = "power state"
#: 2.64 gives a group's policy as a word.
GROUPS: Version = (2, 64)
#: A Glance that did not answer is not waited for again so soon, in seconds: a list of servers
#: may need as many images.
GLANCE_AWAY = 30.0


def make_nova(conf: cfg.ConfigOpts, connection: Connection | None = None) -> Nova:
    """Return Nova with the account, the time-out and the highest version that [cloud] gives.

    It logs in for itself unless it shares a `connection`. Raises `ConfigError`.
    """
    return Nova(
        connection or make_connection(conf), conf.cloud.timeout, cloud.microversion_cap(conf)
    )


class Nova(NovaQueues, NovaActs):
    """What is needed of Nova; safe to use from many threads."""

    def __init__(
        self, connection: Connection, timeout: float = 10.0, cap: Version | None = None
    ) -> None:
        """Use `connection`; `cap` is the highest microversion to ask for, None: no limit."""
        super().__init__(connection, timeout, cap)
        self._images: dict[str, Mapping[str, str]] = {}
        self._glance_away_until = 0.0

    @understood
    def services(self) -> list[Service]:
        """Return every nova-compute service."""
        body = self._json("GET", "/os-services?binary=nova-compute", SERVICES)
        return [parse.service(raw) for raw in body["services"]]

    @understood
    def servers(self, host: str) -> list[Server]:
        """Return every server, of any project, that Nova places on `host`."""
        path = f"/servers/detail?all_tenants=1&host={quote(host, safe='')}&limit={PAGE}"
        return [self._server(raw) for raw in self._pages(path, "servers", SERVERS)]

    @understood
    def server(self, server_id: str) -> Server | None:
        """Return one server, or None when it is gone."""
        body = self._json("GET", f"/servers/{quote(server_id)}", SERVERS, missing=True)
        return None if body is None else self._server(body["server"])

    @understood
    def all_servers(self) -> list[Server]:
        """Return every server of every project."""
        path = f"/servers/detail?all_tenants=1&limit={PAGE}"
        return [self._server(raw) for raw in self._pages(path, "servers", SERVERS)]

    @understood
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

    @understood
    def last_stop(self, server_id: str) -> Stop | None:
        """Return the latest request to stop a server, None when there was none."""
        path = f"/servers/{quote(server_id)}/os-instance-actions"
        body = self._json("GET", path, MIN_VERSION, missing=True)
        return parse.last_stop(body["instanceActions"]) if body is not None else None

    @understood
    def changed_since(self, time: float) -> list[Server]:
        """Return every server that has changed since then (s since the epoch) and still exists."""
        since = quote(parse.iso(time), safe="")
        path = f"/servers/detail?all_tenants=1&changes-since={since}&limit={PAGE}"
        pages = self._pages(path, "servers", SERVERS)
        return [self._server(raw) for raw in pages if raw.get("status") != "DELETED"]

    @understood
    def called(self, name: str) -> list[Server]:
        """Return every server, of any project, of exactly that name."""
        pattern = quote(f"^{re.escape(name)}$", safe="")
        path = f"/servers/detail?all_tenants=1&name={pattern}&limit={PAGE}"
        found = (self._server(raw) for raw in self._pages(path, "servers", SERVERS))
        return [server for server in found if server.name == name]

    @understood
    def evacuations(self, host: str) -> list[Migration]:
        """Return the records of all evacuations away from `host`, the oldest first."""
        return self._evacuations(f"source_compute={quote(host, safe='')}")

    @understood
    def evacuations_to(self, host: str) -> list[Migration]:
        """Return the records of all evacuations that `host` has begun, the oldest first."""
        found = self._evacuations(f"host={quote(host, safe='')}")  # away from it, too
        return [record for record in found if record.dest == host]

    def _evacuations(self, which: str) -> list[Migration]:
        """Return records of evacuations, the oldest first.

        Nova stamps whole seconds and gives the newest first: those of one second go by number.
        """
        path = f"/os-migrations?migration_type=evacuation&{which}&limit={PAGE}"
        pages = self._pages(path, "migrations", MIGRATIONS)
        return [parse.migration(raw) for raw in sorted(pages, key=lambda raw: int(raw["id"]))]

    @understood
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
        for port in self._body(self._request("network", "GET", path), "network").get("ports", ()):
            server, kind = str(port.get("device_id")), str(port.get("binding:vnic_type"))
            found[server] = found.get(server, frozenset()) | {kind}
        return found

    def _has_share(self, server_id: str) -> bool:
        if self.highest() < SHARES:
            return False
        body = self._json("GET", f"/servers/{quote(server_id)}/shares", SHARES, missing=True)
        return bool(body and body.get("shares"))

    @understood
    def groups(self) -> list[ServerGroup]:
        """Return every server group of every project.

        Nothing says whether there are more of them, and Nova's own limit is not known.
        """
        path = f"/os-server-groups?all_projects=1&limit={PAGE}"
        found: dict[str, ServerGroup] = {}
        while True:
            body = self._json("GET", f"{path}&offset={len(found)}", GROUPS)
            page = {group.id: group for group in map(parse.group, body["server_groups"])}
            if page.keys() <= found.keys():
                return list(found.values())
            found |= page

    @understood
    def aggregates(self) -> list[Aggregate]:
        """Return every host aggregate."""
        body = self._json("GET", "/os-aggregates", MIN_VERSION)
        return [parse.aggregate(raw) for raw in body["aggregates"]]

    @understood
    def free_memory(self) -> dict[str, int]:
        """Return the free memory of each host in MB, as its nova-compute last said."""
        path = f"/os-hypervisors/detail?limit={PAGE}"
        found: dict[str, int] = {}
        for raw in self._pages(path, "hypervisors", HYPERVISORS):
            host, free = parse.free_memory(raw)
            found[host] = found.get(host, 0) + free
        return found

    def _server(self, raw: Mapping[str, Any]) -> Server:
        shown, image = parse.image_properties(raw), raw.get("image")
        if not isinstance(image, Mapping) or EVACUABLE in (shown or ()):
            return parse.server(raw, shown or {})
        # From 2.98 on Nova shows what it uses itself of an image; ours is for Glance to tell.
        return parse.server(raw, {**self._told_by_glance(str(image["id"])), **(shown or {})})

    def _told_by_glance(self, image_id: str) -> Mapping[str, str]:
        """Return an image's properties, none while Glance is away: it must not stop a recovery.

        A VM that only its image protects is recovered once Glance answers again.
        """
        if time.monotonic() < self._glance_away_until and image_id not in self._images:
            return {}
        try:
            return self._image(image_id)
        except CloudRefused as exc:
            LOG.warning("image %s: its properties are not known: %s", image_id, exc)
        except CloudUnavailable as exc:
            LOG.warning("VMs that only their images protect are not known now: %s", exc)
            self._glance_away_until = time.monotonic() + GLANCE_AWAY
        return {}

    def _image(self, image_id: str) -> Mapping[str, str]:
        """Return an image's properties from Glance; they hardly change, so once is enough."""
        if image_id not in self._images:
            response = self._request("image", "GET", f"/images/{quote(image_id)}")
            found = {} if response.status_code == 404 else self._body(response, "image")
            self._images[image_id] = {k: str(v) for k, v in found.items()}
        return self._images[image_id]
