# SPDX-License-Identifier: Apache-2.0
"""Every reason to hold: what it says, how a person lets go of it, and how it ends by itself."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.remedy.build import NOW, facts, incident, no_measures, server, service, verdict
from vmha_remediator.cmd import manage
from vmha_remediator.remedy import cluster, guards, pieces
from vmha_remediator.remedy.facts import Cluster, Facts, Maintenance
from vmha_remediator.remedy.incident import Incident, ProofRecord, VmRecord, VmStatus
from vmha_remediator.remedy.plan import next_steps
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import FollowVm, Hold, Move, Note, Plan
from vmha_remediator.rules.judge import State

HOSTS = frozenset({"h1", "h2", "h3", "h4"})
OLD = ProofRecord("redfish", "power is off", "power reads off", NOW - 120)
IN_REPAIR = Maintenance("h1", "new memory", "ann", NOW - 600)


def hosts(**fields: Any) -> Cluster:
    empty: frozenset[str] = frozenset()
    values: dict[str, Any] = {"hosts": HOSTS, "failing": empty, "fenced": empty, "unwell": empty}
    return Cluster(**(values | fields))


#: Each guard, met with facts to which it objects.
OBJECTED: dict[str, Facts] = {
    guards.NO_SERVICE: facts(service=None),
    guards.MAINTENANCE: facts(maintenance=IN_REPAIR),
    guards.OPERATOR: facts(service=service(forced_down=True)),
    guards.CONTRADICTION: facts(service=service(updated_at=NOW - 2)),
    guards.SITUATION: facts(situation=replace(verdict(cluster.STORAGE, State.ALARM))),
    guards.STORM: facts(cluster=hosts(failing=frozenset({"h1", "h2", "h3"}))),
    guards.NO_DESTINATION: facts(cluster=hosts(usable=frozenset({"h1"}))),
    guards.MIN_HEALTHY: facts(cluster=hosts(unwell=HOSTS)),
}

#: Every other hold, with an incident and the facts that lead to it.
STUCK = VmRecord(
    "id-a",
    "a",
    "h1",
    status=VmStatus.PENDING,
    vm_state="active",
    dest="h1",
    attempts=3,
    reason="could not be started on h1 in 3 attempts: see the log of its nova-compute",
)
BACK: dict[str, Any] = {"heard_since": NOW - 60, "proof": OLD}
WELL_AGAIN = facts(None, service=service(updated_at=NOW), servers=(server("a", vm_state="error"),))
OTHERS: dict[str, tuple[Incident, Facts]] = {
    pieces.NO_PROOF: (incident("fenced", proof=None), facts()),
    pieces.HEARD_AGAIN: (incident("fencing"), facts(None, power="on")),
    pieces.STILL_ALIVE: (incident("fenced", heard_since=NOW - 60), facts(None, power="off")),
    pieces.QUARANTINE: (incident("recovered", **BACK), replace(WELL_AGAIN, failures=9)),
    pieces.LEFT_VMS: (incident("recovered", vms=(STUCK,), **BACK), WELL_AGAIN),
}


def held(plan: Plan) -> Hold:
    (hold,) = [step for step in plan.steps if isinstance(step, Hold)]
    return hold


def all_holds() -> dict[str, Hold]:
    """Return every hold that the planners know, by what holds."""
    found = {name: held(next_steps(incident("detected"), f, NOW)) for name, f in OBJECTED.items()}
    return found | {n: held(next_steps(i, f, NOW)) for n, (i, f) in OTHERS.items()}


def test_every_guard_is_met() -> None:
    assert OBJECTED.keys() == guards.GUARDS.keys()


@pytest.mark.parametrize("name", [*OBJECTED, *OTHERS])
def test_every_hold_says_why_and_what_to_do(name: str) -> None:
    hold = all_holds()[name]
    assert hold.by == name
    assert "h1" in hold.reason + hold.advice
    assert len(hold.reason) > 20
    commands = re.findall(r"vmha-manage ((?:[a-z]+ )+(?:h1|7))\b", hold.advice)
    assert commands, f"no command in: {hold.advice}"
    for command in commands:
        args = manage.build_parser().parse_args(shlex.split(command))
        assert callable(args.func)


def test_the_documentation_names_every_hold_and_no_other() -> None:
    text = (Path(__file__).parents[3] / "doc" / "source" / "held.rst").read_text(encoding="utf-8")
    listed = re.findall(r"^``([a-z-]+)``$", text, flags=re.MULTILINE)
    assert sorted(listed) == sorted([*OBJECTED, *OTHERS])


def test_confirmed_failures_are_asked_again_before_the_fence() -> None:
    for name, known in OBJECTED.items():
        assert held(next_steps(incident("confirmed"), known, NOW)).by == name


@pytest.mark.parametrize("name", sorted(guards.GUARDS.keys() - guards.NOT_WAIVABLE))
def test_what_a_person_waives_is_not_asked_again(name: str) -> None:
    waived = incident("detected", waived=frozenset({name}))
    plan = next_steps(waived, OBJECTED[name], NOW, Policy(min_healthy=0))
    assert name not in [step.by for step in plan.steps if isinstance(step, Hold)]


# -- what dissolves by itself --------------------------------------------------------------


def moves(plan: Plan) -> list[str]:
    return [str(step.to) for step in plan.steps if isinstance(step, Move)]


@pytest.mark.parametrize("name", sorted(guards.GUARDS.keys() - guards.CALM.keys()))
def test_what_no_longer_holds_is_judged_anew(name: str) -> None:
    given = incident("held", held_by=name)
    assert moves(next_steps(given, OBJECTED[name], NOW)) == []
    assert moves(next_steps(given, facts(), NOW)) == ["detected"]


@pytest.mark.parametrize("name", sorted(guards.CALM))
def test_what_comes_and_goes_must_be_over_for_a_while(name: str) -> None:
    given = incident("held", held_by=name)
    (note,) = next_steps(given, facts(), NOW).steps
    assert note == Note({"well_since": NOW})
    begun = replace(given, well_since=NOW - guards.CALM[name](Policy()) + 1)
    assert next_steps(begun, facts(), NOW).steps == ()
    (back,) = next_steps(begun, OBJECTED[name], NOW).steps
    assert back == Note({"well_since": None})
    assert moves(next_steps(replace(begun, well_since=NOW - 1000), facts(), NOW)) == ["detected"]


@pytest.mark.parametrize("name", sorted(guards.GUARDS))
def test_without_measures_nothing_held_goes_on(name: str) -> None:
    given = incident("held", held_by=name, well_since=NOW - 9999)
    assert next_steps(given, no_measures(), NOW).steps == ()


def test_a_compute_that_has_fallen_silent_speaks_for_its_host_no_more() -> None:
    reported = facts(service=service(updated_at=NOW - 24), heartbeat_age=300.0)
    silent = facts(service=service(updated_at=NOW - 25), heartbeat_age=300.0)
    assert held(next_steps(incident("detected"), reported, NOW)).by == guards.CONTRADICTION
    assert moves(next_steps(incident("detected"), silent, NOW)) == ["confirmed"]


def test_hosts_in_maintenance_are_not_counted_in_a_storm() -> None:
    two = frozenset({"h1", "h2"})
    half = facts(cluster=hosts(failing=two, maintenance=frozenset({"h3"})))
    assert held(next_steps(incident("detected"), half, NOW)).by == guards.STORM
    assert moves(next_steps(incident("detected"), facts(cluster=hosts(failing=two)), NOW)) == [
        "confirmed"
    ]


# -- maintenance, and hosts that are no more -----------------------------------------------


def test_a_report_on_a_host_in_maintenance_is_closed() -> None:
    given = incident("reported", rule="agent-down")
    plan = next_steps(given, facts("agent-down", maintenance=IN_REPAIR), NOW)
    assert moves(plan) == ["cleared"]
    assert "ann" in plan.sentence


def test_a_host_that_is_back_is_not_taken_back_in_maintenance() -> None:
    given = incident("recovered", **BACK)
    known = replace(WELL_AGAIN, servers=(), maintenance=IN_REPAIR)
    assert next_steps(given, known, NOW).steps == ()
    assert moves(next_steps(given, replace(known, maintenance=None), NOW)) == ["readmitted"]


def test_a_host_switched_on_in_maintenance_is_not_fenced_anew() -> None:
    given = incident("recovered", proof=OLD)
    assert next_steps(given, facts(power="on", maintenance=IN_REPAIR), NOW).steps == ()


@pytest.mark.parametrize(
    "given", [incident("reported", rule="isolation"), incident("held", held_by="no-service")]
)
def test_a_host_that_neither_nova_nor_the_witnesses_know_is_closed(given: Incident) -> None:
    gone = no_measures(verdicts=(verdict(given.rule, State.UNKNOWN),), service=None)
    assert moves(next_steps(given, gone, NOW)) == ["cleared"]
    assert moves(next_steps(given, replace(gone, service=service()), NOW)) == []
    unread = replace(gone, verdicts=())
    assert moves(next_steps(given, unread, NOW)) == []


def test_a_recovered_host_that_nova_no_longer_knows_is_over_when_its_vms_are() -> None:
    done = replace(STUCK, status=VmStatus.DONE, dest="h2")
    gone = no_measures(service=None)
    assert moves(next_steps(incident("recovered", vms=(done,)), gone, NOW)) == ["cleared"]
    there = replace(gone, servers=(server("a"),))
    assert next_steps(incident("recovered", vms=(STUCK,)), there, NOW).steps == ()


def test_a_vm_of_a_host_that_nova_no_longer_knows_is_followed_to_its_end() -> None:
    gone = no_measures(service=None, servers=(), migrations=())
    (deleted,) = next_steps(incident("recovered", vms=(STUCK,)), gone, NOW).steps
    assert isinstance(deleted, FollowVm)
    assert deleted.record.status is VmStatus.SKIPPED
    over = incident("recovered", vms=(deleted.record,))
    assert moves(next_steps(over, gone, NOW)) == ["cleared"]


def test_a_fenced_host_that_nova_no_longer_knows_goes_on_to_its_end() -> None:
    gone = facts(service=None, servers=(), migrations=())
    assert moves(next_steps(incident("fenced"), gone, NOW)) == ["evacuating"]


# -- booting -------------------------------------------------------------------------------


def test_a_host_that_was_switched_on_again_is_let_boot_and_then_fenced() -> None:
    dead_but_on = facts(power="on")
    given = incident("recovered", proof=OLD)
    (note,) = next_steps(given, dead_but_on, NOW).steps
    assert note == Note({"powered_since": NOW})
    boots = replace(given, powered_since=NOW - 599)
    assert next_steps(boots, dead_but_on, NOW).steps == ()
    assert moves(next_steps(replace(given, powered_since=NOW - 600), dead_but_on, NOW)) == [
        "detected"
    ]


def test_while_vms_are_being_moved_a_host_that_is_switched_on_is_fenced_at_once() -> None:
    given = incident("evacuating", proof=OLD, vms=(VmRecord("id-a", "a", "h1"),))
    assert moves(next_steps(given, facts(power="on"), NOW)) == ["detected"]


@pytest.mark.parametrize(("power", "starts"), [("unknown", False), (None, False), ("off", True)])
def test_nothing_is_started_elsewhere_once_the_host_was_seen_on(power: Any, starts: bool) -> None:
    vm = VmRecord("id-a", "a", "h1", status=VmStatus.PENDING, vm_state="active")
    given = incident("recovered", proof=OLD, powered_since=NOW - 30, vms=(vm,))
    known = facts(power=power, service=service(forced_down=True), servers=(server("a"),))
    names = [step.name for step in next_steps(given, known, NOW).steps]
    assert ("evacuate" in names) is starts


def test_releasing_a_host_that_boots_waits_for_it() -> None:
    given = incident("held", held_by="no-proof", fencing_since=NOW - 60, released_by="ann")
    answers = facts("agent-down", heartbeat_age=70.0, lease_age=70.0)
    assert next_steps(given, answers, NOW).steps == ()
    assert moves(next_steps(given, facts(), NOW)) == ["fencing"]
