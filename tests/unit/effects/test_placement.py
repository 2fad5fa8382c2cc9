# SPDX-License-Identifier: Apache-2.0
"""Placement's books: what is free, what each VM takes, and a thread that reads them aside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from keystoneauth1 import noauth
from keystoneauth1.session import Session
from openstack.connection import Connection

from tests.unit.effects.telemetry_server import Server, serving
from vmha_remediator.effects.aside import Aside
from vmha_remediator.effects.asking import PLACEMENT_VERSION
from vmha_remediator.effects.placement import Placement
from vmha_remediator.errors import CloudRefused, CloudUnavailable

HYPERVISORS = {"p-1": "h1", "p-2": "h2"}


def inventory(total: int, **other: Any) -> dict[str, Any]:
    return {"total": total, "reserved": 0, "allocation_ratio": 1.0, "max_unit": total} | other


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        server.say("GET", "/", 200, {"versions": [
            {"id": "v1.0", "max_version": "1.39", "min_version": "1.0", "status": "CURRENT",
             "links": [{"rel": "self", "href": ""}]},
        ]})  # fmt: skip
        providers(server, ("p-1", "p-1"), ("p-2", "p-2"))
        yield server


@pytest.fixture
def placement(server: Server) -> Placement:
    session = Session(auth=noauth.NoAuth(endpoint=f"{server.url}/"))
    connection = Connection(session=session, placement_endpoint_override=f"{server.url}/")
    return Placement(connection, timeout=5.0)


def providers(server: Server, *known: tuple[str, str]) -> None:
    """List providers with their roots; each has nothing until a test says more."""
    raw = [{"uuid": uuid, "root_provider_uuid": root} for uuid, root in known]
    server.say("GET", "/resource_providers", 200, {"resource_providers": raw})
    for uuid, _ in known:
        holds(server, uuid)


def holds(
    server: Server,
    uuid: str,
    inventories: dict[str, Any] | None = None,
    taken: dict[str, dict[str, int]] | None = None,
    traits: tuple[str, ...] = (),
) -> None:
    base = f"/resource_providers/{uuid}"
    server.say("GET", f"{base}/inventories", 200, {"inventories": inventories or {}})
    allocations = {c: {"resources": amounts} for c, amounts in (taken or {}).items()}
    server.say("GET", f"{base}/allocations", 200, {"allocations": allocations})
    server.say("GET", f"{base}/traits", 200, {"traits": list(traits)})


def test_free_is_what_placement_would_give(server: Server, placement: Placement) -> None:
    memory = inventory(1000, reserved=100, allocation_ratio=1.5, max_unit=800)
    taken = {"v-1": {"MEMORY_MB": 200}, "migration": {"MEMORY_MB": 50}}
    holds(server, "p-1", {"MEMORY_MB": memory}, taken, ("CUSTOM_SSD",))

    rooms, demands = placement.read(HYPERVISORS)

    assert rooms["h1"].free == {"MEMORY_MB": 1350 - 250}
    assert rooms["h1"].largest == {"MEMORY_MB": 800}
    assert rooms["h1"].traits == {"CUSTOM_SSD"}
    assert rooms["h2"].free == {}
    assert demands["v-1"] == {"MEMORY_MB": 200}
    assert {r.version for r in server.requests if r.path != "/"} == {
        f"placement {PLACEMENT_VERSION}"
    }


def test_devices_of_a_host_count_as_its_own(server: Server, placement: Placement) -> None:
    providers(server, ("p-1", "p-1"), ("gpu-a", "p-1"), ("gpu-b", "p-1"), ("shared", "shared"))
    holds(server, "p-1", {"VCPU": inventory(8)}, {"v-1": {"VCPU": 2}})
    holds(server, "gpu-a", {"VGPU": inventory(4)}, {"v-1": {"VGPU": 1}})
    holds(server, "gpu-b", {"VGPU": inventory(2)})

    rooms, demands = placement.read({"p-1": "h1"})

    assert set(rooms) == {"h1"}
    assert rooms["h1"].free == {"VCPU": 6, "VGPU": 5}
    assert rooms["h1"].largest["VGPU"] == 3
    assert rooms["h1"].split == {"VGPU"}
    assert demands["v-1"] == {"VCPU": 2, "VGPU": 1}


def test_a_provider_that_is_deleted_meanwhile_has_no_room(
    server: Server, placement: Placement
) -> None:
    for part in ("inventories", "allocations", "traits"):
        del server.answers["GET", f"/resource_providers/p-2/{part}"]
    assert placement.read(HYPERVISORS)[0]["h2"].free == {}


@pytest.mark.parametrize(
    "inventories", [{"VCPU": {"total": 1}}, {"VCPU": None}, {"VCPU": inventory(1, max_unit="x")}]
)  # fmt: skip
def test_nonsense_is_said(server: Server, placement: Placement, inventories: Any) -> None:
    path = "/resource_providers/p-1/inventories"
    server.say("GET", path, 200, {"inventories": inventories})
    with pytest.raises(CloudUnavailable, match="Placement answered something unexpected"):
        placement.read(HYPERVISORS)


@pytest.mark.parametrize("body", [{}, [], {"resource_providers": None}, {"inventories": []}])
def test_an_answer_of_something_else_is_said(
    server: Server, placement: Placement, body: Any
) -> None:
    server.say("GET", "/resource_providers", 200, body)
    with pytest.raises(CloudUnavailable, match="Placement answered something unexpected"):
        placement.read(HYPERVISORS)


@pytest.mark.parametrize(
    ("status", "error"), [(403, CloudRefused), (503, CloudUnavailable), (401, CloudUnavailable)]
)
def test_a_refusal_is_one_of_ours(
    server: Server, placement: Placement, status: int, error: type[Exception]
) -> None:
    server.say("GET", "/resource_providers", status, {"errors": []})
    with pytest.raises(error):
        placement.read(HYPERVISORS)


# -- reading aside ----------------------------------------------------------------------------


class Slow:
    """A value that comes when the test lets it."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.asked = 0
        self.trouble: Exception | None = None
        self.now = 0.0

    def fetch(self) -> int:
        self.asked += 1
        assert self.go.acquire(timeout=10)
        if self.trouble is not None:
            raise self.trouble
        return self.asked

    def clock(self) -> float:
        return self.now


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def aside(slow: Slow) -> Aside[int]:
    return Aside("room", slow.fetch, 30.0, slow.clock)


