# SPDX-License-Identifier: Apache-2.0
"""Two leaders: the elder one neither writes nor acts.

That an engine may die anywhere is shown by tests/scenarios/test_crashes.py.
"""

from __future__ import annotations

import pytest

from tests.unit.engine.sim import Sim
from vmha_remediator.errors import StaleEpoch
from vmha_remediator.remedy.states import IncidentState


def _dead_host() -> Sim:
    """Return the state of affairs a moment after a host has lost power."""
    sim = Sim()
    sim.world.nova.boot("a", "h1")
    sim.world.nova.boot("b", "h1")
    sim.run(1)
    sim.world.power_off("h1")
    sim.run(7)
    assert sim.state("h1") == "none"
    return sim


def test_a_deposed_leader_neither_writes_nor_acts() -> None:
    sim = _dead_host()
    sim.run_until(lambda: sim.state("h1") == "detected" or sim.state("h1") == "recovered")
    incident = sim.incident("h1")
    epoch = sim.engine.epoch
    assert epoch is not None
    sim.store.claim_epoch("another engine")
    evacuated = len(sim.world.noted("evacuate"))

    with pytest.raises(StaleEpoch):
        sim.store.move(incident, IncidentState.HELD, "too late", epoch=epoch)
    with pytest.raises(StaleEpoch):
        sim.store.begin_step(incident, "evacuate", "too late", epoch=epoch)
    assert len(sim.world.noted("evacuate")) == evacuated


def test_two_leaders_move_no_vm_twice() -> None:
    sim = _dead_host()
    elder, younger = sim.engine, sim.new_engine()
    for turn in range(400):
        sim.world.pass_time()
        (elder if turn % 2 else younger)._guarded_cycle()
        if sim.state("h1") == "recovered":
            break
    assert sim.state("h1") == "recovered", sim.story()
    assert sorted(sim.world.noted("evacuate")) == ["a", "b"]
