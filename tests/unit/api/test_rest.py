# SPDX-License-Identifier: Apache-2.0
"""The REST API as a client sees it: hosts, incidents, refusals with a way out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from flask import Flask
from flask.testing import FlaskClient
from oslo_config import cfg

from tests.unit.api.cloud import WELL, Cloud, server
from tests.unit.api.conftest import Bell
from vmha_remediator.api import policies
from vmha_remediator.api.app import create_app
from vmha_remediator.api.backend import Backend
from vmha_remediator.api.routes import ROUTES
from vmha_remediator.api.schemas import ANSWERS
from vmha_remediator.errors import ConfigError
from vmha_remediator.remedy.incident import VmRecord, VmStatus
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.rules import metrics
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.store import Store, open_store


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def store(conf: cfg.ConfigOpts, tmp_path: Path) -> Iterator[Store]:
    conf.set_override("connection", f"sqlite:///{tmp_path}/vmha.sqlite", group="database")
    opened = open_store(conf, lambda: 2000.0)
    yield opened
    opened.close()


@pytest.fixture
def backend(store: Store, cloud: Cloud) -> Backend:
    return Backend(store, cloud, lambda: 2000.0, lambda agents: Thresholds())


@pytest.fixture
def app(conf: cfg.ConfigOpts, bell: Bell, backend: Backend) -> Flask:
    conf.set_override("auth_strategy", "noauth", group="api")
    return create_app(conf, bell.ring, backend=backend)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def get(client: FlaskClient, path: str, status: int = 200) -> Any:
    answer = client.get(path)
    assert answer.status_code == status, answer.get_data(as_text=True)
    return answer.get_json()


def held(store: Store, host: str = "h2") -> int:
    """Return the number of a failure that a guard holds, with one VM written down."""
    epoch = store.claim_epoch("test")
    incident = store.open_incident(
        host, "failure", "recover", "critical", "it is silent", epoch=epoch
    )
    store.save_vms(
        incident,
        [VmRecord("id-web", "web", host, VmStatus.PENDING, reason="no room")],
        epoch=epoch,
    )
    store.move(incident, S.HELD, "3 of 4 hosts fail at once", epoch=epoch, held_by="storm")
    return incident.id


# -- reading --------------------------------------------------------------------------------


def test_a_host_that_is_well_one_that_failed_and_one_that_nobody_measures(
    client: FlaskClient,
) -> None:
    well, failed, unknown = get(client, "/v1/hosts")["hosts"]

    assert (well["host"], well["state"], well["verdict"]) == ("h1", "well", None)
    # h2 said that it is the master until it died; h3 says nothing at all.
    assert [h["role"] for h in (well, failed, unknown)] == ["master", None, None]
    assert well["paths"]["network"] == {"state": "ok", "says": "heard 0.4 s ago"}
    assert (failed["host"], failed["state"], failed["verdict"]) == ("h2", "unwell", "failure")
    assert failed["paths"]["storage"] == {"state": "lost", "says": "lease renewed 20.0 s ago"}
    assert failed["says"].startswith("failure holds for h2")
    assert (unknown["host"], unknown["state"]) == ("h3", "unknown")
    assert {p["state"] for p in unknown["paths"].values()} == {"unknown"}
    assert [h["protected"] for h in (well, failed, unknown)] == [1, 1, 0]


def test_without_measures_nothing_is_called_well(client: FlaskClient, cloud: Cloud) -> None:
    cloud.away.add("gnocchi")
    answer = get(client, "/v1/hosts")
    assert {h["state"] for h in answer["hosts"]} == {"unknown"}
    assert answer["trouble"] == ["the measures cannot be read now: no answer in time"]


def test_without_nova_hosts_are_still_shown(client: FlaskClient, cloud: Cloud) -> None:
    cloud.away.add("nova")
    answer = get(client, "/v1/hosts")
    assert [h["protected"] for h in answer["hosts"]] == [None, None, None]
    assert len(answer["trouble"]) == 2


def test_the_cluster_in_numbers(client: FlaskClient, store: Store) -> None:
    held(store)
    answer = get(client, "/v1/cluster")
    assert answer["hosts"] == {"total": 3, "well": 1, "unwell": 1, "unknown": 1}
    assert answer["incidents"] == {"active": 1, "held": 1}
    assert answer["leader"]["owner"] == "test"


def test_who_watches(client: FlaskClient, cloud: Cloud) -> None:
    cloud.measures |= {
        "h2": dict(WELL) | {metrics.ROLE.name: 1},
        "h3": {name: value for name, value in WELL.items() if name != metrics.ROLE.name},
    }
    answer = get(client, "/v1/cluster")
    assert (answer["masters"], answer["witnesses"]) == (["h1"], ["h2"])
    assert [h["role"] for h in get(client, "/v1/hosts")["hosts"]] == [
        "master",
        "witness",
        "member",
    ]


def test_an_incident_with_its_journal_and_its_vms(client: FlaskClient, store: Store) -> None:
    number = held(store)
    answer = get(client, f"/v1/incidents/{number}")["incident"]
    assert (answer["state"], answer["held_by"]) == ("held", "storm")
    assert answer["vms"] == {"total": 1, "done": 0, "pending": 1}
    assert [(vm["name"], vm["status"], vm["reason"]) for vm in answer["servers"]] == [
        ("web", "pending", "no room")
    ]
    assert [change["state"] for change in answer["changes"]] == ["detected", "held"]


def test_incidents_come_in_pages_the_latest_first(client: FlaskClient, store: Store) -> None:
    epoch = store.claim_epoch("test")
    for n in range(1, 6):
        store.open_incident(f"x{n}", "partition", "report", "low", "cut off", epoch=epoch)

    first = get(client, "/v1/incidents?limit=2")
    second = get(client, f"/v1/incidents?limit=2&marker={first['next']}")
    third = get(client, f"/v1/incidents?limit=2&marker={second['next']}")

    pages = [[i["host"] for i in page["incidents"]] for page in (first, second, third)]
    assert pages == [["x5", "x4"], ["x3", "x2"], ["x1"]]
    assert third["next"] is None


@pytest.mark.parametrize(
    ("query", "hosts"),
    [
        ("host=h2", ["h2"]),
        ("host=h1", []),
        ("rule=failure&active=true", ["h2"]),
        ("active=false", []),
        ("state=held", ["h2"]),
        ("state=cleared", []),
    ],
)
def test_incidents_are_filtered(
    client: FlaskClient, store: Store, query: str, hosts: list[str]
) -> None:
    held(store)
    assert [i["host"] for i in get(client, f"/v1/incidents?{query}")["incidents"]] == hosts


def test_alarms_are_shown_without_their_signed_address(client: FlaskClient) -> None:
    answer = client.get("/v1/alarms")
    assert answer.get_json()["alarms"][0]["host"] == "h2"
    assert "sig=" not in answer.get_data(as_text=True)


def test_protection_says_what_protects_a_server(client: FlaskClient) -> None:
    servers = get(client, "/v1/protection?host=h2")["servers"]
    assert [(s["name"], s["protected"], s["by"]) for s in servers] == [
        ("toy", False, ""),
        ("web", True, "tag vmha"),
    ]


def test_protection_of_one_host_says_what_cannot_be_recovered(client: FlaskClient) -> None:
    toy, web = get(client, "/v1/protection?host=h2")["servers"]
    assert toy["problem"] is None
    assert "it has a share attached" in web["problem"]
    everywhere = get(client, "/v1/protection")["servers"]
    assert all(s["problem"] is None for s in everywhere)  # a request for each would be too many


# -- changing -------------------------------------------------------------------------------


def test_a_held_incident_is_released_in_the_callers_name(
    client: FlaskClient, store: Store
) -> None:
    number = held(store)
    answer = client.post(f"/v1/incidents/{number}/release")
    assert answer.status_code == 200
    assert store.incident(number).released_by == "anybody on this machine"
    assert store.incident(number).waived == {"storm"}


def test_a_host_is_released_by_its_name(client: FlaskClient, store: Store) -> None:
    number = held(store)
    assert client.post("/v1/hosts/h2/release").status_code == 200
    assert store.incident(number).released_by


def test_a_word_for_a_fencing_device_repeats_the_name(client: FlaskClient, store: Store) -> None:
    held(store)
    wrong = client.post("/v1/hosts/h2/confirm-fenced", json={"host": "h1"})
    assert (wrong.status_code, store.confirmation("h2")) == (409, None)

    right = client.post("/v1/hosts/h2/confirm-fenced", json={"host": "h2"})
    assert right.status_code == 200
    assert store.confirmation("h2") == "anybody on this machine confirmed that h2 is off"


def test_a_host_is_left_alone_and_looked_after_again(client: FlaskClient, store: Store) -> None:
    answer = client.put("/v1/hosts/h1/maintenance", json={"reason": "new memory", "hours": 2})
    assert answer.status_code == 200
    flag = answer.get_json()["host"]["maintenance"]
    assert (flag["reason"], flag["who"]) == ("new memory", "anybody on this machine")
    assert flag["until"] == 2000.0 + 7200
    assert store.maintenance()["h1"].reason == "new memory"

    assert client.delete("/v1/hosts/h1/maintenance").get_json()["host"]["maintenance"] is None
    assert store.maintenance() == {}


def test_a_cancelled_incident_leaves_its_host_in_maintenance(
    client: FlaskClient, store: Store
) -> None:
    number = held(store)
    answer = client.post(f"/v1/incidents/{number}/cancel", json={"reason": "a drill"})
    assert answer.status_code == 200
    assert store.maintenance()["h2"].reason == f"incident {number} cancelled: a drill"


def test_what_is_being_fenced_cannot_be_cancelled(client: FlaskClient, store: Store) -> None:
    epoch = store.claim_epoch("test")
    incident = store.open_incident("h2", "failure", "recover", "low", "dead", epoch=epoch)
    incident = store.move(incident, S.CONFIRMED, "sure", epoch=epoch)
    store.move(incident, S.FENCING, "off with it", epoch=epoch, fencing_since=1.0)
    answer = client.post(f"/v1/incidents/{incident.id}/cancel", json={"reason": "a drill"})
    assert answer.status_code == 409
    assert "may be off already" in answer.get_json()["error"]["reason"]
    assert store.maintenance() == {}


def test_pending_vms_are_tried_again_now(client: FlaskClient, store: Store) -> None:
    number = held(store)
    epoch = store.claim_epoch("test")
    later = dataclasses.replace(store.incident(number).vms[0], not_before=9e9)
    store.save_vms(store.incident(number), [later], epoch=epoch)
    assert client.post(f"/v1/incidents/{number}/retry").status_code == 200
    assert store.incident(number).vms[0].not_before < 9e9


def test_a_persons_word_alone_moves_no_vm(client: FlaskClient, store: Store) -> None:
    answer = client.post("/v1/hosts/h1/recover")
    assert answer.status_code == 409
    assert "a person's word alone moves no VM" in answer.get_json()["error"]["reason"]
    number = held(store)
    assert client.post("/v1/hosts/h2/recover").status_code == 200
    assert store.incident(number).released_by


# -- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/incidents/99", 404, "no-such-incident"),
        ("GET", "/v1/hosts/nobody", 404, "no-such-host"),
        ("POST", "/v1/incidents/99/release", 404, "no-such-incident"),
        ("POST", "/v1/hosts/h1/release", 404, "no-such-host"),
        ("GET", "/v1/incidents?limit=0", 400, "bad-input"),
        ("GET", "/v1/incidents?limit=ten", 400, "bad-input"),
        ("GET", "/v1/incidents?stat=held", 400, "bad-input"),
        ("GET", "/v1/incidents?state=on-fire", 400, "bad-input"),
        ("GET", "/v1/incidents?limit=1&limit=2", 400, "bad-input"),
        ("POST", "/v1/hosts/h2/confirm-fenced", 400, "bad-input"),
        ("GET", "/v1/nothing", 404, "not-found"),
        ("DELETE", "/v1/hosts", 405, "method-not-allowed"),
    ],
)
def test_a_refusal_has_a_code_a_reason_and_a_way_out(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    error = answer.get_json()["error"]
    assert error["code"] == code
    assert error["reason"] and error["way_out"]


def test_what_is_not_held_cannot_be_released(client: FlaskClient, store: Store) -> None:
    epoch = store.claim_epoch("test")
    number = store.open_incident("h1", "failure", "recover", "low", "dead", epoch=epoch).id
    answer = client.post(f"/v1/incidents/{number}/release")
    assert answer.status_code == 409
    assert answer.get_json()["error"]["reason"] == f"incident {number} is detected, not held"


def test_a_service_that_is_away_is_said(client: FlaskClient, cloud: Cloud) -> None:
    cloud.away |= {"nova", "aodh"}
    for path in ("/v1/protection", "/v1/alarms"):
        assert get(client, path, 503)["error"]["code"] == "service-unavailable"


def test_every_answer_carries_a_request_id(client: FlaskClient) -> None:
    assert client.get("/v1/cluster").headers["x-openstack-request-id"].startswith("req-")


# -- the document ---------------------------------------------------------------------------


def test_every_answer_is_as_the_document_says(client: FlaskClient, store: Store) -> None:
    number = held(store)
    for route in ROUTES:
        if route.method != "GET":
            continue
        path = route.path.replace("<host>", "h2").replace(
            "<int(max=2147483647):incident_id>", str(number)
        )
        schema = ANSWERS[route.answer] | {"components": {"schemas": ANSWERS}}
        jsonschema.validate(get(client, path), schema)


def test_every_route_has_a_policy_that_exists() -> None:
    assert {route.policy for route in ROUTES} <= policies.NAMES


def test_the_document_is_served_to_anybody(client: FlaskClient) -> None:
    document = get(client, "/v1/openapi.json")
    assert document["openapi"] == "3.1.0"
    assert len(document["paths"]) == len({route.path for route in ROUTES})
    assert get(client, "/")["versions"][0]["id"] == "v1"


def test_the_schema_of_an_incident_holds_every_field_of_a_vm() -> None:
    """A VM's field that is added one day is shown, or left out on purpose here."""
    kept_back = {
        *("task_state", "locked", "locked_reason", "migration_id", "not_before"),
        *("wish", "reset_to", "acted", "may_run_on"),
    }
    fields = {field.name for field in dataclasses.fields(VmRecord)}
    renamed = {"server_id": "id", "vm_state": "was", "old_host": "from", "dest": "to"}
    shown = {renamed.get(name, name) for name in fields - kept_back}
    assert shown == set(ANSWERS["Vm"]["properties"])


