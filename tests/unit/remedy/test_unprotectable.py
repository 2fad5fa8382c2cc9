# SPDX-License-Identifier: Apache-2.0
"""VMs that cannot be recovered are known before anything fails, and are left where they are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.remedy.build import NOW, facts, incident, server
from vmha_remediator.remedy import unprotectable, vm_case, vms
from vmha_remediator.remedy.incident import VmRecord, VmStatus
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.remedy.steps import Evacuate, FollowVm


@pytest.mark.parametrize(
    ("fields", "disks", "says"),
    [
        ({}, "shared", ""),
        ({"extra_specs": {"hw:tpm_version": "2.0"}}, "shared", "virtual TPM"),
        ({"image_properties": {"hw_tpm_version": "2.0"}}, "shared", "virtual TPM"),
        ({"shares": True}, "shared", "share attached"),
        ({"vnic_types": frozenset({"normal"})}, "shared", ""),
        ({"vnic_types": frozenset({"accelerator-direct"})}, "shared", "accelerator"),
        ({}, "local", "on its host alone"),
        ({"on_volume": True}, "local", ""),
    ],
)
def test_what_keeps_a_vm_on_its_host(fields: dict[str, Any], disks: str, says: str) -> None:
    found = unprotectable.why(server("a", **fields), disks)
    assert says in found
    assert bool(found) is bool(says)


@pytest.mark.parametrize(("disks", "moved"), [("shared", True), ("local", False)])
def test_it_is_listed_with_its_reason_and_not_moved(disks: str, moved: bool) -> None:
    vm = VmRecord("id-a", "a", "h1", vm_state="active")
    steps = vms.steps_for(
        incident("evacuating", vms=(vm,)),
        facts(servers=(server("a"),)),
        NOW,
        Policy(disks=disks),
        may_start="",
    )
    (step,) = steps
    assert isinstance(step, Evacuate) is moved
    if isinstance(step, FollowVm):
        assert step.record.status is VmStatus.PENDING
        assert "boot it from a volume" in step.record.reason


def _steps(vm: VmRecord, now: float = NOW) -> tuple[object, ...]:
    known = facts(servers=(server("a"),))
    mine = incident("evacuating", vms=(vm,))
    return vms.steps_for(mine, known, now, Policy(), may_start="")


def test_what_nova_refuses_for_good_is_told_and_not_asked_again() -> None:
    asked = VmRecord("id-a", "a", "h1", vm_state="active", attempts=1)
    why = "POST /servers/id-a/action: 409 Feature not supported with instances that have shares."
    refused = vm_case.refused(asked, why, NOW, Policy())
    assert refused.status is VmStatus.PENDING
    assert "it has a share attached: Nova does not evacuate it" in refused.reason
    assert "bring its host back" in refused.reason
    for hours in range(1, 5):
        assert not _steps(refused, NOW + hours * 3600)


def test_what_nova_may_accept_later_is_asked_again() -> None:
    asked = VmRecord("id-a", "a", "h1", vm_state="active", attempts=1)
    why = "POST /servers/id-a/action: 400 Compute service of h1 is still in use."
    refused = vm_case.refused(asked, why, NOW, Policy())
    assert refused.status is VmStatus.WAITING
    assert not _steps(refused)
    assert _steps(refused, NOW + 3) == (Evacuate(refused),)
