# SPDX-License-Identifier: Apache-2.0
"""Following an incident: how it ends, and what happens while the API is away."""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from keystoneauth1 import noauth
from keystoneauth1.session import Session
from osc_lib import exceptions

from tests.unit.effects.telemetry_server import Request, Server, serving
from vmha_remediator.osc.client import Client
from vmha_remediator.osc.watch import WatchIncident

PATH = "/v1/incidents/7"
AWAY = (502, b"<html>Bad Gateway</html>")


def incident(state: str, *steps: str) -> tuple[int, Any]:
    done = [{"step": name, "sentence": "done", "ok": True, "time": 12.0} for name in steps]
    found = {"state": state, "says": f"it is {state}", "advice": "look", "opened": 10.0}
    return 200, {"incident": found | {"steps": done}}


class Watch:
    """The command, against an API that gives one answer after another, the last one for ever."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.out, self.err = io.StringIO(), io.StringIO()

    def __call__(self, *answers: tuple[int, Any], patience: str = "60") -> int:
        left = list(answers)

        def answer(_: Request) -> tuple[int, Any]:
            return left.pop(0) if len(left) > 1 else left[0]

        self._server.decide["GET", PATH] = answer
        client = Client(Session(auth=noauth.NoAuth()), endpoint=self._server.url)
        app = SimpleNamespace(
            client_manager=SimpleNamespace(vmha=client), stdout=self.out, stderr=self.err
        )
        command = WatchIncident(app, None)
        words = ["7", "--interval", "0.01", "--patience", patience]
        return command.run(command.get_parser("watch").parse_args(words))


@pytest.fixture
def watch() -> Iterator[Watch]:
    with serving() as server:
        yield Watch(server)


@pytest.mark.parametrize(
    ("state", "status"), [("recovered", 0), ("cleared", 0), ("reported", 0), ("held", 3)]
)
def test_the_status_says_how_it_ended(watch: Watch, state: str, status: int) -> None:
    assert watch(incident("fencing"), incident(state)) == status


def test_a_short_absence_is_outlived_and_said_once(watch: Watch) -> None:
    status = watch(
        incident("fencing", "fence"), AWAY, AWAY, AWAY, incident("recovered", "fence", "evacuate")
    )
    assert status == 0
    first, second = watch.err.getvalue().splitlines()
    assert first.endswith("without JSON: is that address the vmha API's?; asking again for 60 s")
    assert second == "Note: it answers again, after 0 s"
    steps = [line.split(":")[0].split()[-1] for line in watch.out.getvalue().splitlines()[:-1]]
    assert steps == ["fence", "evacuate"]


def test_a_long_one_is_not(watch: Watch) -> None:
    with pytest.raises(exceptions.CommandError, match="502"):
        watch(incident("fencing"), AWAY, patience="0.05")
    assert len(watch.err.getvalue().splitlines()) == 1


def test_who_has_no_patience_is_told_at_once(watch: Watch) -> None:
    with pytest.raises(exceptions.CommandError, match="502"):
        watch(incident("fencing"), AWAY, patience="0")
    assert not watch.err.getvalue()


def test_an_api_that_was_never_there_is_not_waited_for(watch: Watch) -> None:
    with pytest.raises(exceptions.CommandError, match="502"):
        watch(AWAY)


def test_a_refusal_is_no_absence(watch: Watch) -> None:
    gone = {"error": {"code": "no-such", "reason": "no incident 7", "way_out": "list them"}}
    with pytest.raises(exceptions.CommandError, match="no incident 7; list them"):
        watch(incident("fencing"), (404, gone))
    assert not watch.err.getvalue()