# -- who may --------------------------------------------------------------------------------


def test_without_tokens_only_loopback_is_served(
    conf: cfg.ConfigOpts, bell: Bell, backend: Backend
) -> None:
    conf.set_override("auth_strategy", "noauth", group="api")
    conf.set_override("host", "0.0.0.0", group="api")
    with pytest.raises(ConfigError, match=r"set host = 127\.0\.0\.1"):
        create_app(conf, bell.ring, backend=backend)


ROLES: dict[str, dict[str, Any]] = {
    "admin": {"roles": ["admin"]},
    "system reader": {"roles": ["reader"], "system_scope": "all"},
    "a project's reader": {"roles": ["reader"], "project_id": "p"},
    "a project's member": {"roles": ["member", "reader"], "project_id": "p"},
}


@pytest.mark.parametrize(
    ("who", "reads", "changes"),
    [
        ("admin", True, True),
        ("system reader", True, False),
        ("a project's reader", False, False),
        ("a project's member", False, False),
    ],
)
def test_readers_read_and_administrators_change(
    conf: cfg.ConfigOpts, who: str, reads: bool, changes: bool
) -> None:
    enforcer = policies.make_enforcer(conf)
    for route in ROUTES:
        allowed = enforcer.enforce(route.policy, {}, ROLES[who])
        assert allowed is (reads if route.method == "GET" else changes), route.policy


