# SPDX-License-Identifier: Apache-2.0
"""The order in which VMs come back: priorities, dependencies, and what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.remedy.build import NOW, facts, incident, server
from vmha_remediator.remedy import order, protect, vms
from vmha_remediator.remedy.facts import Cluster, Facts, Server
from vmha_remediator.remedy.incident import Incident, VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import Evacuate, FollowVm, StartVm, Step

POLICY = Policy()


def _vm(name: str, on: str = "", priority: str = "", **fields: Any) -> Server:
    """Return a server of h1 that depends on others."""
    wishes = {order.DEPENDS_ON: on, protect.PRIORITY: priority}
    return server(name, metadata={k: v for k, v in wishes.items() if v}, **fields)


def _record(found: Server, **fields: Any) -> VmRecord:
    record = VmRecord(
        found.id, found.name, "h1", vm_state=found.vm_state, priority=protect.priority(found)
    )
    return replace(record, **fields)


def _case(*servers: Server, **fields: Any) -> tuple[Incident, Facts]:
    """Return an incident in which all these servers are journaled, and its facts."""
    records = tuple(_record(s) for s in servers if "vmha" in s.tags and s.host == "h1")
    return incident("evacuating", vms=records), facts(servers=servers, **fields)


def _order(*servers: Server, **fields: Any) -> order.Order:
    return order.order(*_case(*servers, **fields), NOW, POLICY)


def _names(steps: tuple[Step, ...]) -> list[str]:
    return [step.record.name for step in steps if isinstance(step, Evacuate | StartVm)]


def _steps(found: Incident, known: Facts, policy: Policy = POLICY) -> tuple[Step, ...]:
    return vms.steps_for(found, known, NOW, policy, may_start="")


# -- priorities ------------------------------------------------------------------------------


def test_higher_priorities_come_first() -> None:
    found, known = _case(_vm("a"), _vm("b", priority="5"), _vm("c", priority="-1"))
    assert _names(_steps(found, known)) == ["b", "a", "c"]


@pytest.mark.parametrize("text", ["high", "1.5", "1001", "-1001", "", "9" * 40, "1_0", "٣"])
def test_a_priority_that_is_no_number_counts_as_none_and_is_explained(text: str) -> None:
    vm = server("a", metadata={protect.PRIORITY: text})
    assert protect.priority(vm) == 0
    (remark,) = _order(vm).remarks["id-a"]
    assert text in remark
    assert "whole number from -1000 to 1000" in remark


@pytest.mark.parametrize(("text", "value"), [("7", 7), (" -3 ", -3), ("+1000", 1000)])
def test_priorities_that_are_numbers_are_taken(text: str, value: int) -> None:
    vm = server("a", metadata={protect.PRIORITY: text})
    assert protect.priority(vm) == value
    assert not _order(vm).remarks


def test_what_an_important_vm_depends_on_is_as_important() -> None:
    found, known = _case(_vm("a", priority="3"), _vm("db"), _vm("web", on="db", priority="5"))
    assert _names(_steps(found, known)) == ["db", "a"]


# -- dependencies ----------------------------------------------------------------------------


@pytest.mark.parametrize("ref", ["db", "id-db"])
def test_a_vm_waits_for_those_it_names_by_name_or_id(ref: str) -> None:
    found, known = _case(_vm("web", on=ref), _vm("db"))
    told, *rest = _steps(found, known)
    assert isinstance(told, FollowVm)
    assert told.record.reason == "waits for db (waiting)"
    assert _names(tuple(rest)) == ["db"]


def test_it_starts_once_they_are_active() -> None:
    found, known = _case(_vm("web", on="db"))
    db = _record(_vm("db"), status=VmStatus.DONE)
    assert _names(_steps(replace(found, vms=(*found.vms, db)), known)) == ["web"]


def test_its_reason_is_written_once() -> None:
    found, known = _case(_vm("web", on="db"), _vm("db"))
    waiting = replace(found.vms[0], reason="waits for db (waiting)")
    steps = _steps(replace(found, vms=(waiting, found.vms[1])), known)
    assert [type(step) for step in steps] == [Evacuate]


def test_where_nova_leaves_vms_stopped_only_the_start_waits() -> None:
    found, known = _case(_vm("web", on="db"), _vm("db"), leaves_stopped=True)
    assert _names(_steps(found, known)) == ["db", "web"]
    arrived = _vm("web", on="db", vm_state="stopped", host="h2")
    begun = replace(found.vms[0], status=VmStatus.MOVING, started=NOW - 2)
    steps = _steps(
        replace(found, vms=(begun, found.vms[1])),
        replace(known, servers=(arrived, known.servers[1] if known.servers else arrived)),
    )
    assert _names(steps) == ["db"]
    (told,) = [step for step in steps if isinstance(step, FollowVm)]
    assert told.record.reason == "waits for db (waiting)"


def test_a_vm_that_was_stopped_waits_for_nobody_since_it_is_not_started() -> None:
    found, known = _case(_vm("web", on="db", vm_state="stopped"), _vm("db"))
    assert _names(_steps(found, known)) == ["db", "web"]


def test_it_waits_no_longer_than_it_is_told_to_and_says_so() -> None:
    found, known = _case(_vm("web", on="db"), _vm("db"))
    waiting = replace(found.vms[0], reason="waits for db (waiting)")
    found = replace(found, vms=(waiting, found.vms[1]))
    told, *rest = _steps(found, known, Policy(depends_wait=1.0))
    assert isinstance(told, FollowVm)
    assert "depends_wait is over" in told.sentence
    assert sorted(_names(tuple(rest))) == ["db", "web"]


def test_a_vm_of_another_project_is_not_meant() -> None:
    found = _order(_vm("web", on="db", project="one"), _vm("db", project="two"))
    assert not found.waits
    assert "no server of its project" in found.remarks["id-web"][0]


# -- elsewhere -------------------------------------------------------------------------------

TWO_DEAD = Cluster(
    hosts=frozenset({"h1", "h2", "h3"}),
    failing=frozenset({"h1", "h2"}),
    fenced=frozenset({"h1"}),
    unwell=frozenset({"h1", "h2"}),
)


def test_a_vm_that_runs_elsewhere_is_active() -> None:
    assert not _order(_vm("web", on="db"), others=(_vm("db", host="h3"),)).waits


def test_a_vm_of_another_failed_host_is_waited_for() -> None:
    db = _vm("db", host="h2")
    found = _order(_vm("web", on="db"), others=(db,), cluster=TWO_DEAD)
    assert found.waits == {"id-web": "waits for db (its host has failed, too)"}
    journaled = _order(
        _vm("web", on="db"), others=(db,), unfinished=(VmRecord("id-db", "db", "h2"),)
    )
    assert journaled.waits == found.waits


@pytest.mark.parametrize(
    ("db", "why"),
    [
        (_vm("db", host="h3", vm_state="stopped"), "db, which is stopped"),
        (_vm("db", host="h3", vm_state="error"), "db, which is error"),
        (_vm("db", tags=frozenset()), "db, which is not protected"),
        (_vm("db", vm_state="stopped"), "db, which is stopped"),
    ],
    ids=["stopped elsewhere", "in error", "not protected", "stopped on the dead host"],
)
def test_what_cannot_become_active_is_explained_and_not_waited_for(db: Server, why: str) -> None:
    found, known = _case(_vm("web", on="db"), db)
    told = order.order(found, known, NOW, POLICY)
    assert not told.waits
    assert told.remarks["id-web"] == (f"depends on {why}: not waited for",)


def test_a_name_that_nobody_has_is_explained() -> None:
    found = _order(_vm("web", on="dbb, db"), _vm("db"))
    assert "'dbb'" in found.remarks["id-web"][0]
    assert "db (waiting)" in found.waits["id-web"]


def test_only_names_that_are_not_known_are_looked_up() -> None:
    servers = (
        _vm("web", on="db, cache, id-x, cache"),
        _vm("db"),
        _vm("odd", on="y", tags=frozenset()),
    )
    found = incident("evacuating", vms=(VmRecord("id-x", "x", "h1", status=VmStatus.DONE),))
    assert order.unresolved(found, servers, POLICY) == ("cache",)


# -- cycles ----------------------------------------------------------------------------------


def test_a_cycle_is_refused_with_its_path_and_priorities_count() -> None:
    found, known = _case(_vm("a", on="b"), _vm("b", on="c", priority="2"), _vm("c", on="a"))
    told = order.order(found, known, NOW, POLICY)
    assert not told.waits
    assert "a -> b -> c -> a" in told.remarks["id-a"][0]
    assert _names(_steps(found, known)) == ["b", "a", "c"]


def test_who_depends_on_itself_is_a_cycle_too() -> None:
    found = _order(_vm("a", on="a"))
    assert not found.waits
    assert "a -> a" in found.remarks["id-a"][0]


def test_outside_the_cycle_dependencies_go_on_to_count() -> None:
    found = _order(_vm("a", on="b"), _vm("b", on="a, db"), _vm("db"), _vm("web", on="a"))
    assert found.waits == {"id-b": "waits for db (waiting)", "id-web": "waits for a (waiting)"}


def test_two_cycles_are_both_told() -> None:
    found = _order(_vm("a", on="b"), _vm("b", on="a"), _vm("c", on="d"), _vm("d", on="c"))
    assert set(found.remarks) == {"id-a", "id-b", "id-c", "id-d"}
