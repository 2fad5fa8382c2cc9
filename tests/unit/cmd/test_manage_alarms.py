# SPDX-License-Identifier: Apache-2.0
"""vmha-manage alarms and telemetry, as an operator meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cmd.conftest import Machine
from tests.unit.effects.telemetry_server import Request, Server, serving

PACKAGED = Path(__file__).parents[3] / "alarm-templates"


class Cloud:
    """A Gnocchi that knows some hosts, and an Aodh that keeps what it is sent."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.alarms: dict[str, dict[str, Any]] = {}
        self.hosts("h1", "h2", "h3")
        server.decide["GET", "/v2/alarms"] = lambda _: (200, list(self.alarms.values()))
        server.decide["POST", "/v2/alarms"] = self._create

    def hosts(self, *names: str) -> None:
        listed = [{"host_name": name, "ended_at": None} for name in names]
        self.server.say("GET", "/v1/resource/vmha_host", 200, listed)

    def _create(self, request: Request) -> tuple[int, Any]:
        alarm_id = str(len(self.alarms) + 1)
        self.alarms[alarm_id] = {"alarm_id": alarm_id, "state": "ok", **request.body}
        path = f"/v2/alarms/{alarm_id}"
        self.server.decide["GET", path] = lambda _: (200, self.alarms[alarm_id])
        self.server.decide["PUT", path] = lambda r: (200, self.alarms[alarm_id].update(r.body))
        self.server.decide["DELETE", path] = lambda _: (204, self.alarms.pop(alarm_id) and None)
        return 201, self.alarms[alarm_id]

    def named(self, name: str) -> dict[str, Any]:
        (found,) = (alarm for alarm in self.alarms.values() if alarm["name"] == name)
        return found


@pytest.fixture
def cloud(machine: Machine) -> Iterator[Cloud]:
    with serving() as server:
        with machine.config_file.open("a") as file:
            file.write(
                "[cloud]\nauth_type = none\n"
                f"[telemetry]\ngnocchi_endpoint = {server.url}\naodh_endpoint = {server.url}\n"
            )
        yield Cloud(server)


# --- sync -----------------------------------------------------------------------------------


def test_the_first_sync_makes_one_set_a_host_and_the_second_nothing(
    machine: Machine, cloud: Cloud
) -> None:
    status, out, err = machine.manage("alarms", "sync")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "+ vmha:agent-down:h1"
    assert out.splitlines()[-1] == (
        "3 hosts, 5 rules: 15 created, 0 changed, 0 deleted, 0 unchanged"
    )
    assert len(cloud.alarms) == 15
    status, out, _ = machine.manage("alarms", "sync")
    assert (status, out) == (
        0,
        "3 hosts, 5 rules: 0 created, 0 changed, 0 deleted, 15 unchanged\n",
    )


def test_a_dry_run_shows_everything_and_does_nothing(machine: Machine, cloud: Cloud) -> None:
    status, out, _ = machine.manage("alarms", "sync", "--dry-run", "--host", "h7")
    assert status == 0
    assert "+ vmha:failure:h7" in out
    assert out.endswith(
        "1 hosts, 5 rules: 5 would be created, 0 would be changed, 0 would be deleted, "
        "0 unchanged\n"
    )
    assert cloud.alarms == {}


def test_what_differs_is_changed_and_what_has_no_rule_is_deleted(
    machine: Machine, cloud: Cloud
) -> None:
    machine.manage("alarms", "sync", "--host", "h1")
    cloud.named("vmha:failure:h1")["severity"] = "low"
    cloud.named("vmha:partition:h1")["name"] = "vmha:old-rule:h1"
    foreign = {"alarm_id": "f", "name": "cpu", "type": "composite"}
    cloud.alarms["f"] = foreign
    status, out, _ = machine.manage("alarms", "sync", "--host", "h1")
    assert status == 0
    assert out.splitlines() == [
        "+ vmha:partition:h1",
        "~ vmha:failure:h1",
        '    severity: "low" -> "critical"',
        "- vmha:old-rule:h1 (no rule old-rule)",
        "1 hosts, 5 rules: 1 created, 1 changed, 1 deleted, 3 unchanged",
    ]
    assert cloud.named("vmha:failure:h1")["severity"] == "critical"
    assert cloud.alarms["f"] is foreign


