# SPDX-License-Identifier: Apache-2.0
"""Where VMs are sent: only to hosts that are well, and to none more than it can take."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.remedy.build import NOW, facts, incident, server, service
from vmha_remediator.remedy import candidates, vms
from vmha_remediator.remedy.candidates import Choice, Chooser
from vmha_remediator.remedy.facts import Aggregate, Facts, Migration
from vmha_remediator.remedy.incident import StepRecord, VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import Evacuate, FollowVm

SCHEDULER = Policy()
SPREAD = Policy(candidates="spread")


def _facts(*, troubled: dict[str, str] | None = None, **services: dict[str, Any]) -> Facts:
    """Return facts of h1's death among h2, h3 and h4, some of which differ."""
    hosts = {"h1": {"up": False}, "h2": {}, "h3": {}, "h4": {}} | services
    found = tuple(service(id=f"s-{h}", host=h, **fields) for h, fields in hosts.items())
    return facts(services=found, troubled=troubled or {}, free={"h2": 100, "h3": 300, "h4": 200})


def _choose(known: Facts, policy: Policy, **fields: Any) -> Choice:
    return Chooser(known, policy).choose(server("a", **fields), {})


def test_the_scheduler_chooses_while_all_it_could_choose_is_well() -> None:
    assert _choose(_facts(), SCHEDULER) == Choice()


def test_a_host_that_is_not_well_but_enabled_makes_us_name_another() -> None:
    assert _choose(_facts(troubled={"h3": "isolation"}), SCHEDULER) == Choice("h4")


@pytest.mark.parametrize(
    "fields",
    [{"up": False}, {"enabled": False}, {"forced_down": True, "up": False}],
    ids=["down", "disabled", "forced down"],
)
def test_what_nova_itself_leaves_out_needs_no_name(fields: dict[str, Any]) -> None:
    assert _choose(_facts(troubled={"h3": "failure"}, h3=fields), SCHEDULER) == Choice()
    assert _choose(_facts(h3=fields), SPREAD) == Choice("h4")


def test_spread_names_the_host_with_most_free_memory() -> None:
    assert _choose(_facts(), SPREAD) == Choice("h3")


def test_what_was_given_in_this_plan_counts() -> None:
    chooser = Chooser(_facts(), SPREAD)
    found = []
    for name in "abcd":
        vm = server(name, ram=90)
        choice = chooser.choose(vm, {})
        chooser.take(choice.dest, vm)
        found.append(choice.dest)
    assert found == ["h3", "h3", "h4", "h3"]


def test_a_named_host_is_in_the_servers_zone() -> None:
    known = _facts(h1={"up": False, "zone": "east"}, h2={"zone": "east"})
    assert _choose(known, SPREAD, zone="east") == Choice("h2")
    gone = replace(known, troubled={"h2": "isolation"})
    choice = _choose(gone, SPREAD, zone="east")
    assert choice.dest is None
    assert "zone east" in choice.nowhere
    assert "h2 (isolation)" in choice.nowhere


def test_a_server_free_to_go_anywhere_stays_near_if_it_can() -> None:
    known = _facts(h1={"up": False, "zone": "east"}, h2={"zone": "east"})
    assert _choose(known, SPREAD) == Choice("h2")
    assert _choose(replace(known, troubled={"h2": "isolation"}), SPREAD) == Choice("h3")


def test_hosts_that_nobody_watches_come_last() -> None:
    known = replace(_facts(), unwatched=frozenset({"h3", "h4"}))
    assert _choose(known, SPREAD) == Choice("h2")


def test_a_host_with_enough_to_do_is_left_alone_by_every_policy() -> None:
    busy = Counter({"h3": 8})
    for policy in (SCHEDULER, SPREAD):
        assert Chooser(_facts(), policy, busy).choose(server("a"), {}) == Choice("h4")


