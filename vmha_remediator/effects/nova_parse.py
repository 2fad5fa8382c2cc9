# SPDX-License-Identifier: Apache-2.0
"""Nova's answers and failures, turned into plain values and our errors."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
from keystoneauth1 import exceptions as ks_exc
from openstack import exceptions as sdk_exc

from vmha_remediator.effects.translate import who
from vmha_remediator.errors import MALFORMED, CloudUnavailable, in_short
from vmha_remediator.remedy.facts import Aggregate, Migration, Server, ServerGroup, Service, Stop

#: What the conductor does for an evacuation, as its event is called: it has the scheduler choose a
#: host and asks that one (nova.conductor.manager: ComputeTaskManager.rebuild_instance).
CONDUCTED = "rebuild_server"
#: The availability zone for which a server asked; Nova shows it from 2.96 on.
PINNED = "pinned_availability_zone"


def seconds(text: str | None) -> float | None:
    """Return a Nova time (ISO 8601, UTC, with or without a zone) in seconds since the epoch."""
    if not text:
        return None
    moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()


def iso(time: float) -> str:
    """Return seconds since the epoch as Nova takes them in a query."""
    return datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def service(raw: Mapping[str, Any]) -> Service:
    """Return a nova-compute service. Raises `CloudUnavailable` for one in a cell that is down."""
    if "state" not in raw:
        raise CloudUnavailable("Nova cannot reach one of its cells: its services are not known")
    return Service(
        id=str(raw["id"]),
        host=str(raw["host"]),
        up=raw["state"] == "up",
        enabled=raw["status"] == "enabled",
        forced_down=bool(raw.get("forced_down")),
        updated_at=seconds(raw.get("updated_at")),
        disabled_reason=raw.get("disabled_reason"),
        zone=str(raw.get("zone") or ""),
    )


def image_properties(raw: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Return a server's image properties; None: Nova does not show them, ask Glance."""
    image = raw.get("image")
    if not isinstance(image, Mapping):
        return {}  # booted from a volume
    if "properties" in image:
        return {k: str(v) for k, v in (image["properties"] or {}).items()}
    return None


def server(raw: Mapping[str, Any], properties: Mapping[str, str]) -> Server:
    """Return a server. Raises `CloudUnavailable` for one in a cell that is down."""
    if "OS-EXT-STS:vm_state" not in raw:
        raise CloudUnavailable("Nova cannot reach one of its cells: its servers are not known")
    flavor = raw.get("flavor") or {}
    return Server(
        id=str(raw["id"]),
        name=str(raw["name"]),
        host=raw.get("OS-EXT-SRV-ATTR:host"),
        status=str(raw["status"]),
        vm_state=str(raw["OS-EXT-STS:vm_state"]),
        task_state=raw.get("OS-EXT-STS:task_state"),
        launched=raw.get("OS-SRV-USG:launched_at") is not None,
        locked=bool(raw.get("locked")),
        locked_reason=raw.get("locked_reason"),
        tags=frozenset(raw.get("tags") or ()),
        metadata={k: str(v) for k, v in (raw.get("metadata") or {}).items()},
        extra_specs={k: str(v) for k, v in (flavor.get("extra_specs") or {}).items()},
        image_properties=properties,
        on_volume=not raw.get("image"),
        power=raw.get("OS-EXT-STS:power_state"),
        fault=str((raw.get("fault") or {}).get("message") or ""),
        zone=_zone(raw),
        zone_guessed=PINNED not in raw,
        ram=int(flavor.get("ram") or 0),
        vcpus=int(flavor.get("vcpus") or 0),
        disk=_disk(flavor),
        project=str(raw.get("tenant_id") or ""),
    )


def group(raw: Mapping[str, Any]) -> ServerGroup:
    """Return a server group; one without a policy binds nobody."""
    return ServerGroup(
        id=str(raw["id"]),
        name=str(raw["name"]),
        policy=str(raw.get("policy") or next(iter(raw.get("policies") or ()), "")),
        members=frozenset(str(member) for member in raw.get("members") or ()),
        per_host=int((raw.get("rules") or {}).get("max_server_per_host") or 1),
    )


