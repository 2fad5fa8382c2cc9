# SPDX-License-Identifier: Apache-2.0
"""A host that is back has begun a request of before: whose incident cares for what that breaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.engine.sim import Sim
from tests.unit.remedy.build import facts
from vmha_remediator.engine.arrivals import Arrivals
from vmha_remediator.remedy.facts import Facts, Migration
from vmha_remediator.remedy.incident import Incident, VmRecord, VmStatus
from vmha_remediator.remedy.states import IncidentState as S

DONE = VmRecord("id-a", "a", "h1", status=VmStatus.DONE, dest="h3", started=1.0, finished=2.0)


class Back:
    """h2 is back from a failure, and its nova-compute has failed to run a VM of h1."""

    def __init__(self) -> None:
        self.sim = Sim()
        self.store, nova = self.sim.store, self.sim.world.nova
        self.epoch = self.store.claim_epoch("one")
        self.source = self._opened("h1")
        self.store.save_vms(self.source, [DONE], epoch=self.epoch)
        self.late = replace(self._opened("h2"), state=S.RECOVERED)
        self.failed = Migration(
            "m1", "id-a", "h1", "h2", "failed", 0.0, self.sim.world.clock.now() + 60
        )
        nova.boot("a", "h3")
        nova.records = [self.failed]

    def _opened(self, host: str) -> Incident:
        return self.store.open_incident(
            host, "failure", "recover", "critical", "it is dead", epoch=self.epoch
        )

    def look(self, **fields: float) -> Facts:
        known = replace(facts(None, heartbeat_age=0.5), **fields)  # type: ignore[arg-type]
        return Arrivals(self.store, self.sim.world.nova).look(self.late, known)


@pytest.fixture
def back() -> Back:
    return Back()


def test_it_is_the_incident_of_the_source_while_that_is_active(back: Back) -> None:
    assert back.look().late_for == ()


def test_then_it_is_that_of_the_late_host_with_all_that_is_needed(back: Back) -> None:
    back.store.move(back.source, S.CLEARED, "over", epoch=back.epoch)
    found = back.look()
    assert found.late_for == (DONE,)
    assert found.migrations == (back.failed,)
    assert [s.id for s in found.servers or ()] == ["id-a"]
    back.store.save_vms(back.late, [DONE], epoch=back.epoch)  # once it has taken that up
    back.late = replace(back.late, vms=(DONE,))
    assert back.look().late_for == ()
    assert back.look().migrations == (back.failed,)


def test_an_incident_that_waits_for_a_person_mends_nothing(back: Back) -> None:
    back.store.move(back.source, S.HELD, "held", epoch=back.epoch)
    assert back.look().late_for == (DONE,)


def test_what_was_on_its_way_when_it_failed_is_known_with_its_records(back: Back) -> None:
    late, now = back.late, back.sim.world.clock.now()
    twice = replace(DONE, attempts=2, started=now - 1, finished=now + 50)
    records = [replace(back.failed, id=f"m{n}", created=now + n) for n in (2, 3)]
    back.sim.world.nova.records = [replace(back.failed, created=now - 3600), *records]
    for known in (twice, replace(twice, finished=None)):
        back.store.save_vms(back.source, [known], epoch=back.epoch)
        assert back.look().asked == ((known, tuple(records)),)
    for known in (
        replace(twice, attempts=1),
        replace(twice, finished=late.opened - 1),
        replace(twice, started=late.updated + 1),
        replace(twice, old_host="h2"),
    ):
        back.store.save_vms(back.source, [known], epoch=back.epoch)
        assert back.look().asked == ()


def test_what_failed_before_the_host_did_is_no_matter(back: Back) -> None:
    back.store.move(back.source, S.CLEARED, "over", epoch=back.epoch)
    back.sim.world.nova.records = [replace(back.failed, updated=1.0)]
    assert back.look() == facts(None, heartbeat_age=0.5)


def test_a_host_that_is_not_heard_has_begun_nothing(back: Back) -> None:
    back.store.move(back.source, S.CLEARED, "over", epoch=back.epoch)
    assert back.look(heartbeat_age=60.0, lease_age=60.0).late_for == ()
