# SPDX-License-Identifier: Apache-2.0
"""Every command of vmha-manage on a machine where something is wrong: one line, no traceback."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator

import pytest

from tests.unit.cmd.conftest import Machine
from tests.unit.effects.telemetry_server import Server, serving
from vmha_remediator.cmd import manage

#: Words by which each command can be run; a command that is missing here fails the test.
WORDS: dict[str, tuple[str, ...]] = {
    "alarms delete": ("--all",),
    "alarms lint": (),
    "alarms list": (),
    "alarms sync": (),
    "alarms timing": (),
    "db check": (),
    "db upgrade": (),
    "doctor": (),
    "fence confirm": ("h1", "--yes"),
    "fence list": (),
    "fence status": (),
    "fence test": ("h1",),
    "fence timing": (),
    "host maintenance list": (),
    "host maintenance set": ("h1", "--reason", "x"),
    "host maintenance unset": ("h1",),
    "incident list": (),
    "incident purge": ("--older-than", "30"),
    "incident release": ("7", "--yes"),
    "incident show": ("7",),
    "telemetry render": ("--dir", "ceilometer"),
    "telemetry setup": (),
    "vm restarts": (),
}
LOGIN = """
[cloud]
auth_type = password
auth_url = {url}
username = vmha
password = secret
project_name = service
user_domain_id = default
project_domain_id = default
timeout = 2
[telemetry]
timeout = 2
"""


def commands(parser: argparse.ArgumentParser, said: str = "") -> Iterator[str]:
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for action in below:
        for name, one in action.choices.items():
            yield from commands(one, f"{said} {name}".strip())
    if not below:
        yield said


def cloud(machine: Machine, url: str) -> None:
    text = machine.config_file.read_text()
    machine.config_file.write_text(text + LOGIN.format(url=url))


def nobody_answers(machine: Machine, server: Server) -> None:
    cloud(machine, "http://127.0.0.1:1/v3")


def wrong_password(machine: Machine, server: Server) -> None:
    server.say("POST", "/v3/auth/tokens", 401, {"error": {"code": 401, "message": "no"}})
    cloud(machine, f"{server.url}/v3")


def a_page_instead(machine: Machine, server: Server) -> None:
    server.say("POST", "/v3/auth/tokens", 200, b"<html>Welcome</html>")
    cloud(machine, f"{server.url}/v3")


def half_a_token(machine: Machine, server: Server) -> None:
    server.say("POST", "/v3/auth/tokens", 201, {"token": {}})
    cloud(machine, f"{server.url}/v3")


def database_is_none(machine: Machine, server: Server) -> None:
    machine.database.write_bytes(b"no database" * 100)
    cloud(machine, "http://127.0.0.1:1/v3")


def database_is_away(machine: Machine, server: Server) -> None:
    text = machine.config_file.read_text()
    away = text.replace(f"sqlite:///{machine.database}", "mysql+pymysql://u:p@127.0.0.1:1/vmha")
    machine.config_file.write_text(away)


def hosts_file_is_nonsense(machine: Machine, server: Server) -> None:
    machine.hosts("hosts: [h1, {")


def key_is_away(machine: Machine, server: Server) -> None:
    (machine.folder / "webhook.key").unlink()


def configuration_is_nonsense(machine: Machine, server: Server) -> None:
    machine.config_file.write_text("[guards]\nstorm_share = many\n")


def configuration_is_binary(machine: Machine, server: Server) -> None:
    machine.config_file.write_bytes(bytes(range(128, 256)))


TROUBLES: tuple[Callable[[Machine, Server], None], ...] = (
    nobody_answers, wrong_password, a_page_instead, half_a_token, database_is_none,
    database_is_away, hosts_file_is_nonsense, key_is_away, configuration_is_nonsense,
    configuration_is_binary,
)  # fmt: skip


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def test_every_command_is_tried() -> None:
    assert sorted(WORDS) == sorted(commands(manage.build_parser()))


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_no_traceback(
    machine: Machine,
    server: Server,
    name: str,
    trouble: Callable[[Machine, Server], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(machine.folder)
    trouble(machine, server)
    status, out, err = machine.manage(*name.split(), *WORDS[name])
    assert status in (0, 1)
    assert "Traceback" not in out + err
    assert manage.OWN_ERROR not in err
    assert "secret" not in out + err
    if status and not out:
        assert err.startswith("vmha-manage: ")
        assert len(err.splitlines()) <= 2


def test_what_nothing_reads_is_said_beside_the_answer(machine: Machine) -> None:
    machine.manage("db", "upgrade")
    machine.configure("[webhok]\nbase_url = http://192.0.2.1:8778\n")
    status, out, err = machine.manage("incident", "list", "--json")
    assert (status, json.loads(out)) == (0, [])
    assert err.startswith("vmha-manage: ") and "nothing reads [webhok]; did you mean" in err


def test_an_error_of_its_own_is_one_line_unless_asked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_more: object) -> object:
        raise KeyError("host")

    monkeypatch.setattr("vmha_remediator.conf.load", broken)
    status, _out, err = machine.manage("incident", "list")
    assert status == 1
    assert err == (
        "vmha-manage: an error of its own: KeyError: 'host'; report it, with what VMHA_DEBUG=1 "
        "shows\n"
    )
    monkeypatch.setenv("VMHA_DEBUG", "1")
    with pytest.raises(KeyError):
        machine.manage("incident", "list")
