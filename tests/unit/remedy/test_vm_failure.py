# SPDX-License-Identifier: Apache-2.0
"""When a single VM is restarted in place: only with every reason for it and none against."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.remedy.build import NOW, incident, server, service
from vmha_remediator.remedy import vm_failure
from vmha_remediator.remedy.facts import Facts, Server, Stop
from vmha_remediator.remedy.plan import next_steps
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.steps import Move, Note
from vmha_remediator.remedy.vm_failure import Act, Decision, Limits, VmFacts
from vmha_remediator.rules.judge import State, Verdict

LIMITS = Limits()
NOVA = Stop(by=None, at=NOW - 30)
OWNER = Stop(by="u-1", at=NOW - 30)


def facts(vm: Server | None = None, **fields: Any) -> VmFacts:
    """Return facts of a VM that is off for no reason, on a host that is well."""
    values: dict[str, Any] = {
        "server": vm or server("web"),
        "service": service(),
        "off": State.ALARM,
        "runs": False,
        "off_since": NOW - 10,
    }
    return VmFacts(**(values | fields))


def decide(known: VmFacts, limits: Limits = LIMITS) -> Decision:
    for stage in vm_failure.STAGES:
        found = vm_failure.conclude(stage, known, limits, NOW)
        if found is not None:
            return found
    return vm_failure.restart(known, limits)


def test_a_vm_that_is_off_for_no_reason_is_restarted_where_it_is() -> None:
    found = decide(facts())
    assert found.act is Act.RESTART
    assert found.sentence == (
        "VM web on h1 is off and Nova wants it on: restarted in place, 1 of 3 within 60 min"
    )


def test_so_is_one_that_nova_itself_has_stopped() -> None:
    found = decide(facts(server("web", vm_state="stopped"), last_stop=NOVA))
    assert found.act is Act.RESTART
    assert "Nova had stopped it by itself" in found.sentence


@pytest.mark.parametrize(
    ("vm", "why"),
    [
        (server("web", tags=frozenset()), "not protected"),
        (server("web", metadata={"vmha:restart": " Never "}), "vmha:restart says so"),
        (server("web", locked=True, locked_reason="mine"), "it is locked (mine)"),
        (server("web", host=None), "on no host"),
        (server("web", vm_state="paused"), "it is paused"),
        (server("web", vm_state="suspended"), "it is suspended"),
        (server("web", vm_state="rescued"), "it is rescued"),
        (server("web", vm_state="error"), "it is error"),
        (server("web", vm_state="deleted"), "it is deleted"),
        (server("web", vm_state="stopped"), "does not say by whom"),
    ],
)
def test_what_somebody_wants_or_nobody_understands_is_left_alone(vm: Server, why: str) -> None:
    found = decide(facts(vm))
    assert found.act is Act.LEAVE
    assert why in found.sentence


def test_a_vm_that_its_owner_stopped_stays_off() -> None:
    found = decide(facts(server("web", vm_state="stopped"), last_stop=OWNER))
    assert found == Decision(Act.LEAVE, "VM web: left alone, user u-1 stopped it")


def test_a_server_that_is_gone_is_left_alone() -> None:
    assert decide(VmFacts()).act is Act.LEAVE


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"server": server("web", task_state="powering-off")}, "(powering-off)"),
        ({"host_trouble": "isolation of h1 is open (incident 3)"}, "isolation of h1"),
        ({"service": None}, "nova-compute on h1 is not up"),
        ({"service": service(up=False)}, "nova-compute on h1 is not up"),
        ({"service": service(forced_down=True)}, "nova-compute on h1 is not up"),
        ({"off": State.UNKNOWN}, "not measured now"),
        ({"runs": None}, "cannot say whether it runs"),
        ({"off_since": None}, "whether it stays so"),
        ({"off_since": NOW - 4.9}, "whether it stays so"),
    ],
)
def test_in_doubt_it_waits(fields: dict[str, Any], why: str) -> None:
    found = decide(facts(**fields))
    assert found.act is Act.WAIT
    assert why in found.sentence


@pytest.mark.parametrize("fields", [{"off": State.OK}, {"runs": True}])
def test_a_forged_or_stale_alarm_restarts_nothing(fields: dict[str, Any]) -> None:
    assert decide(facts(**fields)).act is Act.LEAVE


@pytest.mark.parametrize("recorded", [4, 6])
def test_a_hypervisor_without_diagnostics_leaves_novas_record_to_go_by(recorded: int) -> None:
    known = facts(server("web", power=recorded), runs=None)
    assert decide(known).act is Act.RESTART
    assert decide(replace(known, server=server("web", power=1))).act is Act.WAIT


def test_after_so_many_restarts_it_is_told_once() -> None:
    known = facts(restarts=(NOW - 900, NOW - 600, NOW - 300))
    found = decide(known)
    assert found.act is Act.GIVE_UP
    assert "it was restarted 3 times within 60 min" in found.sentence
    assert "openstack server reboot --hard id-web" in found.sentence
    assert decide(replace(known, told=True)).act is Act.LEAVE


def test_a_restart_that_ended_in_error_is_one_of_them() -> None:
    broken = server("web", vm_state="error", fault="the disk is gone")
    assert decide(facts(broken, restarts=(NOW - 60,))).act is Act.RESTART
    given_up = decide(facts(broken, restarts=(NOW - 60,)), Limits(restarts=1))
    assert given_up.act is Act.GIVE_UP
    assert "Nova says: the disk is gone." in given_up.sentence


def test_none_allowed_means_told_at_once() -> None:
    found = decide(facts(), Limits(restarts=0))
    assert found.act is Act.GIVE_UP
    assert "none is allowed" in found.sentence


# -- the report on a VM that was given up ---------------------------------------------------

POLICY = Policy(vm_window=600.0)


def given_up(**fields: Any) -> Any:
    return incident("reported", host="vm:id-web", rule=vm_failure.RULE, **fields)


def seen(state: State, **fields: Any) -> Facts:
    verdict = Verdict(vm_failure.RULE, "vm:id-web", state, "report", "moderate", "evidence")
    return Facts("vm:id-web", verdicts=(verdict,), **fields)


def test_a_report_stands_while_the_vm_is_off_or_nobody_knows() -> None:
    for state in (State.ALARM, State.UNKNOWN):
        assert next_steps(given_up(), seen(state), NOW, POLICY).steps == ()


def test_it_is_closed_when_the_vm_has_run_for_the_window() -> None:
    (note,) = next_steps(given_up(), seen(State.OK), NOW, POLICY).steps
    assert note == Note({"well_since": NOW})
    early = given_up(well_since=NOW - 599)
    assert next_steps(early, seen(State.OK), NOW, POLICY).steps == ()
    (move,) = next_steps(given_up(well_since=NOW - 600), seen(State.OK), NOW, POLICY).steps
    assert isinstance(move, Move) and move.to is S.CLEARED


def test_a_vm_that_dies_again_begins_the_wait_anew() -> None:
    found = next_steps(given_up(well_since=NOW - 599), seen(State.ALARM), NOW, POLICY)
    assert found.steps == (Note({"well_since": None}),)


def test_it_is_closed_at_once_when_the_vm_is_no_matter_any_more() -> None:
    (move,) = next_steps(given_up(), seen(State.ALARM, moot="gone"), NOW, POLICY).steps
    assert isinstance(move, Move) and move.to is S.CLEARED and "gone" in move.sentence


@pytest.mark.parametrize(
    ("vm", "stop", "why"),
    [
        (None, None, "deleted"),
        (server("web", tags=frozenset()), None, "not protected"),
        (server("web", vm_state="stopped"), OWNER, "a user has stopped"),
        (server("web", vm_state="stopped"), NOVA, ""),
        (server("web"), None, ""),
    ],
)
def test_when_it_is_no_matter(vm: Server | None, stop: Stop | None, why: str) -> None:
    found = vm_failure.moot(vm, LIMITS, stop)
    assert why in found and bool(why) == bool(found)
