# SPDX-License-Identifier: Apache-2.0
"""Nova as the engine talks to it: what is sent, what is understood, what is a refusal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1 import noauth
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from openstack.connection import Connection
from oslo_config import cfg

from tests.unit.effects.telemetry_server import Request, Server, serving
from vmha_remediator import conf as config
from vmha_remediator.effects.examine import Gatherer
from vmha_remediator.effects.nova import Nova, make_nova
from vmha_remediator.effects.nova_acts import EVACUATE
from vmha_remediator.effects.view import CloudView
from vmha_remediator.errors import CloudRefused, CloudUnavailable, ConfigError, OtherCell
from vmha_remediator.remedy.facts import Aggregate, Migration, Service

SERVICE = {
    "id": "s-1",
    "binary": "nova-compute",
    "host": "h1",
    "status": "disabled",
    "state": "down",
    "forced_down": True,
    "updated_at": "2026-11-22T07:00:00.000000",
    "disabled_reason": "vmha: storage-lost",
}
SERVER = {
    "id": "v-1",
    "name": "web",
    "status": "ERROR",
    "OS-EXT-STS:vm_state": "error",
    "OS-EXT-STS:task_state": None,
    "OS-EXT-SRV-ATTR:host": "h1",
    "OS-SRV-USG:launched_at": "2026-11-20T07:00:00.000000",
    "locked": True,
    "locked_reason": "do not touch",
    "tags": ["vmha"],
    "metadata": {"vmha:priority": "3"},
    "flavor": {"original_name": "m1", "extra_specs": {"evacuable": "true"}},
    "image": {"id": "i-1", "properties": {"evacuable": "yes"}},
    "fault": {"message": "No valid host was found.", "code": 500},
}


def _versions(server: Server, highest: str) -> None:
    version = {
        "id": "v2.1",
        "status": "CURRENT",
        "version": highest,
        "min_version": "2.1",
        "links": [{"rel": "self", "href": f"{server.url}/"}],
    }
    server.say("GET", "/", 200, {"version": version})


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        _versions(server, "2.104")
        yield server


@pytest.fixture
def nova(server: Server) -> Nova:
    session = Session(auth=noauth.NoAuth(endpoint=f"{server.url}/"))
    connection = Connection(
        session=session,
        compute_endpoint_override=f"{server.url}/",
        image_endpoint_override=f"{server.url}/glance/v2/",
        placement_endpoint_override=f"{server.url}/placement/",
    )
    return Nova(connection, timeout=5.0)


def _sent(server: Server, method: str) -> list[tuple[str, Any]]:
    return [(r.path, r.body) for r in server.requests if r.method == method]


def test_services_are_read(server: Server, nova: Nova) -> None:
    server.say("GET", "/os-services", 200, {"services": [SERVICE]})
    assert nova.services() == [
        Service(
            id="s-1",
            host="h1",
            up=False,
            enabled=False,
            forced_down=True,
            updated_at=1795330800.0,
            disabled_reason="vmha: storage-lost",
        )
    ]


def test_a_server_is_read_with_all_that_protection_asks_for(server: Server, nova: Nova) -> None:
    server.say("GET", "/servers/detail", 200, {"servers": [SERVER]})
    (found,) = nova.servers("h1")
    assert (found.host, found.vm_state, found.launched) == ("h1", "error", True)
    assert (found.locked, found.locked_reason) == (True, "do not touch")
    assert found.tags == {"vmha"}
    assert found.metadata == {"vmha:priority": "3"}
    assert found.extra_specs == {"evacuable": "true"}
    assert found.image_properties == {"evacuable": "yes"}
    assert found.fault == "No valid host was found."
    (path,) = [path for path, _ in _sent(server, "GET") if path.startswith("/servers")]
    assert "all_tenants=1" in path
    assert "host=h1" in path


def _glance(server: Server) -> None:
    here = [{"rel": "self", "href": f"{server.url}/glance/v2/"}]
    glance = {"id": "v2.9", "status": "CURRENT", "links": here}
    server.say("GET", "/glance/v2/", 200, {"versions": [glance]})


def test_an_older_nova_shows_no_image_properties_so_glance_is_asked_once(
    server: Server, nova: Nova
) -> None:
    _versions(server, "2.90")
    _glance(server)
    plain = SERVER | {"image": {"id": "i-1"}}
    server.say("GET", "/servers/detail", 200, {"servers": [plain, plain | {"id": "v-2"}]})
    server.say("GET", "/glance/v2/images/i-1", 200, {"id": "i-1", "evacuable": "true"})
    assert [s.image_properties["evacuable"] for s in nova.servers("h1")] == ["true", "true"]
    assert len([p for p, _ in _sent(server, "GET") if "glance/v2/images" in p]) == 1


def test_a_newer_nova_shows_only_what_it_uses_itself_so_glance_is_asked_too(
    server: Server, nova: Nova
) -> None:
    _glance(server)
    shown = SERVER | {"image": {"id": "i-1", "properties": {"hw_machine_type": "q35"}}}
    server.say("GET", "/servers/detail", 200, {"servers": [shown]})
    server.say("GET", "/glance/v2/images/i-1", 200, {"id": "i-1", "evacuable": "true"})
    found = nova.servers("h1")[0].image_properties
    assert (found["evacuable"], found["hw_machine_type"]) == ("true", "q35")


def test_a_glance_that_is_away_hides_no_server(server: Server, nova: Nova) -> None:
    _glance(server)
    shown = SERVER | {"image": {"id": "i-1", "properties": {"hw_machine_type": "q35"}}}
    server.say("GET", "/servers/detail", 200, {"servers": [shown]})
    server.say("GET", "/glance/v2/images/i-1", 503, {})
    assert nova.servers("h1")[0].image_properties == {"hw_machine_type": "q35"}
    assert len([r for r in server.requests if "images" in r.path]) == 1, "nobody waits for it"


def test_a_glance_that_is_away_hides_no_server_of_an_older_nova_either(
    server: Server, nova: Nova
) -> None:
    _versions(server, "2.90")
    _glance(server)
    some = [SERVER | {"id": f"v-{n}", "image": {"id": f"i-{n}"}} for n in range(5)]
    server.say("GET", "/servers/detail", 200, {"servers": some})
    for n in range(5):
        server.say("GET", f"/glance/v2/images/i-{n}", 503, {})
    assert [s.tags for s in nova.servers("h1")] == [{"vmha"}] * 5
    assert len([r for r in server.requests if "/images/" in r.path]) == 1, "one is waited for"


def test_an_image_that_only_its_owner_may_see_hides_no_other(server: Server, nova: Nova) -> None:
    _glance(server)
    some = [SERVER | {"id": f"v-{n}", "image": {"id": f"i-{n}", "properties": {}}} for n in (1, 2)]
    server.say("GET", "/servers/detail", 200, {"servers": some})
    server.say("GET", "/glance/v2/images/i-1", 403, {})
    server.say("GET", "/glance/v2/images/i-2", 200, {"id": "i-2", "evacuable": "true"})
    assert [s.image_properties.get("evacuable") for s in nova.servers("h1")] == [None, "true"]


def test_a_volume_has_no_image(server: Server, nova: Nova) -> None:
    server.say("GET", "/servers/detail", 200, {"servers": [SERVER | {"image": ""}]})
    assert nova.servers("h1")[0].image_properties == {}


def test_a_long_list_is_read_page_by_page(server: Server, nova: Nova) -> None:
    def page(request: Request) -> tuple[int, Any]:
        if "marker" in request.path:
            return 200, {"servers": [SERVER | {"id": "last"}]}
        many = [SERVER | {"id": f"v-{n}"} for n in range(500)]
        return 200, {"servers": many, "servers_links": [{"rel": "next", "href": "..."}]}

    server.decide["GET", "/servers/detail"] = page
    assert len(nova.servers("h1")) == 501
    assert "marker=v-499" in server.requests[-1].path


def test_a_nova_that_gives_less_at_a_time_than_was_asked_for_hides_no_server(
    server: Server, nova: Nova
) -> None:
    """[api] max_limit is below our page: a VM on a further page must not be forgotten."""

    def page(request: Request) -> tuple[int, Any]:
        if "marker=v-99" in request.path:
            return 200, {"servers": [SERVER | {"id": "last"}]}
        some = [SERVER | {"id": f"v-{n}"} for n in range(100)]
        return 200, {"servers": some, "servers_links": [{"rel": "next", "href": "..."}]}

    server.decide["GET", "/servers/detail"] = page
    assert len(nova.servers("h1")) == 101


def test_a_nova_that_gives_few_groups_at_a_time_hides_none(server: Server, nova: Nova) -> None:
    groups = [
        {"id": f"g-{n}", "name": "db", "policy": "anti-affinity", "members": []} for n in range(5)
    ]

    def page(request: Request) -> tuple[int, Any]:
        offset = int(request.path.rpartition("offset=")[2])
        return 200, {"server_groups": groups[offset : offset + 2]}

    server.decide["GET", "/os-server-groups"] = page
    assert [group.id for group in nova.groups()] == [f"g-{n}" for n in range(5)]


def test_records_of_evacuations_are_read(server: Server, nova: Nova) -> None:
    record = {
        "id": 5,
        "uuid": "m-5",
        "instance_uuid": "v-1",
        "source_compute": "h1",
        "dest_compute": "h2",
        "status": "done",
        "created_at": "2026-11-22T07:00:00.000000",
    }
    server.say("GET", "/os-migrations", 200, {"migrations": [record]})
    there = [Migration("m-5", "v-1", "h1", "h2", "done", 1795330800.0)]
    assert nova.evacuations("h1") == there
    assert nova.evacuations_to("h2") == there
    assert nova.evacuations_to("h1") == []  # Nova gives those away from it, too
    asked = [r.path for r in server.requests if r.path.startswith("/os-migrations")]
    assert ["source_compute=h1" in path for path in asked] == [True, False, False]


def test_records_of_one_second_are_in_the_order_of_their_numbers(
    server: Server, nova: Nova
) -> None:
    """A VM that one host refused is asked for anew at once; Nova gives the newest record first."""
    first = {
        "id": 5,
        "uuid": "m-5",
        "instance_uuid": "v-1",
        "source_compute": "h1",
        "dest_compute": "h2",
        "status": "error",
        "created_at": "2026-11-22T07:00:00.000000",
    }
    second = first | {"id": 6, "uuid": "m-6", "dest_compute": "h3", "status": "failed"}
    server.say("GET", "/os-migrations", 200, {"migrations": [second, first]})
    assert [record.id for record in nova.evacuations("h1")] == ["m-5", "m-6"]


def test_a_missing_server_is_none(server: Server, nova: Nova) -> None:
    server.say("GET", "/servers/v-9", 404, {"itemNotFound": {"message": "gone", "code": 404}})
    assert nova.server("v-9") is None


def test_a_cell_that_is_down_is_no_empty_list(server: Server, nova: Nova) -> None:
    server.say("GET", "/servers/detail", 200, {"servers": [{"id": "v-1", "status": "UNKNOWN"}]})
    with pytest.raises(CloudUnavailable):
        nova.servers("h1")


def test_what_is_asked_for_is_what_nova_understands(server: Server, nova: Nova) -> None:
    server.say("POST", "/servers/v-1/action", 202, {})
    server.say("PUT", "/os-services/s-1", 200, {"service": SERVICE})
    nova.evacuate("v-1")
    nova.evacuate("v-1", "h2")
    nova.reset_state("v-1", "active")
    nova.act("v-1", "start")
    nova.act("v-1", "confirm-resize")
    nova.force_down("s-1", True)
    nova.disable("s-1", "vmha: storage-lost")
    nova.enable("s-1")
    assert [body for _, body in _sent(server, "POST")] == [
        {"evacuate": {}},
        {"evacuate": {"host": "h2"}},
        {"os-resetState": {"state": "active"}},
        {"reboot": {"type": "HARD"}},
        {"confirmResize": None},
    ]
    assert [body for _, body in _sent(server, "PUT")] == [
        {"forced_down": True},
        {"status": "disabled", "disabled_reason": "vmha: storage-lost"},
        {"status": "enabled"},
    ]


@pytest.mark.parametrize(
    ("highest", "wanted"), [("2.104", "2.95"), ("2.94", "2.94"), ("2.79", "2.79")]
)
def test_an_evacuation_asks_for_the_newest_way_that_nova_offers(
    server: Server, nova: Nova, highest: str, wanted: str
) -> None:
    _versions(server, highest)
    assert nova.version(EVACUATE) == wanted


def test_a_cap_holds_whatever_nova_offers(server: Server, nova: Nova) -> None:
    capped = Nova(nova._cloud, cap=(2, 94))
    assert capped.version(EVACUATE) == "2.94"
    assert capped.version((2, 69)) == "2.69"


@pytest.mark.parametrize(
    "made",
    [
        lambda conf: make_nova(conf),
        lambda conf: CloudView(conf, ())._nova,
        lambda conf: Gatherer(conf, {}, dict)._nova,
    ],
    ids=["engine and commands", "status page", "doctor"],
)
def test_the_cap_is_for_everybody_who_asks_nova(
    made: Callable[[cfg.ConfigOpts], Nova], tmp_path: Path
) -> None:
    file = tmp_path / "vmha.conf"
    file.write_text(
        "[cloud]\nauth_type = password\nauth_url = http://keystone.invalid/v3\n"
        "username = vmha\npassword = secret\ncompute_microversion_max = 2.94\n"
    )
    assert made(config.load(config_files=[str(file)]))._cap == (2, 94)


def test_while_a_compute_is_too_old_servers_are_evacuated_as_before(
    server: Server, nova: Nova
) -> None:
    message = (
        "Starting with microversion 2.95, evacuate API will stop instance on destination. To "
        "evacuate before upgrades are complete please use an older microversion."
    )
    too_old = {"badRequest": {"message": message, "code": 400}}
    server.say("POST", "/servers/v-1/action", 400, too_old)
    with pytest.raises(CloudRefused):
        nova.evacuate("v-1")  # this server refuses every version
    server.say("POST", "/servers/v-1/action", 200, {})
    nova.evacuate("v-1")
    versions = [r.version for r in server.requests if r.method == "POST"]
    assert versions == ["compute 2.95", "compute 2.94", "compute 2.94"]


def test_a_host_in_another_cell_is_a_refusal_and_no_failure_of_nova(
    server: Server, nova: Nova
) -> None:
    """Nova answers as for an error of its own; with a destination named it can only be that."""
    text = "Unexpected API Error. Please report this. <class 'nova.exception.ComputeHostNotFound'>"
    server.say(
        "POST", "/servers/v-1/action", 500, {"computeFault": {"message": text, "code": 500}}
    )
    with pytest.raises(OtherCell, match="h9 is in another cell than the VM") as refused:
        nova.evacuate("v-1", "h9")
    assert refused.value.host == "h9"
    with pytest.raises(CloudUnavailable):
        nova.evacuate("v-1")


def _evacuating(server: Server, *claimed: str, result: str | None = "Success") -> None:
    """Let v-1 be evacuated for the second time, and hold claims on providers."""
    path = "/servers/v-1/os-instance-actions"
    server.say("GET", path, 200, {"instanceActions": [
        {"action": "resetState", "start_time": "2026-11-23T02:22:30", "request_id": "r-3"},
        {"action": "evacuate", "start_time": "2026-11-23T02:22:21", "request_id": "r-2"},
        {"action": "evacuate", "start_time": "2026-11-23T02:22:14", "request_id": "r-1"},
    ]})  # fmt: skip
    events = [{"event": "rebuild_server", "result": result}]
    for request, found in (("r-1", [{"event": "rebuild_server", "result": "Success"}]),
                           ("r-2", events)):  # fmt: skip
        server.say("GET", f"{path}/{request}", 200, {"instanceAction": {"events": found}})
    server.say("GET", "/os-hypervisors/detail", 200, {"hypervisors": [
        {"id": f"p-{n}", "service": {"host": f"h{n}"}} for n in (1, 2, 3)
    ]})  # fmt: skip
    server.say("GET", "/placement/", 200, {"versions": [
        {"id": "v1.0", "max_version": "1.39", "min_version": "1.0", "status": "CURRENT",
         "links": [{"rel": "self", "href": ""}]},
    ]})  # fmt: skip
    claims = {provider: {"resources": {"VCPU": 1}} for provider in claimed}
    server.say("GET", "/placement/allocations/v-1", 200, {"allocations": claims})
    for provider in claimed:
        raw = {"uuid": provider, "root_provider_uuid": provider.removesuffix("-numa")}
        server.say("GET", f"/placement/resource_providers/{provider}", 200, raw)


def test_the_host_that_is_asked_for_an_evacuation_is_told_by_its_claims(
    server: Server, nova: Nova
) -> None:
    _evacuating(server, "p-1", "p-2-numa")
    assert nova.queued_at("v-1", "h1") == {"h2"}
    _evacuating(server, "p-1", "p-2", "p-3")  # the claim of the first request stays
    assert nova.queued_at("v-1", "h1") == {"h2", "h3"}


@pytest.mark.parametrize("result", [None, "Error"])
def test_it_is_not_known_before_novas_conductor_is_through(
    server: Server, nova: Nova, result: str | None
) -> None:
    """What is claimed then may be of a request before, and the next host not chosen yet."""
    _evacuating(server, "p-1", "p-2", result=result)
    assert nova.queued_at("v-1", "h1") == frozenset()


def test_a_claim_on_what_is_no_host_tells_nothing(server: Server, nova: Nova) -> None:
    _evacuating(server, "p-1", "p-2", "p-9")
    assert nova.queued_at("v-1", "h1") == frozenset()


def test_a_server_that_nobody_evacuates_waits_nowhere(server: Server, nova: Nova) -> None:
    server.say("GET", "/servers/v-1/os-instance-actions", 200, {"instanceActions": []})
    assert nova.queued_at("v-1", "h1") == frozenset()


def test_server_groups_are_read(server: Server, nova: Nova) -> None:
    raw = {"id": "g-1", "name": "db", "policy": "anti-affinity", "members": ["v-1", "v-2"]}
    server.say("GET", "/os-server-groups", 200, {"server_groups": [raw]})
    (found,) = nova.groups()
    assert (found.name, found.policy) == ("db", "anti-affinity")
    assert found.members == {"v-1", "v-2"}
    assert found.per_host == 1


def test_a_group_may_let_several_members_meet(server: Server, nova: Nova) -> None:
    raw = {"id": "g-1", "name": "db", "policy": "anti-affinity", "members": [],
           "rules": {"max_server_per_host": 3}}  # fmt: skip
    server.say("GET", "/os-server-groups", 200, {"server_groups": [raw]})
    assert nova.groups()[0].per_host == 3


def test_aggregates_are_read(server: Server, nova: Nova) -> None:
    raw = {"id": 1, "name": "fast", "hosts": ["h1"], "metadata": {"ssd": "true"}}
    bare = {"id": 2, "name": "bare", "hosts": []}
    server.say("GET", "/os-aggregates", 200, {"aggregates": [raw, bare]})
    assert nova.aggregates() == [
        Aggregate("fast", frozenset({"h1"}), {"ssd": "true"}),
        Aggregate("bare", frozenset()),
    ]


def test_a_nova_that_is_too_old_is_named(server: Server, nova: Nova) -> None:
    _versions(server, "2.38")
    with pytest.raises(ConfigError, match=r"2\.38 at most, at least 2\.53"):
        nova.services()


def test_a_refusal_carries_novas_own_words(server: Server, nova: Nova) -> None:
    answer = {"badRequest": {"message": "Compute service of h1 is still in use.", "code": 400}}
    server.say("POST", "/servers/v-1/action", 400, answer)
    with pytest.raises(CloudRefused, match="400 Compute service of h1 is still in use"):
        nova.evacuate("v-1")


@pytest.mark.parametrize("status", [500, 503, 401, 429])
def test_an_answer_that_is_none_means_later(server: Server, nova: Nova, status: int) -> None:
    server.say("GET", "/os-services", status, b"<html>broken</html>")
    with pytest.raises(CloudUnavailable, match=str(status)):
        nova.services()


def test_no_answer_in_time_means_later(server: Server, nova: Nova) -> None:
    server.say("GET", "/os-services", 200, {"services": []})
    assert nova.services() == []
    nova._timeout = 0.2
    server.hang = threading.Event()
    try:
        with pytest.raises(CloudUnavailable, match=r"^Nova did not answer in time"):
            nova.services()
    finally:
        server.hang.set()


def test_a_keystone_that_is_down_is_named_and_not_nova() -> None:
    with serving() as keystone:
        login = v3.Password(f"{keystone.url}/v3", username="vmha", password="secret")
    with pytest.raises(CloudUnavailable, match=r"^Keystone cannot be reached"):
        Nova(Connection(session=Session(auth=login)), timeout=1.0).services()


def test_nobody_there_means_later(nova: Nova) -> None:
    session = Session(auth=noauth.NoAuth(endpoint="http://127.0.0.1:1/"))
    dead = Nova(
        Connection(session=session, compute_endpoint_override="http://127.0.0.1:1/"), timeout=1.0
    )
    with pytest.raises(CloudUnavailable):
        dead.services()


def test_free_memory_is_asked_for_as_long_as_nova_still_showed_it(
    server: Server, nova: Nova
) -> None:
    hosts = [
        {"id": f"p-{host}", "service": {"host": host}, "free_ram_mb": free}
        for host, free in (("h1", 512), ("h2", -64))
    ]
    server.say("GET", "/os-hypervisors/detail", 200, {"hypervisors": hosts})
    assert nova.free_memory() == {"h1": 512, "h2": -64}
    assert server.requests[-1].version == "compute 2.87"


@pytest.mark.parametrize(
    ("shown", "zone", "guessed"),
    [
        ({"OS-EXT-AZ:availability_zone": "east"}, "east", True),
        ({"OS-EXT-AZ:availability_zone": "east", "pinned_availability_zone": None}, None, False),
        (
            {"OS-EXT-AZ:availability_zone": "east", "pinned_availability_zone": "east"},
            "east",
            False,
        ),
        ({}, None, True),
    ],
    ids=["before 2.96", "free", "pinned", "unknown"],
)
def test_a_server_stays_in_the_zone_that_it_asked_for(
    server: Server, nova: Nova, shown: dict[str, Any], zone: str | None, guessed: bool
) -> None:
    server.say("GET", "/servers/detail", 200, {"servers": [SERVER | shown]})
    (found,) = nova.servers("h1")
    assert (found.zone, found.zone_guessed) == (zone, guessed)


def test_servers_that_have_changed_are_one_list_without_the_deleted(
    server: Server, nova: Nova
) -> None:
    gone = SERVER | {"id": "v-2", "status": "DELETED"}
    server.say("GET", "/servers/detail", 200, {"servers": [SERVER, gone]})
    assert [s.id for s in nova.changed_since(1_800_000_000.9)] == ["v-1"]
    assert "changes-since=2027-01-15T08%3A00%3A00Z" in server.requests[-1].path


def test_servers_of_a_name_are_those_of_exactly_that_name(server: Server, nova: Nova) -> None:
    other = SERVER | {"id": "v-2", "name": "web.1"}
    server.say("GET", "/servers/detail", 200, {"servers": [SERVER, other]})
    assert [s.id for s in nova.called("web.1")] == ["v-2"]
    assert "name=%5Eweb%5C.1%24" in server.requests[-1].path


def test_ports_and_shares_are_asked_for_before_a_failure(server: Server, nova: Nova) -> None:
    here = f"{server.url}/net/"
    nova._cloud.config.config["network_endpoint_override"] = here
    links = [{"rel": "self", "href": f"{here}v2.0/"}]
    versions = [{"id": "v2.0", "status": "CURRENT", "links": links}]
    server.say("GET", "/net/", 200, {"versions": versions})
    server.say("GET", "/servers/detail", 200, {"servers": [SERVER]})
    ports = [{"device_id": "v-1", "binding:vnic_type": "accelerator-direct"}]
    server.say("GET", "/net/v2.0/ports", 200, {"ports": ports})
    server.say("GET", "/servers/v-1/shares", 200, {"shares": [{"share_id": "s"}]})
    (found,) = nova.examined(nova.servers("h1"))
    assert found.vnic_types == {"accelerator-direct"}
    assert found.shares
    assert not found.on_volume


# -- a single VM --------------------------------------------------------------------------


NOT_RUNNING = "Cannot 'get_diagnostics' instance v-1 while it is in power state shutdown"


@pytest.mark.parametrize(
    ("status", "body", "runs"),
    [
        (200, {"state": "running"}, True),
        (409, {"conflictingRequest": {"code": 409, "message": NOT_RUNNING}}, False),
        (409, {"conflictingRequest": {"code": 409, "message": "v-1 is not ready"}}, None),
        (501, {"notImplemented": {"code": 501, "message": "no"}}, None),
        (404, {"itemNotFound": {"code": 404, "message": "no"}}, None),
    ],
)
def test_whether_a_guest_runs_is_asked_of_its_nova_compute(
    nova: Nova, server: Server, status: int, body: Any, runs: bool | None
) -> None:
    server.say("GET", "/servers/v-1/diagnostics", status, body)
    assert nova.runs("v-1") is runs


def test_a_nova_compute_that_does_not_answer_is_no_answer(nova: Nova, server: Server) -> None:
    failed = {"computeFault": {"code": 500, "message": "MessagingTimeout"}}
    server.say("GET", "/servers/v-1/diagnostics", 500, failed)
    with pytest.raises(CloudUnavailable, match="MessagingTimeout"):
        nova.runs("v-1")


def action(what: str, user: str | None, minute: int) -> dict[str, Any]:
    return {
        "action": what,
        "user_id": user,
        "start_time": f"2026-11-22T07:{minute:02d}:00.000000",
    }


@pytest.mark.parametrize(
    ("actions", "by"),
    [
        ([action("stop", None, 9), action("stop", "ann", 5), action("create", "ann", 1)], None),
        ([action("reboot", "us", 9), action("stop", "ann", 5), action("stop", None, 3)], "ann"),
        ([action("stop", None, 3), action("stop", "ann", 5)], "ann"),
    ],
)
def test_who_stopped_a_server_is_its_latest_stop(
    nova: Nova, server: Server, actions: list[Any], by: str | None
) -> None:
    server.say("GET", "/servers/v-1/os-instance-actions", 200, {"instanceActions": actions})
    found = nova.last_stop("v-1")
    assert found is not None and found.by == by


def test_a_server_that_was_never_stopped_or_is_gone_has_no_stop(
    nova: Nova, server: Server
) -> None:
    assert nova.last_stop("gone") is None
    actions = [action("create", "ann", 1)]
    server.say("GET", "/servers/v-1/os-instance-actions", 200, {"instanceActions": actions})
    assert nova.last_stop("v-1") is None


def test_a_restart_in_place_is_a_hard_reboot(nova: Nova, server: Server) -> None:
    server.say("POST", "/servers/v-1/action", 202, {})
    nova.reboot("v-1")
    assert server.requests[-1].body == {"reboot": {"type": "HARD"}}


@pytest.mark.parametrize(
    "body", [{}, [], {"services": None}, {"services": [{"id": 1}]}, b"<html>"]
)
def test_an_answer_of_something_else_is_said(server: Server, nova: Nova, body: Any) -> None:
    server.say("GET", "/os-services", 200, body)
    with pytest.raises(
        CloudUnavailable, match=r"something unexpected \(services\)|not JSON|cells"
    ):
        nova.services()