def test_who_does_not_wait_is_told_that_it_is_being_read(aside: Aside[int], slow: Slow) -> None:
    with pytest.raises(CloudUnavailable, match="room is still being read; ask again"):
        aside.get(wait=0)
    slow.go.release()
    assert aside.get(wait=10) == 1
    assert slow.asked == 1


def test_a_value_is_shown_while_the_next_one_is_read(aside: Aside[int], slow: Slow) -> None:
    slow.go.release()
    assert aside.get(wait=10) == 1
    slow.now = 40.0
    assert aside.get(wait=0) == 1
    slow.now = 100.0
    with pytest.raises(CloudUnavailable, match="still being read"):
        aside.get(wait=0)
    slow.go.release()
    assert aside.get(wait=10) == 2


@pytest.mark.parametrize("trouble", [CloudRefused("403 no"), RuntimeError("a bug")])
def test_trouble_is_shared_and_tried_again(
    aside: Aside[int], slow: Slow, trouble: Exception
) -> None:
    slow.trouble = trouble
    slow.go.release()
    for _ in range(2):
        with pytest.raises(CloudUnavailable, match=r"403 no|RuntimeError"):
            aside.get(wait=10)
    assert slow.asked == 1
    slow.now, slow.trouble = 100.0, None
    slow.go.release()
    assert aside.get(wait=10) == 2
