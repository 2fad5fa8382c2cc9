# SPDX-License-Identifier: Apache-2.0
"""A single VM dies on a host that is well: it runs again in place, a few times at most."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import guests, nova_api, process, verbs_vms
from tests.lab.guests import GuestView
from tests.lab.hosts import process_name, start_services
from tests.lab.suite.conftest import Cloud
from vmha_remediator import conf as vmha_conf
from vmha_remediator.remedy import vm_failure
from vmha_remediator.rules import vm_rule

pytestmark = pytest.mark.lab

RESTARTS = vmha_conf.load(config_files=[]).vm_failure.restarts


@pytest.fixture
def alarmed(cloud: Cloud) -> Iterator[Cloud]:
    """Yield a calm cloud in which every protected VM has an alarm on its power state."""
    verbs_vms.alarms_on()
    yield cloud
    verbs_vms.alarms_off()


def look(vm: str) -> GuestView:
    return next(guest for guest in guests.guests() if guest.vm == vm)


def runs_on(vm: str, host: str) -> bool:
    guest = look(vm)
    calm = guest.status == "ACTIVE" and guest.task is None
    return calm and guest.running_on == (host,) and guest.nova_host == host


def restarts(cloud: Cloud, vm: str) -> int:
    subject = vm_failure.subject(vm)
    return len(cloud.observer.store.restarts(vm, cloud.observer.since, subject))


def last_stop(vm: str) -> dict[str, object]:
    actions = nova_api.get(f"/servers/{vm}/os-instance-actions")["instanceActions"]
    found: dict[str, object] = next(a for a in actions if a["action"] == "stop")
    return found


def test_a_vm_that_dies_runs_again_in_place_and_one_that_cannot_live_is_told_of(
    alarmed: Cloud,
) -> None:
    """Nothing is said of its host (fault 13)."""
    host = alarmed.busiest()
    vm, bystander = alarmed.tagged_on(host)[:2]
    before = look(bystander)
    for number in range(1, RESTARTS + 1):
        assert guests.kill(vm) == [host]
        process.wait_for(
            lambda number=number: restarts(alarmed, vm) == number and runs_on(vm, host),  # type: ignore[misc]
            f"restart {number} of the VM, in place",
            90,
            interval=0.5,
        )
    guests.kill(vm)
    subject = vm_failure.subject(vm)
    process.wait_for(
        lambda: any(
            (i.host, i.rule, str(i.state)) == (subject, vm_rule.RULE, "reported")
            for i in alarmed.observer.store.incidents(active_only=True)
        ),
        "the report on a VM that cannot live",
        90,
        interval=0.5,
    )
    assert restarts(alarmed, vm) == RESTARTS
    assert look(vm).running_on == ()
    assert look(bystander).running_on == before.running_on
    told = [i for i in alarmed.observer.store.incidents() if i.host == subject]
    assert len(told) == 1
    # A person puts it right, and says so.
    nova_api.post(f"/servers/{vm}/action", {"reboot": {"type": "HARD"}})
    alarmed.observer.store.release(told[0].id, "the test")
    process.wait_for(lambda: runs_on(vm, host), "the VM to run again", 60, interval=0.5)


def test_a_vm_that_nova_found_off_first_runs_again_and_one_that_was_stopped_does_not(
    cloud: Cloud,
) -> None:
    host = cloud.busiest()
    vm, stopped = cloud.tagged_on(host)[:2]
    nova_api.post(f"/servers/{stopped}/action", {"os-stop": None})
    # Nova looks at all guests' power some time after nova-compute has started.
    process.stop(process_name(host, "compute"))
    guests.kill(vm)
    start_services(host, ["compute"])
    process.wait_for(
        lambda: look(vm).status == "SHUTOFF" and look(vm).task is None,
        "Nova to find the VM off and to stop it",
        150,
        interval=1.0,
    )
    assert last_stop(vm)["user_id"] is None
    assert last_stop(stopped)["user_id"] is not None
    verbs_vms.alarms_on()
    try:
        process.wait_for(
            lambda: restarts(cloud, vm) == 1 and runs_on(vm, host),
            "the VM that Nova has stopped to run again",
            90,
            interval=0.5,
        )
    finally:
        verbs_vms.alarms_off()
    assert look(stopped).status == "SHUTOFF"
    assert restarts(cloud, stopped) == 0
    nova_api.post(f"/servers/{stopped}/action", {"os-start": None})
    process.wait_for(lambda: runs_on(stopped, host), "the stopped VM to run", 60, interval=0.5)
