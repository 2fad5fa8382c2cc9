# SPDX-License-Identifier: Apache-2.0
"""Telling over the network: exactly once, in order, and never at the engine's expense."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from vmha_remediator import conf as config
from vmha_remediator.effects.report_apprise import Apprise
from vmha_remediator.effects.report_aside import Aside
from vmha_remediator.effects.report_notify import Notifications, payload
from vmha_remediator.effects.reporters import make_reporters
from vmha_remediator.errors import ConfigError, NotTold
from vmha_remediator.remedy.incident import Change
from vmha_remediator.remedy.states import IncidentState as S

HELD = Change(7, 3, "h2", "failure", "critical", 1000.0, S.DETECTED, S.HELD, "3 of 4 hosts fail")


class Listener(http.server.BaseHTTPRequestHandler):
    """Takes JSON in and remembers it."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(self.server.answer)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    server.taken, server.answer = [], 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def addresses(folder: Path, *lines: str) -> str:
    file = folder / "apprise"
    file.write_text("\n".join(lines))
    return str(file)


def test_apprise_tells_title_and_sentence(tmp_path: Path, web: Any) -> None:
    file = addresses(tmp_path, "# on call", f"json://127.0.0.1:{web.server_port}/")
    Apprise(file, ["held"], 5.0).report(HELD)
    (told,) = web.taken
    assert told["title"] == "failure of h2: held"
    assert told["message"] == "3 of 4 hosts fail"
    assert told["type"] == "failure"


def test_a_state_that_is_not_wanted_is_not_told(tmp_path: Path, web: Any) -> None:
    file = addresses(tmp_path, f"json://127.0.0.1:{web.server_port}/")
    Apprise(file, ["recovered"], 5.0).report(HELD)
    assert web.taken == []


def test_an_address_that_refuses_is_no_success(tmp_path: Path, web: Any) -> None:
    web.answer = 500
    file = addresses(tmp_path, f"json://127.0.0.1:{web.server_port}/")
    with pytest.raises(NotTold):
        Apprise(file, ["held"], 5.0).report(HELD)


def test_a_wrong_address_is_named_by_its_line_and_not_shown(tmp_path: Path) -> None:
    file = addresses(tmp_path, "", "nosuch://user:hunter2@host")
    with pytest.raises(ConfigError, match="line 2") as refused:
        Apprise(file, ["held"], 5.0)
    assert "hunter2" not in str(refused.value)


def test_a_state_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such state: hold"):
        Apprise(addresses(tmp_path), ["hold"], 5.0)


class Slow:
    """Takes its time, and fails for one change."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.told: list[int] = []

    def report(self, change: Change) -> None:
        self.go.wait(10)
        if change.id == 2:
            raise NotTold("nobody")
        self.told.append(change.id)


def change(number: int) -> Change:
    return Change(number, 1, "h1", "failure", "low", 0.0, None, S.DETECTED, "x")


def test_a_slow_reporter_holds_nobody_up_and_one_failure_loses_one_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow = Slow()
    aside = Aside(slow, "mail")
    for number in (1, 2, 3):
        aside.report(change(number))
    assert slow.told == []
    slow.go.set()
    aside.close()
    assert slow.told == [1, 3]
    assert "incident 1: detected could not be told by mail: NotTold" in caplog.text


@pytest.fixture
def conf() -> cfg.ConfigOpts:
    return config.load(config_files=[])


def test_a_notification_holds_the_whole_change(conf: cfg.ConfigOpts) -> None:
    """oslo.messaging's own in-memory driver carries it from notifier to listener."""
    import oslo_messaging

    conf.set_override("notification_url", "fake://", group="report")
    got: list[tuple[str, dict[str, Any]]] = []
    arrived = threading.Event()

    class Endpoint:
        def warn(self, ctxt: Any, publisher: str, event: str, body: Any, meta: Any) -> None:
            got.append((event, body))
            arrived.set()

    notifications = Notifications(conf)
    listener = oslo_messaging.get_notification_listener(
        oslo_messaging.get_notification_transport(conf, url="fake://"),
        [oslo_messaging.Target(topic="notifications")],
        [Endpoint()],
        executor="threading",
    )
    listener.start()
    notifications.report(HELD)
    assert arrived.wait(10)
    listener.stop()
    listener.wait()
    assert got == [("vmha.incident.held", payload(HELD))]


def test_a_transport_that_does_not_exist_is_refused_without_its_secret(
    conf: cfg.ConfigOpts,
) -> None:
    conf.set_override("notification_url", "nosuch://user:hunter2@host/", group="report")
    with pytest.raises(ConfigError, match="notification_url") as refused:
        make_reporters(conf)
    assert "hunter2" not in str(refused.value)
