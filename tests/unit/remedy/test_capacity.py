# SPDX-License-Identifier: Apache-2.0
"""N+1: what fits, what does not, and what nobody can promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from vmha_remediator.remedy import capacity
from vmha_remediator.remedy.capacity import Fit, Outlook, Space
from vmha_remediator.remedy.facts import Aggregate, Server, ServerGroup, Service
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.room import Room, Taker


def room(memory: int, cpus: int = 64, **other: Any) -> Room:
    free = {"MEMORY_MB": memory, "VCPU": cpus, "DISK_GB": 1000} | other.pop("more", {})
    return Room(free=free, largest=other.pop("largest", free), **other)


def vm(name: str, memory: int, cpus: int = 1, host: str = "h1", **other: Any) -> Server:
    return Server(
        id=name, name=name, host=host, status="ACTIVE", vm_state="active",
        tags=frozenset({"vmha"}), ram=memory, vcpus=cpus, **other,
    )  # fmt: skip


def look(
    servers: list[Server],
    rooms: Mapping[str, Room],
    groups: tuple[ServerGroup, ...] = (),
    taken: Mapping[str, Mapping[str, int]] | None = None,
    zones: Mapping[str, str] | None = None,
    policy: Policy | None = None,
    aggregates: tuple[Aggregate, ...] = (),
) -> Outlook:
    """Return the outlook of h1, with every host of `rooms` well."""
    able = tuple(Taker(host, (zones or {}).get(host, "nova")) for host in sorted(rooms))
    space = Space(rooms, taken or {}, tuple(servers), groups, aggregates)
    (found,) = [o for o in capacity.outlooks(space, able, policy or Policy()) if o.host == "h1"]
    return found


APART = (ServerGroup("g", "dbs", "anti-affinity", frozenset({"a", "b"})),)
SOFT = (ServerGroup("g", "dbs", "soft-anti-affinity", frozenset({"a", "b"})),)
TWO_A_HOST = (ServerGroup("g", "dbs", "anti-affinity", frozenset({"a", "b", "c"}), per_host=2),)
TOGETHER = (ServerGroup("g", "pair", "affinity", frozenset({"a", "b"})),)
SOFT_TOGETHER = (ServerGroup("g", "pair", "soft-affinity", frozenset({"a", "b"})),)


def aggregate(*hosts: str, **metadata: str) -> Aggregate:
    return Aggregate("some", frozenset(hosts), metadata)


def asks(text: str) -> dict[str, str]:
    return {"aggregate_instance_extra_specs:ssd": text}


EAST = (aggregate("h1", availability_zone="east"),)
FAST, SLOW = aggregate("h2", ssd="yes"), aggregate("h3", ssd="no")
MINE = aggregate("h2", filter_tenant_id="me,you")
KEPT = aggregate("h2", **{"trait:CUSTOM_LICENCE": "required"})
BOTH = {"h2": room(9), "h3": room(9)}

CASES: list[tuple[str, dict[str, Any], Fit, str]] = [
    ("one VM, one host", {"servers": [vm("a", 1)], "rooms": {"h2": room(1)}}, Fit.FITS,
     "if h1 fails, its one protected VM has room elsewhere"),
    ("the own host's room does not count",
     {"servers": [vm("a", 2)], "rooms": {"h1": room(99), "h2": room(1)}}, Fit.NOT,
     "if h1 fails, 1 of its 1 protected VM has no room (a): 2 MiB of memory missing"),
    ("nobody else", {"servers": [vm("a", 1), vm("b", 1)], "rooms": {"h1": room(9)}}, Fit.NOT,
     "if h1 fails, no other healthy host takes its 2 protected VMs"),
    ("the small ones would leave no place for the large one",
     {"servers": [vm("a", 2), vm("b", 2), vm("c", 3)], "rooms": {"h2": room(4), "h3": room(3)}},
     Fit.FITS, "all 3 of its protected VMs have room"),
    ("together too much",
     {"servers": [vm("a", 3), vm("b", 3), vm("c", 3)], "rooms": {"h2": room(4), "h3": room(3)}},
     Fit.NOT, "1 of its 3 protected VMs has no room (c): 3 MiB of memory missing"),
    ("enough in sum, but no way is found",
     {"servers": [vm("a", 3), vm("b", 3), vm("c", 3)], "rooms": {"h2": room(5), "h3": room(4)}},
     Fit.MAY_NOT, "1 of its 3 protected VMs may find no room (c)"),
    ("CPUs are counted too",
     {"servers": [vm("a", 1, cpus=8)], "rooms": {"h2": room(99, cpus=4)}}, Fit.NOT,
     "8 vCPUs missing"),
    ("a host that is overcommitted is full, not less than empty",
     {"servers": [vm("a", 3)], "rooms": {"h2": room(-5), "h3": room(3)}}, Fit.FITS, "has room"),
    ("more is free than one VM may take",
     {"servers": [vm("a", 8)], "rooms": {"h2": room(99, largest={"MEMORY_MB": 4, "VCPU": 9})}},
     Fit.NOT, "8 MiB of memory missing"),
    ("what is allocated counts, not the flavor",
     {"servers": [vm("a", 1)], "rooms": {"h2": room(9)}, "taken": {"a": {"VGPU": 1}}}, Fit.NOT,
     "1 VGPU missing"),
    ("a special class",
     {"servers": [vm("a", 1)], "rooms": {"h2": room(9, more={"VGPU": 1})},
      "taken": {"a": {"VGPU": 1}}}, Fit.FITS, "has room"),
    ("a trait is wanted",
     {"servers": [vm("a", 1, extra_specs={"trait:CUSTOM_SSD": "required"})],
      "rooms": {"h2": room(9)}}, Fit.NOT, "a finds no healthy host with CUSTOM_SSD"),
    ("an image wants a trait that is there",
     {"servers": [vm("a", 1, image_properties={"trait:CUSTOM_SSD": "required"})],
      "rooms": {"h2": room(9, traits=frozenset({"CUSTOM_SSD"}))}}, Fit.FITS, "has room"),
    ("a trait is not wanted",
     {"servers": [vm("a", 1, extra_specs={"trait:CUSTOM_SLOW": "forbidden"})],
      "rooms": {"h2": room(9, traits=frozenset({"CUSTOM_SLOW"}))}}, Fit.NOT,
     "no healthy host without CUSTOM_SLOW"),
    ("another availability zone",
     {"servers": [vm("a", 1, zone="east")], "rooms": {"h2": room(9)}, "zones": {"h2": "west"},
      "aggregates": EAST},
     Fit.NOT, "no healthy host in availability zone east"),
    ("a zone that no aggregate makes, as the default one, binds nobody",
     {"servers": [vm("a", 1, zone="nova")], "rooms": {"h2": room(9)}, "zones": {"h2": "west"}},
     Fit.FITS, "has room"),
    ("the zone is too small for its own",
     {"servers": [vm("a", 3, zone="east"), vm("b", 3, zone="east"), vm("c", 3)],
      "rooms": {"h2": room(5), "h3": room(99)}, "zones": {"h2": "east", "h3": "west"},
      "aggregates": EAST},
     Fit.NOT, "(b): 3 MiB of memory missing"),
    ("its anti-affinity group is everywhere",
     {"servers": [vm("a", 1), vm("b", 1, host="h2")], "rooms": {"h2": room(9)},
      "groups": APART}, Fit.NOT, "anti-affinity group on every host with room"),
    ("two members never meet",
     {"servers": [vm("a", 1), vm("b", 1)], "rooms": {"h2": room(9)}, "groups": APART},
     Fit.NOT, "1 of its 2 protected VMs has no room"),
    ("unless the group lets so many meet",
     {"servers": [vm("a", 1), vm("b", 1), vm("c", 1, host="h3")], "rooms": {"h2": room(9)},
      "groups": TWO_A_HOST}, Fit.FITS, "have room"),
    ("and no more than that",
     {"servers": [vm("a", 1), vm("b", 1), vm("c", 1, host="h2")], "rooms": {"h2": room(9)},
      "groups": TWO_A_HOST}, Fit.NOT, "(b): b finds another member"),
    ("a strict affinity group wants to stay on the dead host",
     {"servers": [vm("a", 1), vm("b", 1)], "rooms": {"h2": room(9)}, "groups": TOGETHER},
     Fit.NOT, "a finds no healthy host with a member of its affinity group 'pair'"),
    ("or to go where another member is",
     {"servers": [vm("a", 1), vm("b", 1, host="h3")], "rooms": BOTH, "groups": TOGETHER},
     Fit.FITS, "has room"),
    ("which may be too small",
     {"servers": [vm("a", 2), vm("b", 1, host="h3")], "rooms": {"h2": room(9), "h3": room(1)},
      "groups": TOGETHER}, Fit.NOT, "2 MiB of memory missing"),
    ("a soft affinity group is a wish",
     {"servers": [vm("a", 1), vm("b", 1)], "rooms": {"h2": room(9)}, "groups": SOFT_TOGETHER},
     Fit.FITS, "have room"),
    ("its flavor's aggregate has room",
     {"servers": [vm("a", 1, extra_specs=asks("yes"))], "rooms": BOTH,
      "aggregates": (FAST, SLOW)}, Fit.FITS, "has room"),
    ("one of several aggregates will do",
     {"servers": [vm("a", 1, extra_specs=asks("<or> yes <or> new"))], "rooms": BOTH,
      "aggregates": (FAST, SLOW)}, Fit.FITS, "has room"),
    ("nobody knows whether Nova looks at its flavor's aggregate",
     {"servers": [vm("a", 1, extra_specs=asks("yes"))], "rooms": {"h3": room(9)},
      "aggregates": (FAST, SLOW)}, Fit.MAY_NOT,
     "a finds no healthy host in an aggregate with ssd=yes"),
    ("its flavor's aggregate is full, others are not",
     {"servers": [vm("a", 3, extra_specs=asks("yes"))], "rooms": {"h2": room(2), "h3": room(9)},
      "aggregates": (FAST, SLOW)}, Fit.MAY_NOT, "3 MiB of memory missing"),
    ("no aggregate would help",
     {"servers": [vm("a", 99, extra_specs=asks("yes"))], "rooms": BOTH,
      "aggregates": (FAST, SLOW)}, Fit.NOT, "99 MiB of memory missing"),
    ("a comparison is the scheduler's",
     {"servers": [vm("a", 1, extra_specs=asks(">= 2"))], "rooms": BOTH,
      "aggregates": (FAST, SLOW)}, Fit.MAY_NOT, "a comparison with an aggregate's metadata"),
    ("an image belongs to an aggregate",
     {"servers": [vm("a", 1, image_properties={"os_distro": "x"})], "rooms": {"h2": room(9)},
      "aggregates": (aggregate("h2", os_distro="y, z"),)}, Fit.MAY_NOT,
     "a finds no healthy host in an aggregate for os_distro=x"),
    ("and may be one of those named there",
     {"servers": [vm("a", 1, image_properties={"os_distro": "z"})], "rooms": {"h2": room(9)},
      "aggregates": (aggregate("h2", os_distro="y, z"),)}, Fit.FITS, "has room"),
    ("a host may be kept for other projects",
     {"servers": [vm("a", 1, project="them")], "rooms": {"h2": room(9)}, "aggregates": (MINE,)},
     Fit.MAY_NOT, "a finds no healthy host outside other projects' aggregates"),
    ("a project may have to stay on its own hosts",
     {"servers": [vm("a", 1, project="you")], "rooms": {"h3": room(9)}, "aggregates": (MINE,)},
     Fit.MAY_NOT, "a finds no healthy host in an aggregate of its own project"),
    ("on which there is room",
     {"servers": [vm("a", 1, project="you")], "rooms": BOTH, "aggregates": (MINE,)},
     Fit.FITS, "has room"),
    ("a host may be kept for those that ask for a trait",
     {"servers": [vm("a", 1)], "rooms": {"h2": room(9)}, "aggregates": (KEPT,)}, Fit.MAY_NOT,
     "a finds no healthy host outside aggregates for CUSTOM_LICENCE"),
    ("a zone's aggregate restricts nothing else",
     {"servers": [vm("a", 1, zone="nova")], "rooms": {"h2": room(9)},
      "aggregates": (aggregate("h2", availability_zone="nova"),)}, Fit.FITS, "has room"),
    ("all that is missing is said",
     {"servers": [vm("a", 1, zone="east", extra_specs={"trait:CUSTOM_SSD": "required"})],
      "rooms": BOTH, "zones": {"h2": "west", "h3": "east"}, "aggregates": EAST}, Fit.NOT,
     "no healthy host in availability zone east and with CUSTOM_SSD"),
    ("a soft group is a wish",
     {"servers": [vm("a", 1), vm("b", 1)], "rooms": {"h2": room(9)}, "groups": SOFT},
     Fit.FITS, "have room"),
    ("only Nova's scheduler can look into a host",
     {"servers": [vm("a", 1, extra_specs={"hw:mem_page_size": "large"})],
      "rooms": {"h2": room(9)}}, Fit.MAY_NOT, "a asks for huge pages, which only Nova's"),
    ("whether its image asks or its flavor",
     {"servers": [vm("a", 1, image_properties={"hw_numa_nodes": "2"})],
      "rooms": {"h2": room(9)}}, Fit.MAY_NOT, "a asks for a NUMA topology"),
    ("nor do Placement's books of a whole host tell of its parts",
     {"servers": [vm("a", 1, extra_specs={"trait_NET1:CUSTOM_PHYSNET": "required"})],
      "rooms": {"h2": room(9)}}, Fit.MAY_NOT, "a asks for traits or resources of one part"),
    ("in pieces there is enough",
     {"servers": [vm("a", 4)],
      "rooms": {"h2": room(8, split=frozenset({"MEMORY_MB"}))}},
     Fit.MAY_NOT, "a takes 4 MiB of memory, in one piece"),
    ("who cannot be recovered takes no room",
     {"servers": [vm("a", 1), vm("b", 9, shares=True)], "rooms": {"h2": room(1)}}, Fit.FITS,
     "its one protected VM has room"),
    ("nor who is not protected",
     {"servers": [vm("a", 1), Server("b", "b", "h1", "ACTIVE", "active", ram=9)],
      "rooms": {"h2": room(1)}}, Fit.FITS, "its one protected VM has room"),
    ("a volume's VM takes no disk",
     {"servers": [vm("a", 1, disk=5000, on_volume=True)], "rooms": {"h2": room(1)}}, Fit.FITS,
     "has room"),
    ("a VM without a volume does",
     {"servers": [vm("a", 1, disk=5000)], "rooms": {"h2": room(1)}}, Fit.NOT,
     "5000 GiB of disk missing"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "fit", "says"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_outlook(asked: dict[str, Any], fit: Fit, says: str) -> None:
    found = look(**asked)
    assert (found.fit, says in found.says) == (fit, True), found.says
    assert bool(found.stranded) is (fit is not Fit.FITS)


def test_priority_keeps_its_place_where_not_all_have_one() -> None:
    first = vm("small", 1, metadata={"vmha:priority": "9"})
    found = look([vm("large", 4), first], {"h2": room(4)})
    assert set(found.stranded) == {"large"}
    assert found.missing == {"MEMORY_MB": 4}
    assert found.stranded["large"] == (
        "needs 4 MiB of memory; the most that is left on one host is 3 MiB of memory"
    )


def test_many_are_counted_and_a_few_are_named() -> None:
    found = look([vm(f"v{n}", 2) for n in range(9)], {"h2": room(2), "h3": room(3)})
    assert found.says == (
        "if h1 fails, 7 of its 9 protected VMs have no room (v2, v3, v4, v5 and 3 more): "
        "14 MiB of memory missing"
    )


def service(host: str, **other: Any) -> Service:
    return Service(host, host, **({"up": True, "enabled": True, "forced_down": False} | other))


RESERVE = Policy(candidates="reserved", reserved_hosts=frozenset({"h2"}))


@pytest.mark.parametrize(
    ("found", "troubled", "policy", "takes"),
    [
        (service("h2"), (), Policy(), True),
        (service("h2", up=False), (), Policy(), False),
        (service("h2", forced_down=True), (), Policy(), False),
        (service("h2", enabled=False), (), Policy(), False),
        (service("h2"), ("h2",), Policy(), False),
        (service("h2", enabled=False, disabled_reason="vmha: reserved"), (), RESERVE, True),
        (service("h2", enabled=False, disabled_reason="an operator"), (), RESERVE, False),
    ],
)
def test_who_could_be_given_vms(
    found: Service, troubled: tuple[str, ...], policy: Policy, takes: bool
) -> None:
    assert bool(capacity.takers([found], troubled, policy)) is takes


def test_one_sentence_for_all() -> None:
    rooms = {"h1": room(4), "h2": room(4), "h3": room(0)}
    able = tuple(Taker(host, "nova") for host in rooms)

    def said(*servers: Server) -> str:
        return capacity.sentence(capacity.outlooks(Space(rooms, {}, servers), able, Policy()))

    assert said() == said(vm("a", 1), vm("b", 4, host="h2"))
    assert said(vm("a", 1)) == "Any one host can fail: the others have room for its protected VMs."
    assert said(vm("a", 5)).startswith("Not every host can fail: if h1 fails, 1 of its 1 ")
    assert "one more host" in said(vm("a", 5), vm("b", 5, host="h2"))
    assert "2 more hosts" in said(vm("a", 5), vm("b", 5, host="h2"), vm("c", 5, host="h3"))


def test_the_same_question_is_answered_once() -> None:
    space, able = Space({"h2": room(9)}, {}, (vm("a", 1),)), (Taker("h2", "nova"),)
    assert capacity.outlooks(space, able, Policy()) is capacity.outlooks(space, able, Policy())
    again = Space({"h2": room(0)}, {}, (vm("a", 1),))
    assert capacity.outlooks(again, able, Policy())[0].fit is Fit.NOT