def test_when_every_host_has_enough_to_do_the_vm_waits() -> None:
    busy = Counter({"h2": 8, "h3": 8, "h4": 8})
    assert Chooser(_facts(), SPREAD, busy).choose(server("a"), {}).full


def test_a_host_that_refused_is_asked_again_after_the_others() -> None:
    chooser = Chooser(_facts(), SPREAD)
    assert chooser.choose(server("a"), {"h3": 1}) == Choice("h4")
    assert chooser.choose(server("a"), {"h3": 1, "h4": 1}) == Choice("h2")


def test_what_three_hosts_have_refused_goes_where_the_scheduler_knows_a_host() -> None:
    refused = {"h2": 1, "h3": 1, "h4": 1}
    assert Chooser(_facts(), SPREAD).choose(server("a"), refused) == Choice()
    unwell = _facts(troubled={"h3": "isolation"})
    assert Chooser(unwell, SPREAD).choose(server("a"), {"h2": 2, "h4": 1}) == Choice("h4")


# -- availability zones and aggregates -----------------------------------------------------------

EAST = Aggregate("racks-1-2", frozenset({"h1", "h2"}), {"availability_zone": "east"})


def _with_east(**services: dict[str, Any]) -> Facts:
    """Return facts of h1's death, of which h2 alone is in the same zone."""
    h2 = {"zone": "east"} | services.pop("h2", {})
    h1 = {"up": False, "zone": "east"}
    known = _facts(h1=h1, h2=h2, h3={"zone": "nova"}, h4={"zone": "nova"}, **services)
    return replace(known, aggregates=(EAST,))


@pytest.mark.parametrize("policy", [SCHEDULER, SPREAD], ids=["scheduler", "spread"])
def test_nova_is_not_asked_while_no_host_of_the_servers_zone_takes_vms(policy: Policy) -> None:
    choice = _choose(_with_east(h2={"enabled": False}), policy, zone="east")
    assert choice.dest is None
    assert "no healthy host in availability zone east is left: h2 (disabled" in choice.nowhere
    assert "h3" not in choice.nowhere
    assert "openstack aggregate add host racks-1-2 HOST" in choice.nowhere
    wanted = Choice("h2") if policy is SPREAD else Choice()
    assert _choose(_with_east(), policy, zone="east") == wanted


def test_a_zone_that_is_no_aggregate_binds_nobody() -> None:
    """As the default zone: it is asked for by servers that were booted with nova:HOST."""
    known = _with_east(h2={"zone": "nova"})
    assert (
        _choose(replace(known, troubled={"h3": "x", "h4": "x"}), SPREAD, zone="here").dest == "h2"
    )
    assert _choose(known, SCHEDULER, zone="here") == Choice()


def test_where_nova_does_not_show_what_was_asked_for_it_is_asked_itself() -> None:
    known = _with_east(h2={"enabled": False})
    assert _choose(known, SCHEDULER, zone="east", zone_guessed=True) == Choice()
    assert "zone east" in _choose(known, SPREAD, zone="east", zone_guessed=True).nowhere


def test_hosts_whose_aggregates_may_refuse_a_vm_come_last() -> None:
    others = Aggregate("theirs", frozenset({"h3", "h4"}), {"filter_tenant_id": "them"})
    known = replace(_facts(), aggregates=(others,))
    assert _choose(known, SPREAD, project="us") == Choice("h2")
    assert _choose(known, SPREAD, project="them") == Choice("h3")


def test_a_refusal_says_to_which_hosts_zone_and_aggregates_keep_it() -> None:
    ours = Aggregate("ours", frozenset({"h2"}), {"filter_tenant_id": "them"})
    known = replace(_with_east(), aggregates=(EAST, ours))
    said = Chooser(known, SCHEDULER).kept(server("a", zone="east", project="us"))
    assert "availability zone east: h2" in said
    assert "h2 may refuse it: it needs a host outside other projects' aggregates" in said
    assert Chooser(_facts(), SCHEDULER).kept(server("a")) == ""