def aggregate(raw: Mapping[str, Any]) -> Aggregate:
    """Return a host aggregate."""
    return Aggregate(
        name=str(raw["name"]),
        hosts=frozenset(str(host) for host in raw.get("hosts") or ()),
        metadata={k: str(v) for k, v in (raw.get("metadata") or {}).items()},
    )


def _zone(raw: Mapping[str, Any]) -> str | None:
    """Return the zone that a server must stay in: what was asked for, where Nova shows it."""
    if PINNED in raw:
        return raw[PINNED] or None
    return raw.get("OS-EXT-AZ:availability_zone") or None


def _disk(flavor: Mapping[str, Any]) -> int:
    """Return the GB of disk that a flavor takes; its swap is in MB."""
    swap = -(-int(flavor.get("swap") or 0) // 1024)
    return int(flavor.get("disk") or 0) + int(flavor.get("ephemeral") or 0) + swap


def free_memory(raw: Mapping[str, Any]) -> tuple[str, int]:
    """Return a hypervisor's service host and its free memory in MB."""
    return str(raw["service"]["host"]), int(raw.get("free_ram_mb") or 0)


def migration(raw: Mapping[str, Any]) -> Migration:
    """Return the record of an evacuation."""
    return Migration(
        id=str(raw.get("uuid") or raw["id"]),
        server_id=str(raw["instance_uuid"]),
        source=str(raw["source_compute"]),
        dest=raw.get("dest_compute"),
        status=str(raw["status"]),
        created=seconds(raw["created_at"]) or 0.0,
        updated=seconds(raw.get("updated_at")) or 0.0,
    )


def last_stop(actions: Iterable[Mapping[str, Any]]) -> Stop | None:
    """Return the latest request to stop a server among its actions, in any order.

    Nova's own requests (its guest was found off) name no user.
    """
    stops = [a for a in actions if a["action"] == "stop"]
    if not stops:
        return None
    latest = max(stops, key=lambda a: str(a["start_time"]))
    return Stop(by=latest.get("user_id"), at=seconds(latest["start_time"]) or 0.0)


def last_evacuation(actions: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the id of the latest request to evacuate a server among its actions, or None."""
    found = [a for a in actions if a["action"] == "evacuate"]
    return str(max(found, key=lambda a: str(a["start_time"]))["request_id"]) if found else None


def is_cast(action: Mapping[str, Any]) -> bool:
    """Tell whether Nova's conductor is through with an evacuation: the chosen host is asked."""
    return any(
        event["event"] == CONDUCTED and event["result"] == "Success" for event in action["events"]
    )


def message(response: requests.Response) -> str:
    """Return the sentence within Nova's error body, or the reason phrase."""
    try:
        body = response.json()
        inner = next(iter(body.values()))
        return " ".join(str(inner["message"]).split())[:300]
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration):
        return response.reason or "no message"


@contextmanager
def translated(service: str, what: str) -> Iterator[None]:
    """Turn everything that keeps a request from being answered into `CloudUnavailable`.

    Its text names `service`, or Keystone where that is the one that does not answer.
    """
    try:
        yield
    except (ks_exc.ConnectTimeout, requests.Timeout) as exc:
        silent = who(service, exc)
        raise CloudUnavailable(f"{silent} did not answer in time: {what}") from exc
    except ks_exc.Unauthorized as exc:
        raise CloudUnavailable(f"Keystone refused the login; check [cloud] ({what})") from exc
    except ks_exc.EndpointNotFound as exc:
        raise CloudUnavailable(f"{service} is not in Keystone's catalogue ({what})") from exc
    except (
        ks_exc.ClientException,
        sdk_exc.SDKException,
        requests.RequestException,
        OSError,
    ) as exc:
        raise CloudUnavailable(
            f"{who(service, exc)} cannot be reached ({what}): {in_short(exc)}"
        ) from exc
    except MALFORMED as exc:  # keystoneauth takes Keystone's answers apart without looking
        raise CloudUnavailable(
            f"{service} or Keystone answered nonsense ({what}): {type(exc).__name__}: {exc}"
        ) from exc
