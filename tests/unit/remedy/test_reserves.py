# SPDX-License-Identifier: Apache-2.0
"""Reserve hosts: enabled when a failure needs them, given back when it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.remedy.build import NOW, facts, incident, server, service
from vmha_remediator.remedy import pieces, plan, reserves
from vmha_remediator.remedy.facts import Cluster, Facts, Migration, Service
from vmha_remediator.remedy.incident import Incident, StepRecord, VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import Evacuate, Move, UseReserve

POLICY = Policy(candidates="reserved", reserved_hosts=frozenset({"h3", "h4"}))
RESTS = {"enabled": False, "disabled_reason": reserves.REASON}


def _service(host: str, **fields: Any) -> Service:
    return service(id=f"s-{host}", host=host, **fields)


def _facts(*fenced: str, **hosts: dict[str, Any]) -> Facts:
    """Return facts of h1's death; h3 and h4 rest unless a test says otherwise."""
    differing: dict[str, dict[str, Any]] = {
        "h1": {"up": False, "forced_down": True},
        "h2": {},
        "h3": RESTS,
        "h4": RESTS,
    }
    services = tuple(_service(h, **f) for h, f in (differing | hosts).items())
    cluster = Cluster(frozenset(differing), frozenset(), frozenset(fenced or ("h1",)), frozenset())
    return facts(services=services, cluster=cluster, servers=(server("a"),), service=services[0])


def _incident(state: str = "evacuating", **fields: Any) -> Incident:
    vms = (VmRecord("id-a", "a", "h1", vm_state="active"),)
    return incident(state, **({"vms": vms} | fields))


def _use(known: Facts, found: Incident | None = None) -> list[str]:
    steps = reserves.use(found or _incident(), known, NOW, POLICY)
    return [step.host for step in steps if isinstance(step, UseReserve)]


def test_one_reserve_is_enabled_for_a_failed_host() -> None:
    assert _use(_facts()) == ["h3"]


def test_two_failed_hosts_get_two() -> None:
    assert _use(_facts("h1", "h2")) == ["h3", "h4"]


def test_one_that_is_enabled_already_counts() -> None:
    assert _use(_facts(h3={})) == []


@pytest.mark.parametrize(
    "fields",
    [
        RESTS | {"up": False},
        RESTS | {"forced_down": True},
        {"enabled": False, "disabled_reason": "a person's own"},
        {"enabled": False, "disabled_reason": "vmha: storage-lost (incident 3)"},
    ],
    ids=["down", "forced down", "disabled by a person", "disabled for another reason of ours"],
)
def test_a_reserve_that_cannot_help_is_left_alone(fields: dict[str, Any]) -> None:
    assert _use(_facts(h3=fields)) == ["h4"]


def test_a_reserve_that_is_not_well_by_the_evidence_is_left_alone() -> None:
    assert _use(replace(_facts(), troubled={"h3": "isolation"})) == ["h4"]


def test_one_of_the_failed_hosts_zone_comes_first() -> None:
    zones = {"h1": {"up": False, "zone": "east"}, "h4": RESTS | {"zone": "east"}}
    assert _use(_facts(**zones)) == ["h4"]


def test_another_one_when_those_enabled_have_refused_a_vm() -> None:
    refused = Migration("m1", "id-a", "h1", "h3", "error", NOW - 1)
    assert _use(replace(_facts(h3={}), migrations=(refused,))) == ["h4"]


def test_one_that_nova_would_not_enable_is_asked_for_again_only_after_a_while() -> None:
    said = f"{reserves.said('h3')}: 400 no"
    failed = StepRecord(NOW - 5, "use-reserve", said, ok=False, finished=NOW - 5)
    assert _use(_facts(), _incident(steps=(failed,))) == ["h4"]
    old = replace(failed, time=NOW - 61)
    assert _use(_facts(), _incident(steps=(old,))) == ["h3"]


def test_a_host_without_protected_vms_needs_none() -> None:
    assert _use(_facts(), _incident(vms=())) == []
    done = VmRecord("id-a", "a", "h1", status=VmStatus.DONE)
    assert _use(_facts(), _incident(vms=(done,))) == []


def test_other_policies_touch_no_reserve() -> None:
    assert not reserves.use(_incident(), _facts(), NOW, Policy())


def test_the_reserve_is_enabled_before_anything_moves_there() -> None:
    found = plan.next_steps(_incident("fenced", vms=()), _facts(), NOW, POLICY)
    kinds = [type(step) for step in found.steps]
    assert kinds.index(Move) < kinds.index(UseReserve)
    assert Evacuate not in kinds
    moved = plan.next_steps(_incident(), _facts(h3={}), NOW, POLICY)
    assert [step.dest for step in moved.steps if isinstance(step, Evacuate)] == ["h3"]


def test_nothing_is_enabled_without_proof() -> None:
    found = plan.next_steps(_incident(proof=None), _facts(), NOW, POLICY)
    assert not [step for step in found.steps if isinstance(step, UseReserve)]


# -- given back ------------------------------------------------------------------------------


def _idle(*incidents: Incident, **hosts: dict[str, Any]) -> list[str]:
    services = [_service(h, **hosts.get(h, {})) for h in ("h2", "h3", "h4")]
    return [s.host for s in reserves.idle(services, incidents, POLICY)]


def test_without_a_failure_reserves_go_back_to_rest() -> None:
    assert _idle() == ["h3", "h4"]
    assert _idle(h3=RESTS) == ["h4"]
    assert not reserves.idle([_service("h3")], (), Policy())


@pytest.mark.parametrize("state", ["detected", "held", "evacuating", "recovered"])
def test_while_a_failure_is_open_none_is_given_back(state: str) -> None:
    assert _idle(incident(state)) == []


def test_a_failure_that_is_over_needs_none() -> None:
    assert _idle(incident("readmitted"), incident("cleared")) == ["h3", "h4"]


def test_a_reserve_with_an_incident_of_its_own_is_left_alone() -> None:
    assert _idle(incident("reported", rule="isolation", host="h3")) == ["h4"]


def test_a_report_that_is_over_does_not_wake_a_reserve() -> None:
    assert not pieces.enable(facts(standing=None, service=_service("h3", **RESTS)))
