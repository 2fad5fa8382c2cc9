# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes the API; the example alerts and the dashboard ask it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.contract import servers
from tests.unit.api.cloud import Cloud, room
from tests.unit.api.served import cloud, conf, server, store
from vmha_remediator.api.server import ApiServer
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.store import Store

__all__ = ["cloud", "conf", "server", "store"]  # fixtures, for the tests of this file

ETC = Path(__file__).parents[2] / "etc"
ALERTS = ETC / "prometheus/vmha-alerts.yaml"
CASES = Path(__file__).with_name("alerts.yaml")
PATIENCE = 60.0  # s; two cores may be busy with other tests


def promtool(*words: str | Path, text: str | None = None) -> tuple[int, str]:
    tool = shutil.which("promtool")
    assert tool, "install Debian's prometheus: it is in tests/lab/debian-packages.txt"
    done = subprocess.run(
        [tool, *map(str, words)], input=text, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def prometheus(server: ApiServer, store: Store, cloud: Cloud) -> Iterator[str]:
    """Yield the address of a Prometheus that watches a cloud in which much is wrong."""
    cloud.rooms = {host: room(0) for host in cloud.rooms}
    epoch = store.claim_epoch("engine-1")
    incident = store.open_incident("h2", "failure", "recover", "critical", "dead", epoch=epoch)
    store.move(incident, S.HELD, "too many", epoch=epoch, held_by="storm")
    store.say(epoch, "held")
    with servers.running(servers.prometheus(f"127.0.0.1:{server.port}", ALERTS)) as running:
        awaited(lambda: requests.get(f"{running.address}/-/ready", timeout=10).ok, "it is ready")
        yield running.address


def ask(address: str, path: str, **query: str) -> Any:
    answer = requests.get(f"{address}/api/v1/{path}", params=query, timeout=10)
    assert answer.json()["status"] == "success", answer.text
    return answer.json()["data"]


def awaited(look: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    pytest.fail(f"within {PATIENCE:.0f} s it never came true that {what}")


def test_the_example_alerts_are_rules() -> None:
    status, said = promtool("check", "rules", ALERTS)
    assert status == 0, said


def test_every_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    cases = yaml.safe_load(CASES.read_text())
    (tmp_path / "cases.yaml").write_text(json.dumps(cases | {"rule_files": [str(ALERTS)]}))
    status, said = promtool("test", "rules", tmp_path / "cases.yaml")
    assert status == 0, said
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    fired = {
        asked["alertname"]
        for case in cases["tests"]
        for asked in case["alert_rule_test"]
        if asked["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in rules}


def test_prometheus_finds_nothing_to_say_of_our_metrics(server: ApiServer) -> None:
    text = requests.get(f"http://127.0.0.1:{server.port}/metrics", timeout=10).text
    status, said = promtool("check", "metrics", text=text)
    assert (status, said) == (0, "")


def test_prometheus_answers_every_question_of_the_dashboard(prometheus: str) -> None:
    panels = json.loads((ETC / "grafana/vmha.json").read_text())["panels"]
    asked = {t["expr"]: p["title"] for p in panels for t in p["targets"]}
    awaited(lambda: ask(prometheus, "query", query="vmha_up")["result"], "the API is scraped")

    def silent() -> list[str]:
        found = {e: ask(prometheus, "query", query=e)["result"] for e in asked}
        return [asked[e] for e, result in found.items() if not result]

    awaited(lambda: not silent(), "every panel shows something")


def test_the_alerts_stand_in_prometheus(prometheus: str) -> None:
    """What waits for its time is pending; that an engine leads is no alert."""

    def standing() -> set[str]:
        return {alert["labels"]["alertname"] for alert in ask(prometheus, "alerts")["alerts"]}

    wanted = {"VmhaHostNotWatched", "VmhaNoRoom"}
    awaited(lambda: standing() == wanted, f"exactly {wanted} stand")

    def health() -> set[str]:
        return {r["health"] for g in ask(prometheus, "rules")["groups"] for r in g["rules"]}

    awaited(lambda: health() == {"ok"}, "every rule has been evaluated")
