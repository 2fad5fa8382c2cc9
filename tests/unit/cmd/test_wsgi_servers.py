# SPDX-License-Identifier: Apache-2.0
"""The receiver under gunicorn and uwsgi, started by the very lines of the installation guide."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.cmd.conftest import KEY, Machine
from tests.unit.cmd.test_services import ask, listen
from vmha_remediator.api.counts import FOLDER
from vmha_remediator.rules import signing

GUIDE = Path(__file__).resolve().parents[3] / "doc/source/install.rst"
SERVERS = ["gunicorn", "uwsgi"]
READY = 120.0  # s; each worker imports the application, on cores that are busy
WORKERS = 3  # of the guide's lines
CONFIG = r"VMHA_CONFIG_FILES=/etc/vmha/vmha\.conf"
#: With a login /metrics is served; nobody is there to log in with.
NO_CLOUD = """
[api]
auth_strategy = noauth
[cloud]
auth_type = password
auth_url = http://127.0.0.1:1/v3
username = vmha
password = secret
project_name = service
user_domain_id = default
project_domain_id = default
"""
WORDS = [(rule, host) for rule in ("failure", "isolation") for host in ("h1", "h2", "h3")]


def documented(program: str) -> list[str]:
    """Return the guide's command line: the words after its environment."""
    text = re.sub(r"\\\n\s*", "", GUIDE.read_text())
    (line,) = re.findall(rf"^ +{CONFIG} {FOLDER}=\S+ ({program} .*)$", text, re.M)
    return shlex.split(line)


@contextmanager
def serving(machine: Machine, program: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server; in the end it has to stop at SIGTERM."""
    found = str(Path(sys.executable).with_name(program))
    words = [re.sub(r"^\S*:8778$", f"127.0.0.1:{port}", word) for word in documented(program)]
    assert f"127.0.0.1:{port}" in words
    environ = {**os.environ, "VMHA_CONFIG_FILES": str(machine.config_file)}
    environ |= {FOLDER: str(machine.folder / "metrics")}
    with (machine.folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [found, *words[1:]],
            cwd=machine.folder, env={**environ, "HOME": str(machine.folder)},
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=READY)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_it_answers(machine: Machine, process: subprocess.Popen[bytes], port: int) -> None:
    """Wait for every worker: uwsgi ends with 22 when one is stopped that was still loading."""
    end = time.monotonic() + READY
    while time.monotonic() < end:
        log = (machine.folder / "log").read_text()
        assert process.poll() is None, log
        try:
            loaded = len(list((machine.folder / "metrics").glob("counter_*.db")))
            if loaded == WORKERS and ask(port, "GET", "/healthcheck") == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail((machine.folder / "log").read_text())


def counted(port: int) -> dict[str, float]:
    """Return the webhooks by status, as one worker or another shows them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        families = {f.name: f for f in text_string_to_metric_families(answer.read().decode())}
    assert "vmha_stage_seconds" in families
    samples = families["vmha_webhooks"].samples
    return {s.labels["status"]: s.value for s in samples if s.name == "vmha_webhooks_total"}


@pytest.mark.parametrize("program", SERVERS)
def test_several_workers_write_each_word_once(machine: Machine, program: str) -> None:
    machine.manage("db", "upgrade")
    machine.configure(NO_CLOUD)
    genuine = [(signing.webhook_url("", KEY, *word), 202) for word in WORDS]
    forged = [(url[:-4] + "0000", 403) for url, _ in genuine]
    requests = (genuine + forged) * 20
    port = listen(machine)

    with serving(machine, program, port) as process:
        wait_until_it_answers(machine, process, port)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda r: ask(port, "POST", r[0], b"{}"), requests))

        store, end = machine.store(), time.monotonic() + 30
        rung: set[tuple[str, str]] = set()
        while rung < set(WORDS) and time.monotonic() < end:  # written right after the answer
            taken = [(bell.rule, bell.host) for bell in store.take_doorbells()]
            assert len(taken) == len(set(taken))
            rung |= set(taken)
            time.sleep(0.1)
        shown = [counted(port) for _ in range(2 * WORKERS)]
        served = (machine.folder / "log").read_text()  # its last words are its own

    log = (machine.folder / "log").read_text()
    assert answers == [expected for _, expected in requests], log
    assert rung == set(WORDS), log
    assert all((x["202"], x["403"]) == (len(genuine) * 20, len(forged) * 20) for x in shown)
    assert "Traceback" not in served
    # The addresses hold the signatures, and servers like to log addresses.
    assert "sig=" not in log
    assert process.returncode == 0


def test_a_mistake_in_the_configuration_is_one_line_and_an_end(machine: Machine) -> None:
    port = listen(machine)
    (machine.folder / "webhook.key").unlink()

    with serving(machine, "gunicorn", port) as process:
        process.wait(timeout=READY)

    log = (machine.folder / "log").read_text()
    assert process.returncode != 0
    assert "vmha-api: " in log and "webhook.key: No such file" in log
    # gunicorn's master may trace its own end, when a second worker fails meanwhile
    assert "/vmha_remediator/" not in log
