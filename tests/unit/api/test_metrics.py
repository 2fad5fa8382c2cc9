# SPDX-License-Identifier: Apache-2.0
"""What Prometheus scrapes, and whether the example alerts and the dashboard speak of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from flask.testing import FlaskClient
from oslo_config import cfg
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.api.cloud import Cloud, server
from tests.unit.api.conftest import KEY, Bell, path
from vmha_remediator.api.app import create_app
from vmha_remediator.api.backend import Backend
from vmha_remediator.errors import ConfigError
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.rules import vm_rule
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.store import Store, open_store

ETC = Path(__file__).parents[3] / "etc"
Labels = dict[str, str]


class Now:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def store(conf: cfg.ConfigOpts, tmp_path: Path, now: Now) -> Iterator[Store]:
    conf.set_override("connection", f"sqlite:///{tmp_path}/vmha.sqlite", group="database")
    opened = open_store(conf, now)
    yield opened
    opened.close()


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def client(conf: cfg.ConfigOpts, bell: Bell, store: Store, cloud: Cloud, now: Now) -> FlaskClient:
    conf.set_override("auth_strategy", "noauth", group="api")
    backend = Backend(store, cloud, now, lambda agents: Thresholds())
    return create_app(conf, bell.ring, backend=backend).test_client()


def scrape(client: FlaskClient) -> dict[str, list[tuple[Labels, float]]]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(answer.get_data(as_text=True)):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_hosts_verdicts_and_ages(client: FlaskClient) -> None:
    found = scrape(client)
    states = {(x["host"], x["state"]) for x, value in found["vmha_host_state"] if value}
    assert states == {("h1", "well"), ("h2", "unwell"), ("h3", "unknown")}
    assert found["vmha_verdict"] == [
        ({"host": "h2", "rule": "failure", "severity": "critical"}, 1.0)
    ]
    assert ({"host": "h2", "path": "storage"}, 20.0) in found["vmha_evidence_age_seconds"]


def test_what_waits_and_for_how_long(client: FlaskClient, store: Store, now: Now) -> None:
    epoch = store.claim_epoch("engine-1")
    incident = store.open_incident("h2", "failure", "recover", "critical", "dead", epoch=epoch)
    store.move(incident, S.HELD, "too many", epoch=epoch, held_by="storm")
    store.say(epoch, "held")
    now.seconds += 90
    found = scrape(client)
    assert found["vmha_held_since_seconds"] == [({"host": "h2", "held_by": "storm"}, 90.0)]
    assert ({"state": "held"}, 1.0) in found["vmha_incidents"]
    assert found["vmha_engine_silent_seconds"] == [({}, 90.0)]


def test_each_stage_is_counted_once(client: FlaskClient, store: Store, now: Now) -> None:
    epoch = store.claim_epoch("engine-1")
    scrape(client)
    incident = store.open_incident("h2", "failure", "recover", "critical", "dead", epoch=epoch)
    for wait, state in ((0, S.CONFIRMED), (0, S.FENCING), (3, S.FENCED), (0, S.EVACUATING),
                        (7, S.RECOVERED)):  # fmt: skip
        now.seconds += wait
        incident = store.move(incident, state, f"now {state}", epoch=epoch)
    scrape(client)
    found = scrape(client)
    sums = {x["stage"]: value for x, value in found["vmha_stage_seconds_sum"]}
    counts = {x["stage"]: value for x, value in found["vmha_stage_seconds_count"]}
    assert sums == {"fence": 3.0, "evacuate": 7.0, "whole": 10.0}
    assert counts == {"fence": 1.0, "evacuate": 1.0, "whole": 1.0}


def test_webhooks_by_outcome(client: FlaskClient) -> None:
    client.post(path("failure", "h1"), data=b"{}")
    client.post("/v1/alarms/failure/h1", data=b"{}")
    client.post(path("failure", "h1", key=b"another secret, a forger's"), data=b"{}")
    counts = {x["status"]: value for x, value in scrape(client)["vmha_webhooks_total"]}
    assert counts == {"202": 1.0, "401": 1.0, "403": 1.0, "503": 0.0}


def test_webhooks_of_vms_and_unusual_ones_are_counted_too(client: FlaskClient) -> None:
    vm = "8f7d5c1e-0000-4000-8000-000000000001"
    client.post(vm_rule.webhook_url("", KEY, vm), data=b"{}")
    client.post(f"/v1/vms/{vm}?sig=forged", data=b"{}")
    client.post(path("failure", "h1"), data=b"x" * 70000)
    client.get(path("failure", "h1"))
    counts = {x["status"]: value for x, value in scrape(client)["vmha_webhooks_total"]}
    assert counts == {"202": 1.0, "401": 0.0, "403": 1.0, "413": 1.0, "503": 0.0}


def test_what_is_away_is_said_and_hides_nothing_else(client: FlaskClient, cloud: Cloud) -> None:
    cloud.away.add("gnocchi")
    found = scrape(client)
    assert {x["part"]: value for x, value in found["vmha_up"]} == {
        "store": 1.0, "telemetry": 0.0, "nova": 1.0,
    }  # fmt: skip
    assert "vmha_host_state" not in found
    assert "vmha_host_vms_without_room" in found
    assert "vmha_incidents" in found


def test_vms_that_would_find_no_room(client: FlaskClient, cloud: Cloud) -> None:
    cloud.vms = (server("db", "h1", "vmha", ram=9000), server("web", "h3", "vmha"))
    found = scrape(client)["vmha_host_vms_without_room"]
    assert found == [
        ({"host": "h1", "fit": "does not fit"}, 1.0),
        ({"host": "h3", "fit": "fits"}, 0.0),
    ]
    cloud.away.add("placement")
    assert "vmha_host_vms_without_room" not in scrape(client)


def test_a_stranger_is_not_told(client: FlaskClient) -> None:
    answer = client.get("/metrics", environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert answer.status_code == 403


def test_a_network_that_is_none_stops_the_start(
    conf: cfg.ConfigOpts, bell: Bell, store: Store
) -> None:
    conf.set_override("auth_strategy", "noauth", group="api")
    conf.set_override("metrics_allow", ["ten.0.0.0/8"], group="api")
    backend = Backend(store, Cloud(), lambda: 0.0, lambda agents: Thresholds())
    with pytest.raises(ConfigError, match="metrics_allow"):
        create_app(conf, bell.ring, backend=backend)


def _expressions() -> list[str]:
    rules = yaml.safe_load((ETC / "prometheus/vmha-alerts.yaml").read_text())["groups"][0]["rules"]
    panels = json.loads((ETC / "grafana/vmha.json").read_text())["panels"]
    return [r["expr"] for r in rules] + [t["expr"] for p in panels for t in p["targets"]]


@pytest.mark.parametrize("expression", _expressions())
def test_alerts_and_dashboard_ask_for_metrics_and_labels_that_exist(
    client: FlaskClient, store: Store, expression: str
) -> None:
    epoch = store.claim_epoch("engine-1")
    incident = store.open_incident("h2", "failure", "recover", "critical", "dead", epoch=epoch)
    store.move(incident, S.HELD, "too many", epoch=epoch, held_by="storm")
    store.say(epoch, "held")
    found = scrape(client)
    names = set(re.findall(r"vmha_\w+", expression))
    assert names and names <= found.keys()
    known = {label for name in names for labels, _ in found[name] for label in labels}
    wanted = set(re.findall(r"[{,]\s*(\w+)(?:!?=~?)", expression))
    for group in re.findall(r"by \(([^)]*)\)", expression):
        wanted |= {part.strip() for part in group.split(",")}
    assert wanted <= known
