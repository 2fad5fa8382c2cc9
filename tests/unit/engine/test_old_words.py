# SPDX-License-Identifier: Apache-2.0
"""What was true once proves nothing later: a person's word, a reading, a clock."""

from __future__ import annotations

import pytest

from tests.unit.engine.sim import Sim


@pytest.fixture
def sim() -> Sim:
    """Return a cloud in which h1 has no BMC that works, and has failed with one VM on it."""
    sim = Sim()
    sim.world.nova.boot("a", "h1")
    sim.world.fencing.outcome = "dead"
    sim.run(2)
    sim.world.power_off("h1")
    sim.run_until(lambda: sim.state("h1") == "held")
    return sim


def test_a_persons_word_is_used_up_by_the_fencing_that_it_was_given_for(sim: Sim) -> None:
    sim.world.nova.full = True  # so that the VM stays on h1
    sim.store.confirm_fenced("h1", "ann")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    sim.world.hosts["h1"].powered = True
    sim.world.hosts["h1"].compute = False  # so that it is not taken back
    sim.run(20)
    sim.world.run_guest("id-a", "h1")  # somebody starts it there
    sim.world.cut_off("h1")
    sim.world.nova.full = False
    sim.run(120)

    assert sim.world.runs_on("id-a") == ["h1"]  # TwoRun would have been raised
    assert (sim.state("h1"), sim.incident("h1").held_by) == ("held", "no-proof")


def test_a_word_given_while_its_host_is_proven_off_does_not_wait_for_the_next_failure(
    sim: Sim,
) -> None:
    sim.world.nova.full = True
    sim.store.confirm_fenced("h1", "ann")
    sim.run_until(lambda: sim.state("h1") == "recovered")
    sim.store.confirm_fenced("h1", "bob")
    sim.world.hosts["h1"].powered = True
    sim.world.hosts["h1"].compute = False
    sim.run(20)
    sim.world.run_guest("id-a", "h1")
    sim.world.cut_off("h1")
    sim.world.nova.full = False
    sim.run(120)

    assert sim.world.runs_on("id-a") == ["h1"]


def test_the_word_of_a_person_who_took_another_machine_for_it_is_dropped() -> None:
    sim = Sim()
    sim.world.nova.boot("a", "h1")
    sim.world.fencing.outcome = "dead"
    sim.run(2)
    sim.world.cut_off("h1")  # it lives
    sim.run_until(lambda: sim.state("h1") == "held")
    sim.world.heal("h1")
    sim.run(5)
    sim.store.confirm_fenced("h1", "ann")  # who has pulled another machine's plug
    sim.run(5)
    sim.world.cut_off("h1")
    sim.run(120)

    assert sim.world.runs_on("id-a") == ["h1"]
    assert sim.state("h1") == "held"
    assert any("does not count any more" in step.sentence for step in sim.incident("h1").steps)


def test_a_word_that_lets_a_host_be_fenced_again_is_kept_until_then(sim: Sim) -> None:
    """The host was found alive; a person pulls its plug and says so before releasing it."""
    sim.world.nova.full = True
    sim.store.confirm_fenced("h1", "ann")
    sim.run_until(lambda: sim.state("h1") == "evacuating")
    sim.world.hosts["h1"].powered = True
    sim.run_until(lambda: sim.incident("h1").held_by == "still-alive")
    sim.world.power_off("h1")
    sim.run(20)
    sim.world.nova.full = False
    sim.store.confirm_fenced("h1", "bob")
    sim.store.release(sim.incident("h1").id, "bob")
    sim.run_until(lambda: sim.state("h1") == "recovered")

    assert "bob confirmed" in sim.incident("h1").proof.evidence
    assert sim.world.runs_on("id-a") not in ([], ["h1"])
