# SPDX-License-Identifier: Apache-2.0
"""A host that Nova refuses for its cell: known by the journal's column, whatever its words."""

from __future__ import annotations

import pytest

from tests.unit.engine.sim import Sim
from vmha_remediator.errors import OtherCell
from vmha_remediator.remedy.candidates import SPREAD
from vmha_remediator.remedy.policy import Policy


class Reworded(OtherCell):
    """The refusal as another version may put it."""

    def __str__(self) -> str:
        return "Nova does not like that host"


def test_no_vm_is_sent_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Sim(Policy(candidates=SPREAD, parallel=1))
    for name in ("a", "b", "c"):
        sim.world.nova.boot(name, "h1")
    asked: list[str] = []
    evacuate = sim.world.nova.evacuate

    def choosy(server_id: str, dest: str | None = None) -> None:
        asked.append(str(dest))
        if dest == asked[0]:
            raise Reworded(dest, "500")
        evacuate(server_id, dest)

    monkeypatch.setattr(sim.world.nova, "evacuate", choosy)
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    assert asked.count(asked[0]) == 1
    assert len(asked) == 4
    failed = [step for step in sim.incident("h1").steps if step.ok is False]
    assert [step.other_cell for step in failed] == [asked[0]]
