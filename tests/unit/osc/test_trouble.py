# SPDX-License-Identifier: Apache-2.0
"""Every command with a service that is down, refuses, or is something else: one sentence."""

from __future__ import annotations

import configparser
import io
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import noauth
from keystoneauth1.session import Session
from osc_lib import exceptions

from tests.unit.effects.telemetry_server import Server, serving
from vmha_remediator.osc.client import Client

REPO = Path(__file__).parents[3]
#: Words by which each command can be run; a command that is missing here fails the test.
WORDS: dict[str, tuple[str, ...]] = {
    "vmha alarm list": (),
    "vmha capacity list": (),
    "vmha host confirm-fenced": ("h1", "--yes"),
    "vmha host list": (),
    "vmha host recover": ("h1", "--yes"),
    "vmha host release": ("h1", "--yes"),
    "vmha host show": ("h1",),
    "vmha incident cancel": ("7", "--reason", "a drill", "--yes"),
    "vmha incident list": (),
    "vmha incident release": ("7", "--yes"),
    "vmha incident retry": ("7",),
    "vmha incident show": ("7",),
    "vmha incident watch": ("7",),
    "vmha maintenance set": ("h1", "--reason", "new memory"),
    "vmha maintenance unset": ("h1",),
    "vmha protection list": (),
}
#: What may be behind an address, or come of a half-way upgrade.
MALFORMED: dict[str, Any] = {
    "html": b"<html>502 Bad Gateway</html>",
    "half": b'{"hosts": [',
    "nothing": b"",
    "a list": [],
    "a number": 7,
    "null": None,
    "empty": {},
    "of other names": {"services": []},
    "of other types": dict.fromkeys(
        ("hosts", "host", "incidents", "incident", "servers", "alarms", "trouble", "fit"), 7
    ),
    "of other records": {
        "trouble": [], "next": None, "fit": "fits", "says": "x", "reading": False,
        **{name: [{"x": 1}] for name in ("hosts", "incidents", "servers", "alarms")},
        **{name: {"x": 1} for name in ("host", "incident")},
    },
}  # fmt: skip


def commands() -> dict[str, str]:
    setup = configparser.ConfigParser()
    setup.read(REPO / "setup.cfg")
    lines = setup["options.entry_points"]["openstack.vmha.v1"].strip().splitlines()
    pairs = (line.split(" = ") for line in lines)
    return {name.replace("_", " "): where for name, where in pairs}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def run(name: str, url: str, session: Any = None) -> int:
    """Run a command as openstackclient runs it, against the API at `url`."""
    session = session or Session(auth=noauth.NoAuth())
    app = SimpleNamespace(
        client_manager=SimpleNamespace(vmha=Client(session, endpoint=url)),
        stdout=io.StringIO(),
        stderr=io.StringIO(),
    )
    module, _, kind = commands()[name].partition(":")
    command = getattr(import_module(module), kind)(app, None)
    status: int = command.run(command.get_parser(name).parse_args(WORDS[name]))
    return status


def test_every_command_is_tried() -> None:
    assert set(WORDS) == set(commands())


@pytest.mark.parametrize("name", WORDS)
def test_a_service_that_is_down(name: str) -> None:
    with pytest.raises(exceptions.CommandError, match="the vmha API cannot be reached"):
        run(name, "http://127.0.0.1:1")


@pytest.mark.parametrize("name", WORDS)
def test_a_wrong_password(name: str) -> None:
    class Refused:
        def request(self, *_args: Any, **_more: Any) -> Any:
            raise ks_exc.Unauthorized("The request you have made requires authentication.")

    with pytest.raises(exceptions.CommandError, match="Keystone refused the login"):
        run(name, "http://127.0.0.1:1", Refused())


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("status", [200, 502])
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_an_answer_of_something_else(server: Server, name: str, status: int, body: Any) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        server.decide |= {(method, path): lambda _: (status, body) for path in PATHS}
    with pytest.raises(exceptions.CommandError) as refused:
        run(name, server.url)
    said = str(refused.value)
    assert len(said) > 20
    assert "vmha API" in said or "answers" in said


PATHS = [
    *("/v1/alarms", "/v1/capacity", "/v1/hosts", "/v1/incidents", "/v1/protection"),
    *(f"/v1/hosts/h1{rest}" for rest in ("", "/confirm-fenced", "/recover", "/release",
                                         "/maintenance")),
    *(f"/v1/incidents/7{rest}" for rest in ("", "/cancel", "/release", "/retry")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vmha incident show", ("0",)),
        ("vmha incident show", ("seven",)),
        ("vmha incident list", ("--limit", "-1")),
        ("vmha incident watch", ("7", "--interval", "0")),
        ("vmha incident watch", ("7", "--interval", "nan")),
        ("vmha incident watch", ("7", "--patience", "-1")),
        ("vmha maintenance set", ("h1", "--reason", "x", "--hours", "inf")),
    ],
)
def test_nonsense_on_the_command_line_is_understood_as_that(
    name: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    module, _, kind = commands()[name].partition(":")
    command = getattr(import_module(module), kind)(SimpleNamespace(), None)
    with pytest.raises(SystemExit) as ended:
        command.get_parser(name).parse_args(words)
    assert ended.value.code == 2
    assert "above 0" in capsys.readouterr().err


@pytest.mark.parametrize("name", WORDS)
def test_help_teaches(name: str) -> None:
    """Each says in its first line what it does, and explains every argument.

    Where more follows, that line is a sentence: both are printed as one paragraph.
    """
    module, _, kind = commands()[name].partition(":")
    command = getattr(import_module(module), kind)(SimpleNamespace(), None)
    first, *more = command.get_description().splitlines()
    assert 10 < len(first) < 100
    assert first.endswith((".", "?")) is bool(more)
    for action in command.get_parser(name)._actions:
        assert action.help, f"{name}: {action.dest}"
