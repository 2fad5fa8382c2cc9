# SPDX-License-Identifier: Apache-2.0
"""A crowd is judged as every cluster is, although few of its hosts are looked at one by one."""

from __future__ import annotations

import random
import uuid
from dataclasses import replace

import pytest

from vmha_pollsters.agent.witness.crew import Cast, Crew, Known
from vmha_pollsters.agent.witness.fusion import aged, believed, fuse
from vmha_pollsters.agent.witness.limits import limits
from vmha_pollsters.agent.witness.peers import is_well
from vmha_pollsters.agent.witness.qualification import Me, qualify
from vmha_pollsters.agent.witness.roster import next_roster
from vmha_pollsters.lease.contract import Sight
from vmha_pollsters.lease.layout import NO_OPINION, Flag, Opinion, Probe, Roster, Slot
from vmha_pollsters.lease.views import Views

LIMITS = limits()
HOSTS = 60
MINE = 0
WITNESSES = (0, 1, 2)
FLAGS = (
    [Flag.QUALIFIED] * 12
    + [Flag.QUALIFIED | Flag.WATCHDOG] * 2
    + [Flag(0), Flag.CLAIMING, Flag.LEAVING, Flag.QUALIFIED | Flag.ISOLATED]
)


def cluster(seed: int) -> tuple[Crew, dict[int, Slot], Known]:
    """Return a crowd in which a few hosts are in any kind of trouble."""
    chance = random.Random(seed)
    opinions = [
        Opinion(chance.choice([None, chance.uniform(0, 9)]), chance.uniform(0, 9))
        for _ in range(chance.choice([HOSTS, HOSTS - 20]))
    ]
    views = Views.of(opinions)
    slots = {
        n: Slot(
            n,
            f"h{n}",
            f"192.0.2.{n}",
            uuid.UUID(int=n),
            b"n" * 16,
            1,
            9,
            chance.choice(FLAGS) if n not in WITNESSES else Flag.QUALIFIED,
            chance.choice([0, 0, 0, 5]),
            views=views if n in WITNESSES else (),
        )
        for n in range(HOSTS)
        if n in WITNESSES or chance.random() < 0.95
    }
    odd = chance.choice([0.0, 0.1, 0.9])

    def age(most: float) -> float | None:
        return chance.choice([None, most, 9.0]) if chance.random() < odd else chance.uniform(0, 2)

    sights = {
        n: Sight(age(5.0), 0.0, "damaged" if chance.random() < 0.05 else None)
        for n in slots
        if n in WITNESSES or chance.random() < 0.98
    }
    heard = {slot.host: age(3.0) for n, slot in slots.items() if n != MINE}
    clocks = {
        host: chance.uniform(-0.1, 3.0 * odd)
        for host, said in heard.items()
        if said is not None and said < LIMITS.hears
    }
    probes = {host: chance.choice(list(Probe)) for host in heard if chance.random() < 0.2}
    fresh = sights if chance.random() < 0.5 else {n: Sight(1.0, 0.0) for n in slots}
    known = Known(heard, clocks, probes, sights, fresh, MINE)
    return Crew(Cast(slots), slots, known), slots, known


@pytest.mark.parametrize("seed", range(150))
def test_a_witness_concludes_the_same_as_if_it_had_looked_at_everybody(seed: int) -> None:
    crew, _slots, _known = cluster(seed)
    everybody = tuple(crew)
    few, rest = crew.split(LIMITS, WITNESSES)
    assert {p.slot for p in few} | rest.slots == {p.slot for p in everybody}
    assert not {p.slot for p in few} & rest.slots
    assert all(is_well(p, LIMITS) for p in everybody if p.slot in rest.slots)

    me = Me(slot=MINE, write_age=0.5, read_age=0.5, listening=99.0, reading=99.0)
    sure = qualify(me, few, LIMITS, rest)
    assert sure == qualify(me, everybody, LIMITS)

    roster = Roster(MINE, WITNESSES, frozenset(range(HOSTS)), 1, 1, MINE)
    waits = dict.fromkeys(WITNESSES, 0.0)
    for stale in (False, True):
        assert next_roster(MINE, few, roster, stale, waits, LIMITS, rest) == next_roster(
            MINE, everybody, roster, stale, waits, LIMITS
        )

    views = believed(me, replace(sure, ok=True), few, roster, LIMITS, rest)
    all_views = believed(me, replace(sure, ok=True), everybody, roster, LIMITS)
    assert fuse(everybody, views, LIMITS) == fuse(everybody, all_views, LIMITS)
    well = [r for r in fuse(everybody, views, LIMITS) if r.slot in rest.slots]
    assert sorted(crew.fuse(rest.slots, views)) == (well if views else [])
    suspects = [r for r in fuse(everybody, views, LIMITS) if r.suspect]
    assert {r.slot for r in suspects} - {MINE} <= {p.slot for p in few}


def test_its_view_says_of_every_slot_what_it_knows() -> None:
    crew, slots, _known = cluster(7)
    said = crew.view(HOSTS + 5, heard_by=0.2)
    wanted = [aged(crew.opinions[n], 0.2) if n in slots else NO_OPINION for n in range(HOSTS + 5)]
    assert said.columns == Views.of(wanted).columns


def test_two_slots_with_one_name_are_seen() -> None:
    _crew, slots, _known = cluster(1)
    assert not Cast(slots).doubles
    assert Cast({**slots, 1: replace(slots[1], host="h2")}).doubles


def test_a_crew_is_asked_like_a_list() -> None:
    crew, slots, _known = cluster(3)
    assert len(crew) == len(slots) == len(list(crew))
    assert [p.slot for p in crew[::8]] == [p.slot for p in list(crew)[::8]]
    assert [p.host for p in crew.pick([2, 1])] == ["h2", "h1"]
