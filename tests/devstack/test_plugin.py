# SPDX-License-Identifier: Apache-2.0
"""Every phase of the plugin, and the daemons started from the files that it writes."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
import requests

from vmha_pollsters.ask import ask
from vmha_remediator import conf as config
from vmha_remediator.errors import AgentUnavailable

T = TypeVar("T")
HERE = Path(__file__).parent
PLUGIN = HERE.parents[1] / "devstack"
BIN = Path(sys.executable).parent
#: Commands of the product that need no cloud run for real; the others are written down.
REAL = ("vmha-agent init", "telemetry render", "db upgrade")

WRAPPER = """#!/bin/bash
words="$(basename "$0") $*"
for real in {real}; do
    if [[ "$words" == *"$real"* ]]; then exec {bin}/$(basename "$0") "$@"; fi
done
printf '%s\\n' "$words" >> "$CALLS"
"""


@dataclass
class DevStack:
    """A machine on which DevStack's scripts source the plugin."""

    folder: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def conf(self) -> Path:
        return self.folder / "etc/vmha"

    @property
    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def run(self, mode: str, phase: str = "") -> None:
        """Source settings and plugin as stack.sh does; fails when the plugin fails."""
        fake = self.folder / "bin"
        fake.mkdir(exist_ok=True)
        for name in ("vmha-manage", "vmha-agent"):
            real = " ".join(f'"{r.removeprefix("vmha-agent ")}"' for r in REAL)
            (fake / name).write_text(WRAPPER.format(real=real, bin=BIN))
            (fake / name).chmod(0o755)
        script = (
            f"set -o errexit\nsource {HERE}/functions.sh\n"
            f"source {PLUGIN}/override-defaults\nsource {PLUGIN}/settings\n"
            + "".join(f"{name}={value}\n" for name, value in self.settings.items())
            + f"source {PLUGIN}/plugin.sh {mode} {phase}\n"
        )
        environment = {
            **os.environ,
            "CALLS": str(self.folder / "calls"),
            "FAKE_BIN": str(fake),
            "FAKE_PYTHON": sys.executable,
            "FAKE_INISET": str(HERE / "iniset.py"),
            "DEST": str(self.folder / "opt"),
            "DATA_DIR": str(self.folder / "data"),
            "VMHA_CONF_DIR": str(self.conf),
            "VMHA_RUN_DIR": str(self.folder / "run"),
            "VMHA_SERVICE_PORT": str(self.port),
            "SERVICE_HOST": "127.0.0.1",
            "HOST_IP": "127.0.0.1",
            "STACK_USER": str(os.getuid()),
            "ENABLED_SERVICES": "mysql",
            "DATABASE_BACKENDS": "mysql postgresql",
            "SERVICE_PASSWORD": "top secret",
            "SERVICE_DOMAIN_NAME": "Default",
            "SERVICE_PROJECT_NAME": "service",
            "SERVICE_TIMEOUT": "60",
            "REGION_NAME": "RegionOne",
            "KEYSTONE_SERVICE_URI": "http://127.0.0.1:9/identity",
        }
        done = subprocess.run(
            ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def stack(self) -> None:
        for phase in ("pre-install", "install", "post-config", "extra"):
            self.run("stack", phase)


def machine(folder: Path) -> DevStack:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return DevStack(folder, port)


@pytest.fixture
def devstack(tmp_path: Path) -> DevStack:
    return machine(tmp_path)


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> DevStack:
    """One machine that was stacked, for tests that don't stack it again."""
    made = machine(tmp_path_factory.mktemp("stacked"))
    made.stack()
    return made


def test_stacking_installs_configures_and_starts_everything(stacked: DevStack) -> None:
    calls = stacked.calls
    assert f"setup_develop {stacked.folder}/opt/vmha cli,mysql,pollsters" in calls
    assert "create_service_user vmha admin" in calls
    assert f"get_or_create_endpoint vmha RegionOne http://127.0.0.1:{stacked.port}" in calls
    started = [call.split()[1] for call in calls if call.startswith("run_process")]
    assert started == ["vmha-agent", "vmha-polling", "vmha-notification", "vmha-remediator"]
    setup = calls.index(f"vmha-manage --config-file {stacked.conf}/vmha.conf telemetry setup")
    first = next(n for n, call in enumerate(calls) if call.startswith("run_process"))
    assert setup < first
    assert calls[-1].endswith(f"alarms sync --host {socket.gethostname()}")


def test_no_secret_is_readable_by_others_or_in_a_command(stacked: DevStack) -> None:
    for name in ("heartbeat.key", "webhook.key", "fencing.yaml"):
        assert stat.S_IMODE((stacked.conf / name).stat().st_mode) == 0o600
    heartbeat = (stacked.conf / "heartbeat.key").read_text()
    assert heartbeat != (stacked.conf / "webhook.key").read_text()
    said = "\n".join(stacked.calls)
    assert "top secret" not in said
    assert heartbeat.strip() not in said


def test_stacking_twice_keeps_the_lease_area_and_the_fencing_file(devstack: DevStack) -> None:
    devstack.stack()
    area = devstack.folder / "data/vmha/lease"
    (devstack.conf / "fencing.yaml").write_text("hosts: {}\n")
    before = area.read_bytes()
    devstack.stack()
    assert area.read_bytes() == before
    assert (devstack.conf / "fencing.yaml").read_text() == "hosts: {}\n"


def test_a_compute_node_runs_the_evidence_only(devstack: DevStack) -> None:
    devstack.settings["ENABLED_SERVICES"] = "vmha-agent,vmha-polling"
    devstack.stack()
    started = [call.split()[1] for call in devstack.calls if call.startswith("run_process")]
    assert started == ["vmha-agent", "vmha-polling"]
    assert not (devstack.conf / "vmha.conf").exists()


def test_only_the_node_with_the_database_makes_it_anew(
    devstack: DevStack, stacked: DevStack
) -> None:
    assert "recreate_database vmha" in stacked.calls
    devstack.settings["ENABLED_SERVICES"] = "vmha-remediator"
    devstack.run("stack", "post-config")
    devstack.run("stack", "extra")
    assert "recreate_database vmha" not in devstack.calls, "a second node would empty it"


def test_an_engine_on_a_second_node_is_told_that_a_file_cannot_make_it_lead(
    devstack: DevStack,
) -> None:
    devstack.settings["VMHA_SERVICE_HOST"] = "192.0.2.7"
    devstack.run("stack", "post-config")
    (said,) = [call for call in devstack.calls if call.startswith("warn ")]
    assert "VMHA_COORDINATION_URL is a file: it only stands by" in said


def test_engines_on_several_nodes_find_their_leader_by_a_service(devstack: DevStack) -> None:
    devstack.settings["VMHA_SERVICE_HOST"] = "192.0.2.7"
    devstack.settings["VMHA_COORDINATION_URL"] = "etcd3+http://192.0.2.7:2379"
    devstack.run("stack", "post-config")
    loaded = config.load(config_files=[str(devstack.conf / "vmha.conf")])
    assert loaded.engine.coordination_url == "etcd3+http://192.0.2.7:2379"
    assert not any(call.startswith("warn ") for call in devstack.calls)


def test_a_node_without_it_is_left_alone(devstack: DevStack) -> None:
    devstack.settings["ENABLED_SERVICES"] = "n-cpu"
    devstack.stack()
    assert not devstack.conf.exists()


def test_unstacking_stops_and_cleaning_removes(devstack: DevStack) -> None:
    devstack.stack()
    devstack.run("unstack")
    stopped = [call.split()[1] for call in devstack.calls if call.startswith("stop_process")]
    assert stopped == ["vmha-remediator", "vmha-notification", "vmha-polling", "vmha-agent"]
    devstack.run("clean")
    assert not devstack.conf.exists()
    assert not (devstack.folder / "data/vmha").exists()


def test_the_remediators_file_is_one_that_it_reads(stacked: DevStack) -> None:
    loaded = config.load(config_files=[str(stacked.conf / "vmha.conf")])
    assert loaded.api.port == stacked.port
    assert loaded.cloud.auth_type == "password"
    assert loaded.evacuation.protect == "tagged"


@pytest.fixture
def daemon() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes started from what `run_process` was told; ended with the test."""
    running: list[subprocess.Popen[bytes]] = []
    yield running
    for process in running:
        process.terminate()
        process.wait(20)


def start(devstack: DevStack, service: str) -> subprocess.Popen[bytes]:
    """Start a service with the very command that DevStack would give systemd."""
    line = next(c for c in devstack.calls if c.startswith(f"run_process {service} "))
    words = line.split()[2:]
    words[0] = str(BIN / Path(words[0]).name)
    log = (devstack.folder / f"{service}.log").open("wb")
    return subprocess.Popen(words, stderr=log, stdout=log)


def test_the_agent_starts_from_its_file(
    stacked: DevStack, daemon: list[subprocess.Popen[bytes]]
) -> None:
    daemon.append(start(stacked, "vmha-agent"))
    status = wait(lambda: ask(str(stacked.folder / "run/agent.sock"), "status"), daemon[0])
    assert json.dumps(status).find(socket.gethostname()) >= 0


def test_the_remediator_starts_from_its_file_although_keystone_is_away(
    stacked: DevStack, daemon: list[subprocess.Popen[bytes]]
) -> None:
    daemon.append(start(stacked, "vmha-remediator"))
    answer = wait(
        lambda: requests.get(f"http://127.0.0.1:{stacked.port}/healthcheck", timeout=5), daemon[0]
    )
    assert answer.json() == {"status": "ok"}


def wait(look: Callable[[], T], process: subprocess.Popen[bytes]) -> T:
    """Return what `look` returns once it does; fails when the process ends or takes a minute."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, "it has ended; see its log"
        try:
            return look()
        except (AgentUnavailable, requests.ConnectionError):
            time.sleep(0.2)
    raise AssertionError("it does not answer")


@pytest.mark.parametrize("name", ["plugin.sh", "settings", "override-defaults"])
def test_the_scripts_are_clean(name: str) -> None:
    for words in (
        [str(BIN / "bashate"), "--max-line-length=99"],
        [str(BIN / "shellcheck"), "-s", "bash", "-e", "SC2034,SC2086"],
    ):
        done = subprocess.run(
            [*words, str(PLUGIN / name)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
