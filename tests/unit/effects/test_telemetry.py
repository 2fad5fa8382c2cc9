# SPDX-License-Identifier: Apache-2.0
"""Gnocchi and Aodh at the edge: what is asked of them, and what their failures are called."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from keystoneauth1.identity import v3
from keystoneauth1.noauth import NoAuth
from keystoneauth1.session import Session
from oslo_config import cfg

from tests.unit.effects.telemetry_server import Request, Server, serving
from vmha_remediator.conf import load
from vmha_remediator.effects.aodh import Aodh
from vmha_remediator.effects.gnocchi import Gnocchi
from vmha_remediator.errors import ConfigError, TelemetryUnavailable
from vmha_remediator.rules import metrics
from vmha_remediator.rules.alarms import Change, Plan
from vmha_remediator.rules.judge import Readings
from vmha_remediator.rules.model import Thresholds

NOON = datetime.datetime(2026, 1, 1, 12, 0, 0, tzinfo=datetime.UTC)
H1, H2 = metrics.resource_id("h1"), metrics.resource_id("h2")
AGGREGATES = ("POST", "/v1/aggregates")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


def configured(url: str, timeout: float = 5.0) -> cfg.ConfigOpts:
    conf = load(config_files=[])
    conf.set_override("gnocchi_endpoint", url, group="telemetry")
    conf.set_override("aodh_endpoint", url, group="telemetry")
    conf.set_override("timeout", timeout, group="telemetry")
    return conf


def gnocchi(server: Server) -> Gnocchi:
    return Gnocchi(Session(auth=NoAuth()), configured(server.url), utcnow=lambda: NOON)


def aodh(server: Server) -> Aodh:
    return Aodh(Session(auth=NoAuth()), configured(server.url))


def series(*values: Any) -> dict[str, Any]:
    start = NOON - datetime.timedelta(seconds=10 * len(values))
    times = [start + datetime.timedelta(seconds=10 * n) for n in range(len(values))]
    return {"last": [[t.isoformat(), 10.0, v] for t, v in zip(times, values, strict=True)]}


# --- readings -------------------------------------------------------------------------------


def test_the_last_value_of_aodhs_window_is_read_in_one_request(server: Server) -> None:
    server.say(*AGGREGATES, 200, {"measures": {H1: {"vmha.host.lease.age": series(99.0, 1.5)}}})
    assert gnocchi(server).readings("h1") == Readings("h1", {"vmha.host.lease.age": 1.5})
    (request,) = server.requests
    query = parse_qs(urlsplit(request.path).query)
    assert query["start"] == ["2026-01-01T11:59:40"]
    assert "stop" not in query, "what is newer than our clock tells that it is wrong"
    assert query["granularity"] == ["10"]
    assert request.body == {
        "operations": ["metric", *([name, "last"] for name in metrics.METRICS)],
        "resource_type": "vmha_host",
        "search": {"in": {"id": [H1]}},
    }


def test_a_clock_that_was_set_back_reads_nothing_old_as_new(server: Server) -> None:
    """A failure of an hour ago must not be judged again, with the host alive."""
    dead, well = series(99.0, 99.0)["last"], ["2026-01-01T13:00:00", 10.0, 0.5]
    server.say(
        *AGGREGATES, 200, {"measures": {H1: {"vmha.host.lease.age": {"last": [*dead, well]}}}}
    )
    with pytest.raises(TelemetryUnavailable, match="3600 s ahead of this machine's clock"):
        gnocchi(server).readings("h1")


def test_one_host_whose_clock_is_ahead_blinds_nobody_else(server: Server) -> None:
    ahead = {"last": [["2026-01-01T13:00:00", 10.0, 1.0]]}
    found = {H1: {"vmha.host.heartbeat": ahead}, H2: {"vmha.host.reachable": series(1)}}
    server.say(*AGGREGATES, 200, {"measures": found})
    assert gnocchi(server).readings_of(["h1", "h2"]) == {
        "h1": Readings("h1", {}),
        "h2": Readings("h2", {"vmha.host.reachable": 1.0}),
    }


def test_a_clock_that_is_a_little_slow_reads_the_newest(server: Server) -> None:
    newest = {"last": [["2026-01-01T12:00:10", 10.0, 1.5]]}
    server.say(*AGGREGATES, 200, {"measures": {H1: {"vmha.host.lease.age": newest}}})
    assert gnocchi(server).readings("h1").values == {"vmha.host.lease.age": 1.5}


def test_several_hosts_are_read_together(server: Server) -> None:
    server.say(*AGGREGATES, 200, {"measures": {H2: {"vmha.host.reachable": series(1)}}})
    assert gnocchi(server).readings_of(["h1", "h2", "h1"]) == {
        "h1": Readings("h1", {}),
        "h2": Readings("h2", {"vmha.host.reachable": 1.0}),
    }
    assert len(server.requests) == 1


def test_more_hosts_than_fit_are_read_in_turn(server: Server) -> None:
    server.say(*AGGREGATES, 200, {"measures": {}})
    names = [f"h{n}" for n in range(401)]
    assert list(gnocchi(server).readings_of(names)) == names
    sizes = [len(request.body["search"]["in"]["id"]) for request in server.requests]
    assert sizes == [200, 200, 1]


def test_one_host_that_cannot_be_read_does_not_hide_the_others(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    culprit = metrics.resource_id("h3")

    def answer(request: Request) -> tuple[int, Any]:
        ids = request.body["search"]["in"]["id"]
        if culprit in ids:
            cause = {"cause": "Metrics with unknown aggregation", "detail": [["x", "last"]]}
            return 404, {"description": cause}
        return 200, {"measures": {i: {"vmha.host.reachable": series(1)} for i in ids}}

    server.decide[AGGREGATES] = answer
    found = gnocchi(server).readings_of(["h1", "h2", "h3", "h4"])
    well = {"vmha.host.reachable": 1.0}
    assert {h: r.values for h, r in found.items()} == {
        "h1": well,
        "h2": well,
        "h3": {},
        "h4": well,
    }
    assert "unknown aggregation" in caplog.text
    with pytest.raises(TelemetryUnavailable, match="cannot read the measures"):
        gnocchi(server).readings("h3")


def test_what_nobody_measured_is_absent(server: Server) -> None:
    measured = {"vmha.host.lease.age": series(), "other.metric": series(1)}
    server.say(*AGGREGATES, 200, {"measures": {H1: measured}})
    assert gnocchi(server).readings("h1") == Readings("h1", {})


def test_a_host_that_never_published_has_no_readings(server: Server) -> None:
    server.say(*AGGREGATES, 404, {"description": "Metric ['a', 'b'] does not exist"})
    assert gnocchi(server).readings("h1") == Readings("h1", {})


def test_another_404_is_no_absence(server: Server) -> None:
    cause = {"cause": "Metrics with unknown aggregation", "detail": [["x", "last"]]}
    server.say(*AGGREGATES, 404, {"description": cause})
    with pytest.raises(TelemetryUnavailable, match="unknown aggregation"):
        gnocchi(server).readings("h1")


def test_a_gnocchi_that_was_not_set_up_says_what_to_do(server: Server) -> None:
    cause = {"cause": "Resource type does not exist", "detail": "vmha_host"}
    server.say(*AGGREGATES, 400, {"description": cause})
    with pytest.raises(TelemetryUnavailable, match="run 'vmha-manage telemetry setup'"):
        gnocchi(server).readings("h1")
    missing = {"description": "Resource type vmha_host does not exist"}
    server.say("GET", "/v1/resource/vmha_host", 404, missing)
    with pytest.raises(TelemetryUnavailable, match="run 'vmha-manage telemetry setup'"):
        gnocchi(server).hosts()


def test_hosts_are_those_that_have_not_ended(server: Server) -> None:
    listed = [
        {"host_name": "h2", "ended_at": None},
        {"host_name": "h1", "ended_at": None},
        {"host_name": "gone", "ended_at": "2026-01-01T00:00:00+00:00"},
    ]
    server.say("GET", "/v1/resource/vmha_host", 200, listed)
    assert gnocchi(server).hosts() == ["h1", "h2"]


# --- failures -------------------------------------------------------------------------------

CALLS: list[Callable[[Server], Any]] = [
    lambda s: gnocchi(s).readings("h1"),
    lambda s: gnocchi(s).hosts(),
    lambda s: gnocchi(s).setup(),
    lambda s: aodh(s).alarms(),
    lambda s: aodh(s).alarming(),
    lambda s: aodh(s).create({"name": "vmha:failure:h1", "type": "composite"}),
    lambda s: aodh(s).update("1", {"enabled": True}),
    lambda s: aodh(s).delete("1"),
]
NAMES = ["readings", "hosts", "setup", "alarms", "alarming", "create", "update", "delete"]
PATHS = [
    ("POST", "/v1/aggregates"),
    ("GET", "/v1/resource/vmha_host"),
    ("GET", "/v1/archive_policy/vmha-10s"),
    ("GET", "/v2/alarms"),
    ("POST", "/v2/alarms"),
    ("GET", "/v2/alarms/1"),
    ("PUT", "/v2/alarms/1"),
    ("DELETE", "/v2/alarms/1"),
]


@pytest.mark.parametrize("call", CALLS, ids=NAMES)
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"<html><h1>Internal Server Error</h1></html>"),
        (503, {"error_message": {"faultstring": "busy"}, "description": "busy"}),
        (401, {"error": {"message": "no"}}),
        (403, {"description": "no", "error_message": {"faultstring": "no"}}),
    ],
)
def test_every_refusal_is_telemetry_unavailable(
    server: Server, call: Callable[[Server], Any], status: int, body: Any
) -> None:
    for method, path in PATHS:
        server.say(method, path, status, body)
    with pytest.raises(TelemetryUnavailable) as caught:
        call(server)
    text = str(caught.value)
    assert text.startswith(("Gnocchi ", "Aodh ", "Keystone "))
    assert " while " in text
    assert "<" not in text


@pytest.mark.parametrize("call", CALLS[:6], ids=NAMES[:6])
@pytest.mark.parametrize(
    "body",
    [b"", b"<html>hello</html>", {}, [], 7, None, "text", [None], [[]], {"measures": 3}, [7]],
    ids=repr,
)
def test_every_nonsense_is_telemetry_unavailable(
    server: Server, call: Callable[[Server], Any], body: Any
) -> None:
    for method, path in PATHS:
        server.say(method, path, 200, body)
    try:
        found = call(server)
    except TelemetryUnavailable as exc:
        assert " while " in str(exc)
    else:
        assert found == [], "an empty list is the one that may be true"
        assert body in ([], {})


@pytest.mark.parametrize("points", [[["x", 10, 1]], [[1]], [[NOON.isoformat(), 10, "a"]], 5])
def test_measures_that_are_none_are_telemetry_unavailable(server: Server, points: Any) -> None:
    measured = {"vmha.host.lease.age": {"last": points}}
    server.say(*AGGREGATES, 200, {"measures": {H1: measured}})
    with pytest.raises(TelemetryUnavailable, match="something unexpected"):
        gnocchi(server).readings("h1")


@pytest.mark.parametrize("client", [Gnocchi, Aodh])
def test_no_answer_ends_in_a_time_out(server: Server, client: Any) -> None:
    server.hang = threading.Event()
    quick = client(Session(auth=NoAuth(), timeout=600), configured(server.url, timeout=0.2))
    with pytest.raises(TelemetryUnavailable, match="did not answer in time while listing the"):
        (quick.hosts if client is Gnocchi else quick.alarms)()


@pytest.mark.parametrize("client", [Gnocchi, Aodh])
def test_nobody_at_that_address(client: Any) -> None:
    with serving() as closed:
        conf = configured(closed.url)
    caller = client(Session(auth=NoAuth()), conf)
    with pytest.raises(TelemetryUnavailable, match="while listing the"):
        (caller.hosts if client is Gnocchi else caller.alarms)()


@pytest.mark.parametrize("client", [Gnocchi, Aodh])
def test_a_keystone_that_is_down_is_named_and_not_whoever_needs_its_token(
    server: Server, client: Any
) -> None:
    with serving() as keystone:
        login = v3.Password(f"{keystone.url}/v3", username="vmha", password="secret")
    caller = client(Session(auth=login), configured(server.url))
    with pytest.raises(TelemetryUnavailable, match=r"^Keystone .* while listing the"):
        (caller.hosts if client is Gnocchi else caller.alarms)()


def test_an_error_shows_no_signature(server: Server) -> None:
    told = "Unable to parse action http://x/v1/alarms/failure/h1?sig=0123456789abcdef"
    server.say("POST", "/v2/alarms", 400, {"error_message": {"faultstring": told}})
    with pytest.raises(TelemetryUnavailable) as caught:
        aodh(server).create({"name": "vmha:failure:h1", "type": "composite"})
    assert "sig=***" in str(caught.value)
    assert "0123456789" not in str(caught.value)


# --- setting up -----------------------------------------------------------------------------

POLICY = {
    "name": "vmha-10s",
    "back_window": 6,
    "aggregation_methods": ["min", "last", "max"],
    "definition": [{"granularity": "0:00:10", "timespan": "2:00:00", "points": 720}],
}
TYPE = {"name": "vmha_host", "attributes": {"host_name": {"type": "string", "required": True}}}


def set_up(server: Server, policy: Any = POLICY, of_type: Any = TYPE) -> None:
    server.say("GET", "/v1/archive_policy/vmha-10s", 200, policy)
    server.say("GET", "/v1/resource_type/vmha_host", 200, of_type)


def test_what_is_there_is_left_as_it_is(server: Server) -> None:
    set_up(server)
    assert gnocchi(server).setup() == [
        "archive policy vmha-10s: is as it should be",
        "resource type vmha_host: is as it should be",
    ]
    assert {request.method for request in server.requests} == {"GET"}


def test_what_is_missing_is_created(server: Server) -> None:
    missing = "{} does not exist"
    server.say(
        "GET",
        "/v1/archive_policy/vmha-10s",
        404,
        {"description": missing.format("Archive policy vmha-10s")},
    )
    server.say(
        "GET",
        "/v1/resource_type/vmha_host",
        404,
        {"description": missing.format("Resource type vmha_host")},
    )
    server.say("POST", "/v1/archive_policy/", 201, {})
    server.say("POST", "/v1/resource_type/", 201, {})
    assert gnocchi(server).setup(dry_run=True) == [
        "archive policy vmha-10s: would be created",
        "resource type vmha_host: would be created",
    ]
    assert {request.method for request in server.requests} == {"GET"}
    assert gnocchi(server).setup() == [
        "archive policy vmha-10s: created",
        "resource type vmha_host: created",
    ]
    policy, of_type = (r.body for r in server.requests if r.method == "POST")
    assert policy["definition"] == [{"granularity": 10, "timespan": 7200}]
    assert policy["back_window"] == 6
    assert sorted(policy["aggregation_methods"]) == ["last", "max", "min"]
    assert of_type["attributes"]["host_name"]["type"] == "string"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"back_window": 0}, "back_window is 0, wanted 6"),
        ({"aggregation_methods": ["mean"]}, "methods are mean, wanted last, max, min"),
        (
            {"definition": [{"granularity": "0:01:00", "timespan": "2:00:00", "points": 120}]},
            "definition is 120 points of 0:01:00, wanted 720 points of 0:00:10",
        ),
    ],
)
def test_a_policy_that_differs_is_said(
    server: Server, change: dict[str, Any], complaint: str
) -> None:
    set_up(server, policy=POLICY | change)
    with pytest.raises(ConfigError, match="exists in Gnocchi and differs") as caught:
        gnocchi(server).setup()
    assert complaint in str(caught.value)


def test_a_type_without_host_name_is_said(server: Server) -> None:
    set_up(server, of_type={"name": "vmha_host", "attributes": {}})
    with pytest.raises(ConfigError, match="without the text attribute host_name"):
        gnocchi(server).setup()


# --- alarms ---------------------------------------------------------------------------------


def test_when_alarms_were_evaluated_is_read_of_a_few_that_are_enabled(server: Server) -> None:
    stamp = "2026-11-22T07:00:00.123456"
    found = [
        {"alarm_id": "1", "enabled": True, "evaluate_timestamp": stamp},
        {"alarm_id": "2", "enabled": False, "evaluate_timestamp": stamp},
        {"alarm_id": "3", "enabled": True, "evaluate_timestamp": None},
    ]
    server.say("GET", "/v2/alarms", 200, found)
    assert aodh(server).evaluated() == {"1": stamp}
    assert parse_qs(urlsplit(server.requests[-1].path).query)["limit"] == ["10"]


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ([{"enabled": True, "state": "insufficient data"}], "insufficient data"),
        ([{"enabled": False, "state": "ok"}], None),
        ([], None),
    ],
)
def test_the_state_of_one_alarm_is_asked_for_by_its_name(
    server: Server, found: list[dict[str, Any]], state: str | None
) -> None:
    server.say("GET", "/v2/alarms", 200, found)
    assert aodh(server).state("failure", "h1") == state
    query = parse_qs(urlsplit(server.requests[-1].path).query)
    assert (query["q.field"], query["q.value"]) == (["name"], ["vmha:failure:h1"])


@pytest.mark.parametrize("body", [b"<html>hello</html>", {}, 7, "text", [None], [7]], ids=repr)
def test_nonsense_about_evaluations_is_telemetry_unavailable(server: Server, body: Any) -> None:
    server.say("GET", "/v2/alarms", 200, body)
    for call in (aodh(server).evaluated, lambda: aodh(server).state("failure", "h1")):
        if body == {}:
            assert not call()
            continue
        with pytest.raises(TelemetryUnavailable, match=r" while |unexpected"):
            call()


def test_ours_are_listed_and_only_ours(server: Server) -> None:
    ours = {"alarm_id": "1", "name": "vmha:failure:h1", "type": "composite", "state": "alarm"}
    theirs = {"alarm_id": "2", "name": "cpu", "type": "composite", "state": "alarm"}
    server.say("GET", "/v2/alarms", 200, [theirs, ours])
    assert aodh(server).alarms() == [ours]
    assert aodh(server).alarming() == [("failure", "h1")]
    query = parse_qs(urlsplit(server.requests[-1].path).query)
    assert dict(zip(query["q.field"], query["q.value"], strict=True)) == {
        "state": "alarm",
        "type": "composite",
    }


def test_a_plan_is_carried_out(server: Server) -> None:
    there = {"alarm_id": "1", "name": "vmha:failure:h1", "type": "composite", "enabled": False}
    server.say("GET", "/v2/alarms/1", 200, there)
    server.say("PUT", "/v2/alarms/1", 200, there)
    server.say("POST", "/v2/alarms", 201, {"alarm_id": "3"})
    new = {"name": "vmha:isolation:h1", "type": "composite"}
    aodh(server).apply(
        Plan(
            create=(new,),
            update=(Change("1", "vmha:failure:h1", {"enabled": (False, True)}),),
            delete=(("2", "vmha:old:h1", "no rule old"),),
        )
    )
    sent = {(r.method, r.path.partition("?")[0]): r.body for r in server.requests}
    assert sent["PUT", "/v2/alarms/1"] == there | {"enabled": True}
    assert sent["POST", "/v2/alarms"] == new
    assert ("DELETE", "/v2/alarms/2") in sent, "and that it was gone already is no error"


# --- history --------------------------------------------------------------------------------


def steps_of(**values: list[Any]) -> dict[str, Any]:
    """Return method -> points of Gnocchi, of which the first lies 20 s before noon."""
    start = NOON - datetime.timedelta(seconds=20)
    return {
        method: [
            [(start + datetime.timedelta(seconds=10 * n)).isoformat(), 10.0, value]
            for n, value in enumerate(points)
        ]
        for method, points in values.items()
    }


def test_all_that_was_published_lately_is_read_step_by_step(server: Server) -> None:
    names = [{"host_name": host, "ended_at": None} for host in ("h1", "h2", "h3", "gone")]
    server.say("GET", "/v1/resource/vmha_host", 200, names)
    own = {
        "vmha.host.heartbeat.age": steps_of(min=[0.5, 9.0]),
        "vmha.host.lease.age": steps_of(min=[1.0, 12.0]),
        "vmha.host.reachable": steps_of(max=[1, 0]),
        "vmha.host.watchdog": steps_of(min=[36.5, 0.0], max=[36.5, 36.5]),
    }
    ids = [metrics.resource_id(host) for host in ("h1", "h2", "h3", "gone")]
    leases = dict(zip(ids, ([2.0, 14.0], [1.0], [1.5, 1.0], []), strict=True))

    def answer(request: Request) -> tuple[int, Any]:
        if len(request.body["search"]["in"]["id"]) == 1:
            return 200, {"measures": {H1: own}}
        name = "vmha.host.lease.age"
        return 200, {"measures": {i: {name: steps_of(max=v)} for i, v in leases.items()}}

    server.decide[AGGREGATES] = answer
    first, second = gnocchi(server).history("h1", 60.0, Thresholds())
    assert (first.heartbeat, first.lease, first.reachable) == (0.5, 1.0, 1.0)
    assert (first.armed, first.most_renew) == (36.5, True)
    assert second.at - first.at == 10.0
    assert second.at == NOON.replace(tzinfo=datetime.UTC).timestamp() - 10.0
    assert (second.heartbeat, second.lease, second.reachable) == (9.0, 12.0, 0.0)
    # h2 has not been published yet in the newest step: what it was before counts.
    assert (second.watchdog, second.armed, second.most_renew) == ((0.0, 36.5), 0.0, True)


def test_a_history_ends_where_the_measures_end_and_not_where_a_clock_says(server: Server) -> None:
    server.say("GET", "/v1/resource/vmha_host", 200, [])
    server.say(*AGGREGATES, 200, {"measures": {}})
    gnocchi(server).history("h1", 60.0, Thresholds())
    assert all("stop" not in parse_qs(urlsplit(r.path).query) for r in server.requests)


def test_a_host_of_which_nothing_was_published_has_no_history(server: Server) -> None:
    server.say("GET", "/v1/resource/vmha_host", 200, [])
    server.say(*AGGREGATES, 200, {"measures": {}})
    assert gnocchi(server).history("h1", 60.0, Thresholds()) == []


# -- single VMs ----------------------------------------------------------------------------

VM = "8f7d5c1e-0000-4000-8000-000000000001"
MEASURES = ("GET", f"/v1/resource/generic/{VM}/metric/power.state/measures")


@pytest.mark.parametrize(
    ("points", "power"),
    [
        ([["2026-01-01T11:59:40+00:00", 10.0, 1.0], ["2026-01-01T11:59:50+00:00", 10.0, 5.0]], 5),
        ([], None),
    ],
)
def test_a_vms_power_state_is_its_latest(
    server: Server, points: list[Any], power: float | None
) -> None:
    server.say(*MEASURES, 200, points)
    assert gnocchi(server).power_state(VM, 10) == power
    asked = parse_qs(urlsplit(server.requests[-1].path).query)
    assert asked["start"] == ["2026-01-01T11:59:40"]
    assert (asked["aggregation"], asked["granularity"]) == (["last"], ["10"])


def test_a_vm_of_which_nothing_was_ever_measured_has_none(server: Server) -> None:
    missing = {"code": 404, "description": {"cause": "Metric not found"}}
    server.say(*MEASURES, 404, missing)
    assert gnocchi(server).power_state(VM, 10) is None


def test_a_gnocchi_that_fails_is_no_reading(server: Server) -> None:
    server.say(*MEASURES, 503, {})
    with pytest.raises(TelemetryUnavailable):
        gnocchi(server).power_state(VM, 10)


def test_alarms_on_vms_stand_beside_those_on_hosts(server: Server) -> None:
    names = ["vmha:failure:h1", f"vmha-vm:{VM}", "somebody else's"]
    alarms = [{"name": name, "type": "composite", "alarm_id": name} for name in names]
    server.say("GET", "/v2/alarms", 200, alarms)
    assert aodh(server).alarming() == [("failure", "h1"), ("vm-failure", VM)]
    assert [a["name"] for a in aodh(server).alarms()] == ["vmha:failure:h1"]
    assert [a["name"] for a in aodh(server).vm_alarms()] == [f"vmha-vm:{VM}"]
