# SPDX-License-Identifier: Apache-2.0
"""The services: what they say when they cannot start, and how they end."""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from oslo_config import cfg

from tests.unit.cmd.conftest import KEY, Machine
from vmha_remediator import conf as config
from vmha_remediator.cmd import api, remediator, startup, verbs
from vmha_remediator.cmd import engine as alone
from vmha_remediator.errors import StoreUnavailable
from vmha_remediator.rules import signing
from vmha_remediator.store import Store

Main = Callable[[list[str]], int]
MAINS: list[Main] = [api.main, remediator.main]
EVERY: list[Main] = [*MAINS, alone.main]
LOGIN = (
    "[cloud]\nauth_type = password\nauth_url = http://127.0.0.1:1/v3\nusername = vmha\n"
    "password = secret\nproject_name = service\nuser_domain_id = d\nproject_domain_id = d\n"
)


def test_a_full_disk_under_the_log_is_one_line_and_stops_nothing(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logging itself would print a traceback for every line that is lost."""
    machine.configure("[DEFAULT]\nlog_file = /dev/full\n")
    startup.setup_log(config.load(config_files=[str(machine.config_file)]))
    for _ in range(3):
        logging.getLogger("vmha").error("lost")
    said = capsys.readouterr().err
    assert said.startswith("The log cannot be written: No space left on device; ")
    assert said.count("\n") == 1


class Engine:
    """An engine that waits to be told to stop, or ends in its own way."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.trouble = trouble
        self.running = threading.Event()

    def run(self, stop: threading.Event, doorbell: threading.Event) -> None:
        self.running.set()
        if self.trouble is not None:
            raise self.trouble
        while not stop.wait(0.1):  # a signal is handled between two waits
            pass


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    for module in (remediator, alone):
        monkeypatch.setattr(module, "make_engine", lambda conf, store: made)
    return made


def listen(machine: Machine) -> int:
    """Give the machine's receiver a free port; return it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    machine.configure(f"[api]\nport = {port}\n")
    return port


def ask(port: int, method: str, url: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, url, body=body)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@contextmanager
def running(machine: Machine, module: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a service as a process of its own until it answers; kill what is left of it."""
    argv = [sys.executable, "-m", module, "--config-file", str(machine.config_file)]
    log = machine.folder / "log"
    with log.open("wb") as output, subprocess.Popen(argv, stderr=output) as process:
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    assert ask(port, "GET", "/healthcheck") == 200
                    break
                except OSError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < end
                    time.sleep(0.05)
            yield process
        finally:
            process.kill()


class TestStart:
    @pytest.mark.parametrize("main", MAINS)
    def test_help_teaches_what_it_needs(
        self, main: Main, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["--help"])

        text = capsys.readouterr().out
        assert ended.value.code == 0
        assert "[webhook] key_file" in text and "vmha-manage db upgrade" in text

    @pytest.mark.parametrize("main", EVERY)
    def test_without_its_configuration_names_the_file(
        self, main: Main, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--config-file", "/nonexistent/vmha.conf"]) == 1
        assert "/nonexistent/vmha.conf" in capsys.readouterr().err

    @pytest.mark.parametrize("main", EVERY)
    def test_without_any_configuration_does_not_start(
        self, main: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verbs, "DEFAULT_CONFIG", Path("/nonexistent/vmha.conf"))
        assert main([]) == 1
        assert "is not there: write it, or name another with --config-file" in (
            capsys.readouterr().err
        )

    @pytest.mark.parametrize("main", MAINS)
    def test_without_its_key_names_the_file(
        self, main: Main, machine: Machine, engine: Engine
    ) -> None:
        (machine.folder / "webhook.key").unlink()

        assert main(["--config-file", str(machine.config_file)]) == 1
        assert "webhook.key: No such file" in machine.capture.readouterr().err

    @pytest.mark.parametrize("main", MAINS)
    def test_on_a_taken_port_names_it(self, main: Main, machine: Machine, engine: Engine) -> None:
        port = listen(machine)
        with socket.create_server(("127.0.0.1", port)):
            status = main(["--config-file", str(machine.config_file)])

        err = machine.capture.readouterr().err
        assert status == 1
        assert f"127.0.0.1:{port}: Address already in use" in err and "Traceback" not in err
        assert not engine.running.is_set()

    @pytest.mark.parametrize("main", EVERY)
    def test_on_tables_of_another_version_names_the_command(
        self, main: Main, machine: Machine, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine.manage("db", "upgrade")
        monkeypatch.setattr(Store, "upgrade", Store.check)
        monkeypatch.setattr("vmha_remediator.store.database.Database.head", lambda self: "9999")

        assert main(["--config-file", str(machine.config_file)]) == 1
        assert "run: vmha-manage db upgrade" in machine.capture.readouterr().err

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("[DEFAULT]\nlog_file = /nonexistent/vmha.log\n", "/nonexistent/vmha.log"),
            ("[DEFAULT]\nlog_config_append = /nonexistent/log.ini\n", "/nonexistent/log.ini"),
            ("[DEFAULT]\ndefault_log_levels = loud\n", "[DEFAULT] asks for a log"),
            ("[DEFAULT]\ndebug = maybe\n", "--debug"),
            (
                LOGIN + "[keystone_authtoken]\nauth_type = magic\n",
                "[keystone_authtoken]: The plugin magic",
            ),
            (
                LOGIN + "[keystone_authtoken]\nmemcache_security_strategy = weak\n",
                "memcache_security_strategy",
            ),
        ],
    )
    def test_with_a_librarys_option_that_cannot_be_it_is_named(
        self, machine: Machine, engine: Engine, text: str, names: str
    ) -> None:
        machine.configure(text)
        engine.trouble = StoreUnavailable("it has started")

        assert remediator.main(["--config-file", str(machine.config_file)]) == 1
        err = machine.capture.readouterr().err
        assert names in err and "Traceback" not in err
        assert err.splitlines()[-1].startswith("vmha-remediator: ")

    def test_with_a_misspelt_option_it_says_so_and_starts(
        self, machine: Machine, engine: Engine
    ) -> None:
        listen(machine)
        machine.configure("[engine]\nintervall = 3\n")
        engine.trouble = StoreUnavailable("enough")

        assert remediator.main(["--config-file", str(machine.config_file)]) == 1
        assert engine.running.is_set()
        assert "nothing reads [engine] intervall; did you mean interval?" in (
            machine.capture.readouterr().err
        )

    def test_what_keystoneauth_prints_of_aodhs_answers_has_no_signature(
        self, machine: Machine, engine: Engine
    ) -> None:
        listen(machine)
        machine.configure("[DEFAULT]\ndefault_log_levels = keystoneauth=DEBUG\n")
        engine.trouble = StoreUnavailable("enough")
        remediator.main(["--config-file", str(machine.config_file)])

        for name in ("keystoneauth.session", "keystoneauth.session.body"):
            logging.getLogger(name).debug("RESP BODY: [%s]", '"http://x/failure/h1?sig=s3cret"')
        err = machine.capture.readouterr().err
        assert err.count("http://x/failure/h1?sig=") == 2
        assert "s3cret" not in err


class TestEngineAlone:
    def test_help_teaches_what_it_needs(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            alone.main(["--help"])

        text = capsys.readouterr().out
        assert ended.value.code == 0
        assert "[fencing] hosts_file" in text and "vmha-manage db upgrade" in text

    def test_that_gives_up_says_why(self, machine: Machine, engine: Engine) -> None:
        engine.trouble = StoreUnavailable("the database is gone for good")

        assert alone.main(["--config-file", str(machine.config_file)]) == 1
        assert "the database is gone for good" in machine.capture.readouterr().err


class TestRemediator:
    def test_an_engine_that_gives_up_takes_the_receiver_with_it(
        self, machine: Machine, engine: Engine
    ) -> None:
        port = listen(machine)
        engine.trouble = StoreUnavailable("the database is gone for good")

        assert remediator.main(["--config-file", str(machine.config_file)]) == 1
        assert "the database is gone for good" in machine.capture.readouterr().err
        with pytest.raises(OSError, match="refused"):
            ask(port, "GET", "/healthcheck")

    def test_a_receiver_that_dies_stops_the_engine_so_that_both_are_started_again(
        self, machine: Machine, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(self: object, timeout: float) -> None:
            raise OSError("out of everything")

        monkeypatch.setattr("vmha_remediator.api.server.ApiServer._once", broken)
        listen(machine)

        assert remediator.main(["--config-file", str(machine.config_file)]) == 1

    def test_a_signal_ends_it_in_order(self, machine: Machine, engine: Engine) -> None:
        listen(machine)

        def terminate() -> None:
            assert engine.running.wait(60)
            os.kill(os.getpid(), signal.SIGTERM)

        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        threading.Thread(target=terminate).start()
        try:
            assert remediator.main(["--config-file", str(machine.config_file)]) == 0
        finally:
            signal.signal(signal.SIGTERM, before[0])
            signal.signal(signal.SIGINT, before[1])


class TestApiAsAProcess:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_takes_alarms_and_ends_at_a_signal(
        self, machine: Machine, number: signal.Signals
    ) -> None:
        port = listen(machine)
        with running(machine, "vmha_remediator.cmd.api", port) as process:
            url = signing.webhook_url("", KEY, "failure", "h1")
            answers = [ask(port, "POST", url, b'{"current": "alarm"}') for _ in range(20)]
            process.send_signal(number)
            assert process.wait(timeout=60) == 0

        err = (machine.folder / "log").read_text()
        assert answers == [202] * 20
        assert "Traceback" not in err
        assert url.partition("sig=")[2] not in err
        assert [(bell.rule, bell.host) for bell in machine.store().take_doorbells()] == [
            ("failure", "h1")
        ]

    def test_a_storm_leaves_one_row_for_each_rule_and_host(self, machine: Machine) -> None:
        port = listen(machine)
        genuine = [
            (signing.webhook_url("", KEY, rule, host), 202)
            for rule in ("failure", "isolation")
            for host in ("h1", "h2", "h3")
        ]
        forged = [(url[:-4] + "0000", 403) for url, _ in genuine]
        with running(machine, "vmha_remediator.cmd.api", port):
            requests = (genuine + forged) * 42
            with ThreadPoolExecutor(4) as pool:
                answers = list(pool.map(lambda r: ask(port, "POST", r[0], b"{}"), requests))

        assert answers == [expected for _, expected in requests]
        assert sorted((bell.rule, bell.host) for bell in machine.store().take_doorbells()) == [
            (rule, host) for rule in ("failure", "isolation") for host in ("h1", "h2", "h3")
        ]


def test_any_wsgi_server_finds_the_application(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMHA_CONFIG_FILES", str(machine.config_file))
    script = (
        "import json\n"
        "from vmha_remediator.api.wsgi import application\n"
        "print(json.dumps(application.test_client().get('/healthcheck').json))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )

    assert json.loads(done.stdout) == {"status": "ok"}


def test_a_second_configuration_file_wins(machine: Machine) -> None:
    from vmha_remediator.cmd import startup

    more = machine.folder / "more.conf"
    more.write_text("[api]\nthreads = 7\n")
    seen: list[cfg.ConfigOpts] = []

    def serve(conf: cfg.ConfigOpts) -> int:
        seen.append(conf)
        return 0

    files = ["--config-file", str(machine.config_file), "--config-file", str(more)]
    assert startup.run(startup.make_parser("x", "", ""), serve, files) == 0
    assert seen[0].api.threads == 7
