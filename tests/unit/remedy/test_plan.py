# SPDX-License-Identifier: Apache-2.0
"""The planner: each state, met with the facts that it may meet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.remedy.build import NOW, facts, in_doubt, incident, no_measures, server, service
from vmha_remediator.remedy.facts import Cluster, Facts, Migration
from vmha_remediator.remedy.incident import Incident, ProofRecord, StepRecord, VmRecord, VmStatus
from vmha_remediator.remedy.plan import next_steps
from vmha_remediator.remedy.steps import Evacuate, Hold, Move, Plan
from vmha_remediator.rules.judge import State

OLD = ProofRecord("redfish", "power is off", "power reads off", NOW - 120)
WAITING = VmRecord("id-a", "a", "h1", vm_state="active")
DONE = VmRecord("id-a", "a", "h1", status=VmStatus.DONE, vm_state="active", dest="h2")
RECORD_DONE = Migration("m1", "id-a", "h1", "h2", "done", NOW - 2)
FORCED = service(forced_down=True)


def shape(plan: Plan) -> list[str]:
    """Return a plan as words: a move as its state, a hold with what holds it."""
    words = []
    for step in plan.steps:
        if isinstance(step, Move):
            words.append(f"-> {step.to}")
        elif isinstance(step, Hold):
            words.append(f"hold {step.by}")
        else:
            words.append(step.name)
    return words


CASES: list[tuple[str, Incident, Facts, list[str]]] = [
    ("a failure that stands is confirmed", incident("detected"), facts(), ["-> confirmed"]),
    ("healed: cleared", incident("detected"), facts(None), ["-> cleared"]),
    ("healed after confirmation: cleared", incident("confirmed"), facts(None), ["-> cleared"]),
    ("gone, and nothing shows that it is over: waits", incident("detected"), in_doubt(), []),
    ("the same after confirmation: waits", incident("confirmed"), in_doubt(), []),
    ("unknown: waits", incident("detected"), no_measures(), []),
    ("unknown after confirmation: waits", incident("confirmed"), no_measures(), []),
    ("another verdict stands: cleared", incident("detected"), facts("isolation"), ["-> cleared"]),
    (
        "no service in Nova: held",
        incident("detected"),
        facts(service=None),
        ["hold no-service"],
    ),
    ("confirmed: fenced", incident("confirmed"), facts(), ["-> fencing", "fence"]),
    ("fencing begun, outcome unknown: again", incident("fencing"), facts(), ["fence"]),
    ("fencing begun, telemetry silent: again", incident("fencing"), no_measures(), ["fence"]),
    (
        "fencing begun, heard again: a person",
        incident("fencing"),
        facts(None, power="on"),
        ["hold heard-again"],
    ),
    ("fencing begun, one witness lags behind: again", incident("fencing"), in_doubt(), ["fence"]),
    (
        "fencing begun, its lease is renewed: a person",
        incident("fencing"),
        in_doubt(lease_age=4.9),
        ["hold heard-again"],
    ),
    ("fencing begun, off after all", incident("fencing"), facts(None, power="off"), ["fence"]),
    (
        "fenced without a proof: held",
        incident("fenced", proof=None),
        facts(),
        ["hold no-proof"],
    ),
    (
        "fenced: forced down, written down, moved",
        incident("fenced"),
        facts(servers=(server("a"), server("b", tags=frozenset()))),
        ["force-down", "journal-vms", "-> evacuating", "evacuate"],
    ),
    (
        "fenced and forced down before the crash",
        incident("fenced"),
        facts(service=FORCED, servers=(server("a"),)),
        ["journal-vms", "-> evacuating", "evacuate"],
    ),
    ("fenced, no VM", incident("fenced"), facts(service=FORCED), ["-> evacuating"]),
    ("fenced and yet heard: noted", incident("fenced"), facts(None), ["note"]),
    (
        "fenced and heard for long: held",
        incident("fenced", heard_since=NOW - 11),
        facts(None, power="off"),
        ["hold still-alive"],
    ),
    (
        "fenced, an old proof, power on again: anew",
        incident("fenced", proof=OLD),
        facts(power="on"),
        ["-> detected"],
    ),
    (
        "fenced, an old proof, nothing readable: waits",
        incident("fenced", proof=OLD),
        no_measures(servers=(server("a"),), power="unknown"),
        [],
    ),
    (
        "evacuating: what is left is moved",
        incident("evacuating", vms=(WAITING,)),
        facts(service=FORCED, servers=(server("a"),)),
        ["evacuate"],
    ),
    (
        "evacuating, somebody took the force-down back",
        incident("evacuating", vms=(WAITING,)),
        facts(servers=(server("a"),)),
        ["force-down", "evacuate"],
    ),
    (
        "evacuating, telemetry silent, fresh proof: goes on",
        incident("evacuating", vms=(WAITING,)),
        no_measures(service=FORCED, servers=(server("a"),)),
        ["evacuate"],
    ),
    (
        "evacuating, Nova not readable: waits",
        incident("evacuating", vms=(WAITING,)),
        facts(servers=None),
        [],
    ),
    (
        "evacuating, all there: recovered",
        incident("evacuating", vms=(DONE,)),
        facts(service=FORCED, migrations=(RECORD_DONE,)),
        ["-> recovered"],
    ),
    (
        "recovered, still dead: waits",
        incident("recovered", vms=(DONE,)),
        facts(service=FORCED, migrations=(RECORD_DONE,)),
        [],
    ),
    (
        "recovered, heard: noted",
        incident("recovered", vms=(DONE,)),
        facts(None, service=FORCED),
        ["note"],
    ),
    (
        "back, but its records are open: waits for nova-compute",
        incident("recovered", vms=(DONE,), heard_since=NOW - 9),
        facts(None, service=service(forced_down=True, updated_at=NOW), migrations=(RECORD_DONE,)),
        [],
    ),
    (
        "back, nova-compute silent: waits",
        incident("recovered", vms=(DONE,), heard_since=NOW - 9),
        facts(None, service=FORCED),
        [],
    ),
    (
        "back and well: readmitted",
        incident("recovered", vms=(DONE,), heard_since=NOW - 9, proof=OLD),
        facts(None, service=service(forced_down=True, updated_at=NOW)),
        ["unforce", "-> readmitted"],
    ),
    (
        "back, forced down by an operator before us: that stays",
        incident("recovered", heard_since=NOW - 9, proof=OLD, forced_by_us=False),
        facts(None, service=service(forced_down=True, updated_at=NOW)),
        ["-> readmitted"],
    ),
    (
        "failed again after it was heard: judged anew",
        incident("recovered", heard_since=NOW - 60, proof=OLD),
        facts(service=FORCED, power="on"),
        ["-> detected"],
    ),
    ("reported and standing", incident("reported", rule="isolation"), facts("isolation"), []),
    (
        "reported, over: noted first",
        incident("reported", rule="isolation"),
        facts(None),
        ["note"],
    ),
    (
        "reported, over for long: cleared",
        incident("reported", rule="isolation", well_since=NOW - 60),
        facts(None),
        ["-> cleared"],
    ),
    (
        "reported, back again: the note is taken back, and it counts once more",
        incident("reported", rule="isolation", well_since=NOW - 2),
        facts("isolation"),
        ["count-onset"],
    ),
    ("reported, silence: stands", incident("reported", rule="isolation"), no_measures(), []),
    (
        "reported, now a failure: makes room at once",
        incident("reported", rule="isolation"),
        facts("failure"),
        ["-> cleared"],
    ),
    (
        "storage lost: scheduling off",
        incident("reported", rule="storage-lost"),
        facts("storage-lost", deeds=("disable-scheduling",)),
        ["disable-scheduling"],
    ),
    (
        "storage back: scheduling on, where we had disabled it",
        incident("reported", rule="storage-lost", well_since=NOW - 60),
        facts(None, service=service(enabled=False, disabled_reason="vmha: storage-lost")),
        ["enable-scheduling", "-> cleared"],
    ),
    (
        "storage back: an operator's disabling stays",
        incident("reported", rule="storage-lost", well_since=NOW - 60),
        facts(None, service=service(enabled=False, disabled_reason="repair")),
        ["-> cleared"],
    ),
    ("held before fencing, over", incident("held", held_by="storm"), facts(None), ["-> cleared"]),
    ("held, and nothing shows that it is over", incident("held", held_by="storm"), in_doubt(), []),
    (
        "fenced once, held before it was fenced anew, lives: taken back",
        incident("held", held_by="storm", forced_by_us=True),
        facts(None, service=FORCED),
        ["-> recovered"],
    ),
    (
        "fenced once, judged anew, lives: taken back",
        incident("detected", forced_by_us=True),
        facts(None, service=FORCED),
        ["-> recovered"],
    ),
    (
        "fenced once, failing anew, lives: taken back",
        incident("confirmed", forced_by_us=True),
        facts(None, service=FORCED),
        ["-> recovered"],
    ),
    (
        "recovered without a proof, fails again: judged anew",
        incident("recovered", forced_by_us=True, proof=None),
        facts(service=FORCED),
        ["-> detected"],
    ),
    (
        "held before fencing, stands",
        incident("held", held_by="operator-force-down"),
        facts(service=FORCED),
        [],
    ),
    (
        "held before fencing, released",
        incident("held", held_by="storm", released_by="ann"),
        facts(),
        ["-> detected"],
    ),
    (
        "held for want of a proof, well: a person has to look",
        incident("held", held_by="no-proof", fencing_since=NOW - 60),
        facts(None),
        [],
    ),
    (
        "held for want of a proof, a moment ago: waits",
        incident("held", held_by="no-proof", fencing_since=NOW - 2),
        facts(),
        [],
    ),
    (
        "held for want of a proof, for a while: asked again",
        incident("held", held_by="no-proof", fencing_since=NOW - 90, updated=NOW - 60),
        facts(),
        ["fence"],
    ),
    (
        "held for want of a proof, confirmed",
        incident("held", held_by="no-proof", fencing_since=NOW - 9),
        facts(confirmed="ann confirmed"),
        ["-> fencing"],
    ),
    (
        "confirmed off, and yet heard: the word is dropped",
        incident("held", held_by="no-proof", fencing_since=NOW - 9),
        facts(None, confirmed="ann confirmed"),
        ["forget-word"],
    ),
    (
        "held for want of a proof, released while well: over",
        incident("held", held_by="no-proof", fencing_since=NOW - 60, released_by="ann"),
        facts(None),
        ["-> cleared"],
    ),
    (
        "held for want of a proof, released while dead: fenced again",
        incident("held", held_by="no-proof", fencing_since=NOW - 9, released_by="ann"),
        facts(),
        ["-> fencing"],
    ),
    ("over", incident("cleared"), facts(), []),
    ("over, too", incident("readmitted"), facts(), []),
]


@pytest.mark.parametrize(("what", "given", "known", "wanted"), CASES, ids=[c[0] for c in CASES])
def test_plan(what: str, given: Incident, known: Facts, wanted: list[str]) -> None:
    plan = next_steps(given, known, NOW)
    assert shape(plan) == wanted, plan.sentence
    assert "h1" in plan.sentence


@pytest.mark.parametrize("state", ["detected", "confirmed", "fencing", "reported", "held"])
def test_nothing_moves_before_a_proof(state: str) -> None:
    given = incident(state, vms=(WAITING,), held_by="storm")
    plan = next_steps(given, facts(servers=(server("a"),)), NOW)
    assert not [step for step in plan.steps if isinstance(step, Evacuate)]


@pytest.mark.parametrize(
    "known",
    [
        facts(None, servers=(server("a"),)),
        facts(servers=(server("a"),), power="on"),
        no_measures(servers=(server("a"),)),
        no_measures(servers=(server("a"),), power="unknown"),
    ],
    ids=["heard", "switched on", "silence", "silence, power unknown"],
)
@pytest.mark.parametrize("state", ["fenced", "evacuating", "recovered"])
def test_an_old_proof_alone_moves_nothing(state: str, known: Facts) -> None:
    plan = next_steps(incident(state, vms=(WAITING,), proof=OLD), known, NOW)
    assert not [step for step in plan.steps if isinstance(step, Evacuate)]


def _guarded(**fields: Any) -> list[str]:
    waived = fields.pop("waived", frozenset())
    return shape(next_steps(incident("detected", waived=waived), facts(**fields), NOW))


def test_a_nova_report_after_the_last_heartbeat_is_a_contradiction() -> None:
    assert _guarded(service=service(updated_at=NOW - 6)) == ["hold contradiction"]
    assert _guarded(service=service(updated_at=NOW - 9.5)) == ["-> confirmed"]


def test_our_own_write_to_the_service_is_no_report() -> None:
    ours = StepRecord(NOW - 6.1, "force-down", "force nova-compute on h1 down", True, NOW - 6)
    given = incident("detected", steps=(ours,), forced_by_us=True)
    known = facts(service=service(forced_down=True, updated_at=NOW - 6))
    assert shape(next_steps(given, known, NOW)) == ["-> confirmed"]


def test_an_operators_force_down_is_left_alone_until_it_is_waived() -> None:
    assert _guarded(service=FORCED) == ["hold operator-force-down"]
    waived = frozenset({"operator-force-down"})
    assert _guarded(service=FORCED, waived=waived) == ["-> confirmed"]


def _cluster(failing: int, total: int, unwell: int = 0) -> Cluster:
    names = [f"h{n}" for n in range(1, total + 1)]
    return Cluster(
        hosts=frozenset(names),
        failing=frozenset(names[:failing]),
        fenced=frozenset(),
        unwell=frozenset(names[failing : failing + unwell]),
    )


@pytest.mark.parametrize(
    ("failing", "total", "wanted"),
    [
        (1, 2, "-> confirmed"),
        (1, 3, "-> confirmed"),
        (2, 3, "hold storm"),
        (2, 4, "-> confirmed"),
        (3, 4, "hold storm"),
        (50, 100, "-> confirmed"),
        (51, 100, "hold storm"),
    ],
)
def test_a_storm_is_more_than_half_of_the_hosts(failing: int, total: int, wanted: str) -> None:
    assert _guarded(cluster=_cluster(failing, total)) == [wanted]


def test_somebody_must_be_left_to_take_the_vms() -> None:
    assert _guarded(cluster=_cluster(1, 4, unwell=3)) == ["hold min-healthy"]
    assert _guarded(cluster=_cluster(1, 4, unwell=2)) == ["-> confirmed"]


def test_a_hold_says_why_and_what_to_do() -> None:
    plan = next_steps(incident("detected"), facts(cluster=_cluster(3, 4)), NOW)
    (hold,) = plan.steps
    assert isinstance(hold, Hold)
    assert "3 of 4 hosts fail at once (h1, h2, h3)" in hold.reason
    assert "vmha-manage incident release 7" in hold.advice


def test_nova_shows_our_own_write_as_an_update_that_proves_nothing() -> None:
    ours = StepRecord(NOW - 4, "force-down", "force nova-compute on h1 down", True, NOW - 3)
    given = incident("recovered", heard_since=NOW - 9, proof=OLD, steps=(ours,))
    known = facts(None, service=service(forced_down=True, updated_at=NOW - 3))
    assert shape(next_steps(given, known, NOW)) == []


def test_a_rule_that_cannot_be_judged_is_unknown() -> None:
    assert facts().state_of("no-such-rule") is State.UNKNOWN
