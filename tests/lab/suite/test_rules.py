# SPDX-License-Identifier: Apache-2.0
"""The rules on the real Gnocchi and the real Aodh: what is published becomes the alarm's state.

The host is made up, the rest is real. Its resource carries an end date and its alarms are
another project's, so that no engine at work in the same lab takes it for a host.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from gnocchiclient import exceptions as gnocchi_exc
from gnocchiclient.v1.client import Client

from vmha_remediator.cmd import manage
from vmha_remediator.conf import load
from vmha_remediator.conf import rules as rules_conf
from vmha_remediator.effects.aodh import Aodh
from vmha_remediator.effects.gnocchi import Gnocchi
from vmha_remediator.effects.session import make_session
from vmha_remediator.rules import metrics
from vmha_remediator.rules.judge import Readings, judge
from vmha_remediator.rules.signing import webhook_url

pytestmark = pytest.mark.lab

HOST = "made-up-host"
PATIENCE = 40.0  # seconds; a state usually follows within five

WELL = {
    "vmha.host.heartbeat": 1.0,
    "vmha.host.heartbeat.age": 0.4,
    "vmha.host.lease.age": 1.5,
    "vmha.host.reachable": 1.0,
    "vmha.host.isolated": 0.0,
    "vmha.host.witnesses": 3.0,
}
UNHEARD = {"vmha.host.heartbeat.age": 12.0, "vmha.host.reachable": 0.0}
DEAD = UNHEARD | {"vmha.host.lease.age": 14.0}


class Bench:
    """A made-up host with alarms, over the lab's real services."""

    def __init__(self, config_files: list[str]) -> None:
        self.config_files = config_files
        self.conf = load(config_files=config_files)
        session = make_session(self.conf)
        self.gnocchi, self.aodh = Gnocchi(session, self.conf), Aodh(session, self.conf)
        self.client = Client(session, adapter_options={"interface": "internal"})
        self.thresholds = rules_conf.thresholds(self.conf, 3)

    def clear(self) -> None:
        """Delete the made-up host's alarms and its resource with every measure."""
        assert self.manage("alarms", "delete", "--host", HOST) == 0
        with contextlib.suppress(gnocchi_exc.ResourceNotFound):
            self.client.resource.delete(metrics.resource_id(HOST))

    def manage(self, *argv: str) -> int:
        files = itertools.chain.from_iterable(("--config-file", f) for f in self.config_files)
        return manage.main([*files, *argv])

    def publish(self, values: dict[str, float]) -> None:
        """Send one sample of each metric, as ceilometer's publisher does."""
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat()
        self.client.metric.batch_resources_metrics_measures(
            {
                metrics.resource_id(HOST): {
                    name: {
                        "measures": [{"timestamp": now, "value": value}],
                        "archive_policy_name": metrics.ARCHIVE_POLICY.name,
                        "unit": metrics.METRICS[name].unit,
                    }
                    for name, value in values.items()
                }
            },
            create_metrics=True,
        )

    def aodh_states(self) -> dict[str, str]:
        ours = (a for a in self.aodh.alarms() if a["name"].endswith(f":{HOST}"))
        return {a["name"].split(":")[1]: a["state"] for a in ours}

    def judged_states(self) -> dict[str, str]:
        found = judge(
            rules_conf.load_rules(self.conf), self.gnocchi.readings(HOST), self.thresholds
        )
        return {verdict.rule: verdict.state.value for verdict in found}

    def await_states(self, expected: dict[str, str], values: dict[str, float]) -> None:
        """Keep publishing `values` until Aodh and the judge both say `expected`."""

        def both() -> tuple[dict[str, str], dict[str, str]]:
            self.publish(values)
            return self.aodh_states(), self.judged_states()

        assert eventually(both, (expected, expected)) == (expected, expected)


