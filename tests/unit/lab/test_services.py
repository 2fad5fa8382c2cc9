# SPDX-License-Identifier: Apache-2.0
"""Services of the controller: taken ports, early deaths, names."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import layout, process, services
from tests.lab.errors import LabError
from tests.lab.services import base

EVERY = services.ALL + services.OPTIONAL


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Keystone's port, on which somebody else listens already."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        monkeypatch.setattr(layout, "CONTROLLER", "127.0.0.1")
        monkeypatch.setitem(layout.PORTS, "keystone", port)
        yield port


def test_a_taken_port_is_named_with_its_holder(taken: int) -> None:
    with pytest.raises(LabError, match=rf"keystone needs port {taken} .*process {os.getpid()} "):
        base.check_port("keystone")


def test_a_free_port_is_fine(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(layout.PORTS, "keystone", 0)
    base.check_port("keystone")


def test_a_service_that_dies_while_starting_is_told_with_its_last_words(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab / "log/nova.log").write_text("starting\nno such option: colour\n")
    monkeypatch.setattr(process, "spawn", lambda *_, **__: None)
    broken = base.Service("nova", argv=lambda: ["nova"], ready=lambda: False)
    with pytest.raises(LabError, match=r"nova ended while starting.*no such option: colour"):
        base.start(broken)


def test_a_service_that_answers_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "alive", lambda _: True)
    fine = base.Service("nova", argv=lambda: pytest.fail("started"), ready=lambda: True)
    assert base.start(fine) == "runs already"


def test_names_and_ports_belong_to_one_service_each() -> None:
    names = [service.name for service in EVERY]
    ports = [port for service in EVERY for port in service.ports]
    assert len(names) == len(set(names))
    assert sorted(ports) == sorted(layout.PORTS)


def test_what_a_service_needs_exists() -> None:
    names = {service.name for service in services.ALL}
    assert {need for service in services.ALL for need in service.needs} <= names


def test_an_unknown_service_is_answered_with_those_there_are() -> None:
    with pytest.raises(LabError, match=r"no service 'novaa'.*nova-conductor"):
        services.find("novaa")