# -- cells ---------------------------------------------------------------------------------------


def _refused_by(host: str) -> StepRecord:
    sentence = f"b: evacuation to {host}, attempt 1: in whatever words"
    return StepRecord(NOW - 3, "evacuate", sentence, ok=False, other_cell=host)


def test_a_host_of_another_cell_is_named_to_one_vm_alone() -> None:
    known = replace(_facts(), servers=(server("a"),))
    mine = incident("evacuating", vms=(_vm("a"),), steps=(_refused_by("h3"),))
    (step,) = vms.steps_for(mine, known, NOW, SPREAD, may_start="")
    assert isinstance(step, Evacuate)
    assert step.dest == "h4"


def test_a_host_of_another_cell_is_no_reason_to_name_the_others() -> None:
    chooser = Chooser(_facts(), SCHEDULER, foreign=frozenset({"h3"}))
    assert chooser.choose(server("a"), {}) == Choice()


def test_capacity_in_another_cell_does_not_help() -> None:
    known = replace(_facts(), servers=(server("a"),))
    told = tuple(_refused_by(host) for host in ("h2", "h3", "h4"))
    mine = incident("evacuating", vms=(_vm("a"),), steps=told)
    (step,) = vms.steps_for(mine, known, NOW, SPREAD, may_start="")
    assert isinstance(step, FollowVm)
    assert step.record.status is VmStatus.PENDING
    assert "h3 (is in another cell)" in step.record.reason


# -- within a plan ---------------------------------------------------------------------------


def _steps(known: Facts, policy: Policy, *records: VmRecord, **fields: Any) -> tuple[Any, ...]:
    known = replace(known, **fields)
    return vms.steps_for(incident("evacuating", vms=records), known, NOW, policy, may_start="")


def _vm(name: str, **fields: Any) -> VmRecord:
    return replace(VmRecord(f"id-{name}", name, "h1", vm_state="active"), **fields)


def test_without_a_healthy_host_the_vm_is_pending_and_says_which_hosts_are_not() -> None:
    known = _facts(troubled=dict.fromkeys(("h2", "h3", "h4"), "storage-lost"))
    (step,) = _steps(known, SCHEDULER, _vm("a"), servers=(server("a"),))
    assert isinstance(step, FollowVm)
    assert step.record.status is VmStatus.PENDING
    assert "h2 (storage-lost)" in step.record.reason
    assert not _steps(known, SCHEDULER, step.record, servers=(server("a"),))  # said once


def test_a_refusal_by_a_named_host_leads_to_the_next_one_without_a_pause() -> None:
    moving = _vm(
        "a", status=VmStatus.MOVING, attempts=1, dest="h3", migration_id="m1", started=NOW
    )
    no_room = Migration("m1", "id-a", "h1", "h3", "error", NOW - 1)
    found = {"servers": (server("a", vm_state="error"),), "migrations": (no_room,)}
    (step,) = _steps(_facts(), SPREAD, moving, **found)
    assert isinstance(step, FollowVm)
    assert step.record.not_before == NOW
    found["servers"] = (server("a"),)  # reset from the "error" in which Nova left it
    assert _steps(_facts(), SPREAD, step.record, **found) == (Evacuate(step.record, "h4"),)


def test_when_all_have_refused_it_backs_off() -> None:
    moving = _vm(
        "a", status=VmStatus.MOVING, attempts=3, dest="h2", migration_id="m3", started=NOW
    )
    refusals = tuple(
        Migration(f"m{n}", "id-a", "h1", host, "error", NOW - 4 + n)
        for n, host in enumerate(("h3", "h4", "h2"), 1)
    )
    (step,) = _steps(
        _facts(), SPREAD, moving, servers=(server("a", vm_state="error"),), migrations=refusals
    )
    assert isinstance(step, FollowVm)
    assert step.record.not_before > NOW
    assert step.record.status is VmStatus.PENDING