def eventually(read: Callable[[], Any], expected: Any) -> Any:
    """Return what `read` answers once it is `expected`, or at last."""
    deadline = time.monotonic() + PATIENCE
    while (found := read()) != expected and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def bench(lab: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    clouds = yaml.safe_load((Path(lab.vmha_conf).parent / "clouds.yaml").read_text())
    admin = clouds["clouds"]["lab-admin"]["auth"]
    other_project = tmp_path_factory.mktemp("conf") / "admin.conf"
    other_project.write_text(
        "[cloud]\n"
        + "".join(f"{k} = {admin[k]}\n" for k in ("username", "password", "project_name"))
    )
    made = Bench([str(lab.vmha_conf), str(other_project)])
    resource = metrics.resource_id(HOST)
    assert made.manage("telemetry", "setup") == 0
    ended = (datetime.datetime.now() + datetime.timedelta(days=1)).isoformat()
    made.clear()  # what a run that was killed left behind
    made.client.resource.create(
        metrics.RESOURCE_TYPE, {"id": resource, "host_name": HOST, "ended_at": ended}
    )
    try:
        yield made
    finally:
        made.clear()


def states(alarm: str | None) -> dict[str, str]:
    rules = ("agent-down", "failure", "isolation", "partition", "storage-lost")
    return {rule: "alarm" if rule == alarm else "ok" for rule in rules}


def test_a_host_that_never_published_has_no_readings(bench: Bench) -> None:
    assert bench.gnocchi.readings("nobody") == Readings("nobody", {})
    assert bench.gnocchi.readings(HOST) == Readings(HOST, {})
    assert HOST not in bench.gnocchi.hosts()


def test_setup_and_sync_change_nothing_the_second_time(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.manage("alarms", "sync", "--host", HOST, "--dry-run") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 hosts, 5 rules: 5 would be")
    assert bench.manage("alarms", "sync", "--host", HOST) == 0
    capsys.readouterr()
    assert bench.manage("alarms", "sync", "--host", HOST) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 hosts, 5 rules: 0 created, 0 changed, 0 deleted, 5 unchanged"
    )
    assert bench.manage("telemetry", "setup") == 0
    assert "created" not in capsys.readouterr().out


def test_without_data_aodh_and_judge_both_know_nothing(bench: Bench) -> None:
    nothing = dict.fromkeys(states(None), "insufficient data")
    assert bench.judged_states() == nothing
    assert eventually(bench.aodh_states, nothing) == nothing


@pytest.mark.parametrize(
    ("alarm", "values"),
    [
        (None, WELL),
        ("failure", WELL | DEAD),
        ("partition", WELL | UNHEARD),
        ("isolation", WELL | UNHEARD | {"vmha.host.isolated": 1.0}),
        ("agent-down", WELL | {"vmha.host.heartbeat.age": 12.0}),
        ("storage-lost", WELL | {"vmha.host.lease.age": 14.0}),
        (None, WELL | DEAD | {"vmha.host.witnesses": 0.0}),
        (None, WELL),
    ],
)
def test_what_is_published_becomes_the_alarm(
    bench: Bench, alarm: str | None, values: dict[str, float]
) -> None:
    bench.await_states(states(alarm), values)
    listed = [rule for rule, host in bench.aodh.alarming() if host == HOST]
    assert listed == ([alarm] if alarm else [])


def test_the_engine_reads_what_was_published_last(bench: Bench) -> None:
    def publish_and_read() -> Any:
        bench.publish(WELL | {"vmha.host.lease.age": 3.25})
        return dict(bench.gnocchi.readings(HOST).values)

    expected = WELL | {"vmha.host.lease.age": 3.25}
    assert eventually(publish_and_read, expected) == expected
    several = bench.gnocchi.readings_of([HOST, "nobody"])
    assert several == {HOST: Readings(HOST, expected), "nobody": Readings("nobody", {})}


def test_an_edited_alarm_is_put_right_and_no_signature_is_shown(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    (failure,) = (a for a in bench.aodh.alarms() if a["name"] == f"vmha:failure:{HOST}")
    forged = webhook_url("http://10.0.0.9:1", b"not the key at all", "failure", HOST)
    bench.aodh.update(failure["alarm_id"], {"repeat_actions": False, "alarm_actions": [forged]})
    capsys.readouterr()
    assert bench.manage("alarms", "sync", "--host", HOST) == 0
    said = capsys.readouterr().out
    assert "repeat_actions: false -> true" in said
    assert "sig=***" in said
    for url in (forged, *failure["alarm_actions"]):
        assert url.partition("sig=")[2] not in said
    (again,) = (a for a in bench.aodh.alarms() if a["name"] == f"vmha:failure:{HOST}")
    kept = ("alarm_id", "repeat_actions", "alarm_actions", "composite_rule")
    assert {k: again[k] for k in kept} == {k: failure[k] for k in kept}


def test_list_shows_every_alarm(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert bench.manage("alarms", "list", "--host", HOST, "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["rule"] for row in listed] == sorted(states(None))


def test_delete_leaves_none_of_this_host(bench: Bench) -> None:
    assert bench.manage("alarms", "delete", "--host", HOST) == 0
    assert bench.aodh_states() == {}
