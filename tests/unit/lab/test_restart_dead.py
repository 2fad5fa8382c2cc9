# SPDX-License-Identifier: Apache-2.0
"""Guests that died with their host are restarted, though Nova may just be at work on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.lab import boot, nova_api
from tests.lab.errors import Busy
from tests.lab.guests import GuestView

DEAD = GuestView("id-a", "a", True, "ACTIVE", None, "h1", (), "h1", None, 9.0)


def test_a_guest_that_nova_begins_to_stop_in_that_moment_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopping = replace(DEAD, task="powering-off")
    stopped = replace(DEAD, status="SHUTOFF")
    looks = iter([[DEAD], [stopping], [stopped], [replace(stopped, task="rebooting_hard")]])
    answers: Iterator[Exception | None] = iter([Busy("it is powering-off"), None])
    asked: list[str] = []

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        asked.append(path)
        if error := next(answers):
            raise error
        return body

    monkeypatch.setattr(boot, "_dead", lambda _on: next(looks))
    monkeypatch.setattr(nova_api, "post", post)
    assert boot.restart_dead("h1") == ["a"]
    assert asked == ["/servers/id-a/action"] * 2
