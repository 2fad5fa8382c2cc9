# SPDX-License-Identifier: Apache-2.0
"""What may be concluded from what Ironic has stored of a node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from vmha_remediator.errors import FencingError
from vmha_remediator.fencing.contract import Power
from vmha_remediator.fencing.ironic import Node, _Asked
from vmha_remediator.fencing.ironic_api import Api

ON = Node("u", "power on", None, None, maintenance=False, reservation=None)
OFF = replace(ON, power="power off")


class Requests:
    """Counts what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def put(self, path: str, body: Any) -> None:
        self.sent.append(body)


@pytest.fixture
def api() -> Requests:
    return Requests()


def ask(asked: _Asked, api: Requests) -> bool:
    return asked.power_off(cast(Api, api), "n")


def test_a_stored_off_is_not_believed_before_ironic_was_asked(api: Requests) -> None:
    asked = _Asked()

    assert asked.read(OFF) is Power.UNKNOWN
    ask(asked, api)
    assert asked.read(OFF) is Power.OFF


@pytest.mark.parametrize(
    "under_way", [replace(OFF, target="power off"), replace(OFF, reservation="conductor-1")]
)
def test_nor_while_ironic_works_on_it_nor_is_it_asked_again(
    api: Requests, under_way: Node
) -> None:
    asked = _Asked()
    ask(asked, api)

    assert asked.read(under_way) is Power.UNKNOWN
    assert not ask(asked, api) and len(api.sent) == 1
    assert asked.read(OFF) is Power.OFF


def test_a_failure_that_ironic_reports_is_told_and_it_is_asked_again(api: Requests) -> None:
    asked = _Asked()
    ask(asked, api)

    with pytest.raises(FencingError, match="Ironic says: the BMC is away"):
        asked.read(replace(OFF, error="the BMC\nis away"))

    assert ask(asked, api) and len(api.sent) == 2