def test_where_nothing_is_the_list_of_all_paths_is_named(client: FlaskClient) -> None:
    answer = client.get("/v1/host")
    assert answer.status_code == 404
    assert "GET /v1/openapi.json" in answer.get_json()["error"]["way_out"]
    assert client.get("/v1/openapi.json").status_code == 200


# -- N+1 ------------------------------------------------------------------------------------


def test_any_one_host_can_fail(client: FlaskClient, cloud: Cloud) -> None:
    cloud.measures["h2"] = WELL
    answer = get(client, "/v1/capacity")
    assert answer["fit"] == "fits"
    assert answer["says"].startswith("Any one host can fail")
    assert [(h["host"], h["fit"], h["protected"]) for h in answer["hosts"]] == [
        ("h1", "fits", 1),
        ("h2", "fits", 1),
    ]


def test_who_would_have_no_room_and_how_much_is_missing(client: FlaskClient, cloud: Cloud) -> None:
    cloud.vms = (server("db", "h1", "vmha", ram=9000),)
    (host,) = get(client, "/v1/capacity")["hosts"]
    assert (host["fit"], host["missing"]) == ("does not fit", {"MEMORY_MB": 9000})
    assert [one["id"] for one in host["without_room"]] == ["id-db"]
    assert host["says"] == (
        "if h1 fails, 1 of its 1 protected VM has no room (db): 9000 MiB of memory missing"
    )
    (shown,) = get(client, "/v1/protection")["servers"]
    assert shown["problem"].startswith("has no room if h1 fails: needs 9000 MiB of memory; the")


def test_what_is_not_well_takes_nobody(client: FlaskClient, cloud: Cloud, store: Store) -> None:
    """h2 has failed, h3 is in maintenance: nobody is left for h1."""
    store.set_maintenance("h3", "new memory", "ann")
    says = get(client, "/v1/capacity")["says"]
    assert "if h1 fails, no other healthy host takes its 1 protected VM" in says


AWAY = [("placement", "resource_providers"), ("nova", "Nova's")]


@pytest.mark.parametrize(("away", "why"), AWAY)
def test_without_placement_nothing_is_promised(
    client: FlaskClient, cloud: Cloud, away: str, why: str
) -> None:
    cloud.away.add(away)
    answer = get(client, "/v1/capacity")
    assert (answer["fit"], answer["hosts"]) == ("not known", [])
    assert why in answer["says"]


def test_without_placement_protection_is_still_shown(client: FlaskClient, cloud: Cloud) -> None:
    cloud.away.add("placement")
    answer = get(client, "/v1/protection")
    assert len(answer["servers"]) == 3
    assert answer["trouble"][0].startswith("whether there is room elsewhere is not known")