def test_a_new_key_changes_every_alarm_and_is_never_shown(machine: Machine, cloud: Cloud) -> None:
    machine.manage("alarms", "sync", "--host", "h1")
    (old,) = cloud.named("vmha:failure:h1")["alarm_actions"]
    (machine.folder / "webhook.key").write_bytes(b"another key of 16 bytes or more")
    status, out, err = machine.manage("alarms", "sync", "--host", "h1")
    (new,) = cloud.named("vmha:failure:h1")["alarm_actions"]
    assert status == 0
    assert out.endswith("0 created, 5 changed, 0 deleted, 0 unchanged\n")
    assert old != new
    for url in (old, new):
        assert url.partition("sig=")[2] not in out + err


@pytest.mark.parametrize(("known", "witnesses"), [(("h1", "h2"), 1.0), (("h1", "h2", "h3"), 2.0)])
def test_two_hosts_make_do_with_one_witness(
    machine: Machine, cloud: Cloud, known: tuple[str, ...], witnesses: float
) -> None:
    cloud.hosts(*known)
    machine.manage("alarms", "sync", "--host", "h1")
    leaves = cloud.named("vmha:failure:h1")["composite_rule"]["and"]
    (limit,) = (leaf["threshold"] for leaf in leaves if leaf["metric"] == "vmha.host.witnesses")
    assert limit == witnesses


def test_without_any_host_it_says_what_to_do(machine: Machine, cloud: Cloud) -> None:
    cloud.hosts()
    status, out, err = machine.manage("alarms", "sync")
    assert (status, out) == (1, "")
    assert err.startswith("vmha-manage: Gnocchi knows no host yet: start vmha-agent")


def test_a_rule_that_cannot_be_trusted_is_not_synced(machine: Machine, cloud: Cloud) -> None:
    careless = (PACKAGED / "agent-down.yaml").read_text().replace("report", "recover")
    (machine.folder / "rules").mkdir()
    (machine.folder / "rules" / "agent-down.yaml").write_text(careless)
    machine.configure(f"[rules]\ndirectory = {machine.folder}/rules\n")
    status, _, err = machine.manage("alarms", "sync")
    assert status == 1
    assert "agent-down: recovers without proof" in err
    assert cloud.alarms == {}


def test_a_silent_telemetry_is_one_clear_line(machine: Machine, cloud: Cloud) -> None:
    cloud.server.say("GET", "/v1/resource/vmha_host", 503, b"<html>busy</html>")
    status, out, err = machine.manage("alarms", "sync")
    assert (status, out) == (1, "")
    assert err == "vmha-manage: Gnocchi failed while listing the hosts: busy (HTTP 503)\n"


def test_a_missing_key_is_one_clear_line(machine: Machine, cloud: Cloud) -> None:
    (machine.folder / "webhook.key").unlink()
    status, _, err = machine.manage("alarms", "sync")
    assert status == 1
    assert "webhook.key: No such file or directory" in err


# --- list, delete, lint, timing -------------------------------------------------------------


def test_list_shows_states(machine: Machine, cloud: Cloud) -> None:
    assert machine.manage("alarms", "list")[1] == (
        "no alarms of ours; 'vmha-manage alarms sync' makes them\n"
    )
    machine.manage("alarms", "sync")
    cloud.named("vmha:failure:h2")["state"] = "alarm"
    status, out, _ = machine.manage("alarms", "list", "--host", "h2")
    assert status == 0
    assert out.splitlines()[0].split()[:4] == ["host", "rule", "state", "severity"]
    assert ["h2", "failure", "alarm", "critical"] in [row.split()[:4] for row in out.splitlines()]
    rows = json.loads(machine.manage("alarms", "list", "--json")[1])
    assert len(rows) == 15


def test_delete_takes_the_named_hosts_or_all(machine: Machine, cloud: Cloud) -> None:
    machine.manage("alarms", "sync")
    cloud.alarms["f"] = {"alarm_id": "f", "name": "cpu", "type": "composite"}
    _, out, _ = machine.manage("alarms", "delete", "--host", "h2", "--dry-run")
    assert out.endswith("5 alarms would be deleted\n")
    assert len(cloud.alarms) == 16
    machine.manage("alarms", "delete", "--host", "h2")
    assert not [a for a in cloud.alarms.values() if a["name"].endswith(":h2")]
    status, out, _ = machine.manage("alarms", "delete", "--all")
    assert (status, out.splitlines()[-1]) == (0, "10 alarms deleted")
    assert list(cloud.alarms) == ["f"]


