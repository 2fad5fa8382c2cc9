# SPDX-License-Identifier: Apache-2.0
"""Faults of the lab's table that are no failure: told apart, reported, nothing moved or killed.

Those marked quick; `make soak` plays them all.
"""

from __future__ import annotations

import pytest

from tests.lab.drill.play import Player
from tests.lab.drill.table import FAULTS, Fault
from tests.lab.observe import compute_services
from tests.lab.suite.conftest import Cloud

pytestmark = pytest.mark.lab


@pytest.fixture(scope="session")
def player(_cloud: Cloud) -> Player:
    return Player(_cloud.observer, strict=False)


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.quick], ids=lambda fault: fault.name)
def test_it_gets_its_verdict_and_nothing_else_comes_of_it(player: Player, fault: Fault) -> None:
    played = player.play(fault)
    assert played.problems == ()
    assert set(compute_services().values()) == {"up"}  # none was left disabled or forced down