def test_a_half_failed_evacuation_goes_to_the_same_host_whatever_the_policy() -> None:
    failed = Migration("m1", "id-a", "h1", "h3", "failed", NOW - 9)
    vm = _vm("a", attempts=1, migration_id="m1", started=NOW - 9, may_run_on="h3")
    steps = _steps(
        _facts(troubled={"h3": "isolation"}),
        SPREAD,
        vm,
        servers=(server("a"),),
        migrations=(failed,),
    )
    assert steps == (Evacuate(vm, "h3"),)


def test_the_limit_counts_every_vm_that_is_on_its_way() -> None:
    policy = Policy(parallel=2)
    moving = _vm("z", status=VmStatus.MOVING, dest="h2", migration_id="m1", started=NOW)
    record = Migration("m1", "id-z", "h1", "h2", "pre-migrating", NOW)
    servers = tuple(server(name) for name in "abz")
    steps = _steps(
        _facts(), policy, _vm("a"), _vm("b"), moving, servers=servers, migrations=(record,)
    )
    assert [step.record.name for step in steps] == ["a"]


def test_the_limit_of_a_host_counts_what_other_incidents_send_there() -> None:
    policy = Policy(candidates="spread", parallel_per_host=1)
    steps = _steps(
        _facts(), policy, _vm("a"), _vm("b"), servers=(server("a"), server("b")),
        unfinished=(_vm("z", status=VmStatus.MOVING, dest="h3"),),
    )  # fmt: skip
    assert [step.dest for step in steps] == ["h4", "h2"]


def test_hosts_are_named_only_when_it_matters() -> None:
    assert not candidates.names_hosts(_facts(), SCHEDULER)
    assert candidates.names_hosts(_facts(), SPREAD)
    assert candidates.names_hosts(_facts(troubled={"h2": "agent-down"}), SCHEDULER)


def test_while_it_is_unknown_where_many_go_the_next_ones_are_named_elsewhere() -> None:
    policy = Policy(parallel=16, parallel_per_host=2)
    names = ["a", "b", "c", "d", "e", "f", "g"]
    servers = tuple(server(name) for name in names)
    steps = _steps(_facts(), policy, *map(_vm, names), servers=servers)
    # The scheduler likely gives the first two to h3, which has most free memory.
    assert [step.dest for step in steps] == [None, None, "h4", "h4", "h2", "h2"]


def test_with_one_healthy_host_they_wait_until_it_is_known_where_they_went() -> None:
    policy = Policy(parallel=16, parallel_per_host=2)
    known = _facts(h2={"up": False}, h4={"up": False})
    asked = [_vm(name, status=VmStatus.REQUESTED, not_before=NOW) for name in "ab"]
    servers = tuple(server(name) for name in "abc")
    assert not _steps(known, policy, *asked, _vm("c"), servers=servers)


def test_once_it_is_known_that_they_crowd_on_one_host_others_are_named() -> None:
    policy = Policy(parallel=16, parallel_per_host=2)
    moving = [_vm(n, status=VmStatus.MOVING, dest="h3", migration_id=f"m-{n}") for n in "ab"]
    records = tuple(Migration(f"m-{n}", f"id-{n}", "h1", "h3", "pre-migrating", NOW) for n in "ab")
    servers = tuple(server(name) for name in "abcd")
    steps = _steps(
        _facts(), policy, *moving, _vm("c"), _vm("d"), servers=servers, migrations=records
    )
    assert [step.dest for step in steps] == ["h4", "h4"]


def test_what_other_incidents_have_asked_for_is_of_unknown_whereabouts_too() -> None:
    policy = Policy(parallel=16, parallel_per_host=2)
    asked = tuple(_vm(name, status=VmStatus.REQUESTED, not_before=NOW) for name in "yz")
    (step,) = _steps(_facts(), policy, _vm("a"), servers=(server("a"),), unfinished=asked)
    assert step.dest == "h4"