def test_lint_needs_no_cloud_and_tells_every_problem(machine: Machine) -> None:
    status, out, _ = machine.manage("alarms", "lint")
    assert (status, out) == (
        0,
        "6 rules can be trusted: agent-down, failure, isolation, partition, storage-lost, "
        "vm-failure\n",
    )
    folder = machine.folder / "rules"
    folder.mkdir()
    for name, old, new in (
        ("failure", "comparison_operator: ge", "comparison_operator: gte"),
        ("isolation", "severity: moderate", "severity: high"),
    ):
        text = (PACKAGED / f"{name}.yaml").read_text()
        (folder / f"{name}.yaml").write_text(text.replace(old, new, 1))
    status, out, _ = machine.manage("alarms", "lint", "--dir", str(folder))
    assert status == 1
    assert out.splitlines() == [
        "failure: rule.and[1]: comparison_operator is 'gte'; it must be gt, ge, lt, le, eq, ne",
        "isolation: severity 'high' is not one of low, moderate, critical",
    ]


def test_lint_tells_what_is_wrong_with_the_rule_on_vms(machine: Machine) -> None:
    folder = machine.folder / "rules"
    (folder / "vm").mkdir(parents=True)
    text = (PACKAGED / "failure.yaml").read_text()
    (folder / "failure.yaml").write_text(text)
    text = (PACKAGED / "vm/vm-failure.yaml").read_text().replace("threshold: 5", "threshold: 1")
    (folder / "vm/vm-failure.yaml").write_text(text)
    status, out, _ = machine.manage("alarms", "lint", "--dir", str(folder))
    assert status == 1
    assert "is in alarm for a VM that is not off (power.state 1, 2, 3, 4)" in out


def test_timing_explains_every_term(machine: Machine) -> None:
    status, out, _ = machine.manage("alarms", "timing")
    assert status == 0
    assert out.splitlines()[-1].split()[:2] == ["10.30s", "15.00s"]


# --- telemetry, usage -----------------------------------------------------------------------


def test_render_writes_what_ceilometer_needs_once(machine: Machine) -> None:
    folder = machine.folder / "new" / "ceilometer"
    status, out, _ = machine.manage("telemetry", "render", "--dir", str(folder))
    assert status == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "pipeline.yaml",
        "polling.yaml",
        "vmha_resources.yaml",
    ]
    assert out.count(": written") == 3
    assert yaml.safe_load((folder / "polling.yaml").read_text())["sources"][0]["interval"] == 2
    _, out, _ = machine.manage("telemetry", "render", "--dir", str(folder))
    assert out.count(": is as it should be") == 3


def test_render_where_nothing_can_be_written_is_one_clear_line(machine: Machine) -> None:
    status, _, err = machine.manage("telemetry", "render", "--dir", f"{machine.config_file}/x")
    assert status == 1
    assert "cannot write into" in err


def test_setup_without_a_login_says_what_to_set(machine: Machine) -> None:
    status, _, err = machine.manage("telemetry", "setup")
    assert status == 1
    assert err == (
        "vmha-manage: [cloud] auth_type is not set; set it to 'password' and give credentials\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("alarms",),
        ("alarms", "synk"),
        ("alarms", "delete"),
        ("alarms", "delete", "--all", "--host", "h1"),
        ("telemetry", "render"),
        (),
    ],
)
def test_what_is_not_understood_exits_with_two(machine: Machine, words: tuple[str, ...]) -> None:
    status, _, err = machine.manage(*words)
    assert status == 2
    assert err.startswith("usage: vmha-manage")


@pytest.mark.parametrize("command", ["sync", "lint", "list", "delete", "timing"])
def test_every_command_has_help_with_examples(machine: Machine, command: str) -> None:
    status, out, _ = machine.manage("alarms", command, "--help")
    assert status == 0
    assert f"examples:\n  vmha-manage alarms {command}" in out


def test_a_configuration_that_is_missing_is_one_clear_line(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.config_file.unlink()
    status, _, err = machine.manage("alarms", "lint")
    assert status == 1
    assert err.startswith("vmha-manage: configuration: ")


def test_a_threshold_that_would_accuse_the_living_is_refused(machine: Machine) -> None:
    machine.configure("[rules]\nlease_age = 1\n")
    status, _, err = machine.manage("alarms", "lint")
    assert status == 1
    assert err == (
        "vmha-manage: configuration: [rules] lease_age: Should be greater than or equal to 6\n"
    )


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from vmha_remediator.cmd import manage; manage.build_parser();"
        "print([m for m in ('keystoneauth1', 'openstack', 'sqlalchemy', 'flask', 'yaml',"
        " 'oslo_config', 'requests') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
