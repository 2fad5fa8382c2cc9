# SPDX-License-Identifier: Apache-2.0
"""The lab itself is true: guests obey Nova, outlive it, and the BMC reads the real power."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests

from tests.conftest import Lab
from tests.lab import boot, hosts, layout, nova_api, process, records, redfish
from tests.lab.guests import GuestView, guests

pytestmark = pytest.mark.lab

HOST = "h2"


@pytest.fixture
def vm(lab: Lab) -> Iterator[str]:
    """Yield the id of an unprotected VM of the test's own on HOST."""
    (created,) = boot.boot(boot.plan(1, (HOST,), lambda turn: False, "own", boot.names()))
    yield created
    nova_api.request("DELETE", f"/servers/{created}")
    process.wait_for(lambda: created not in records.disks(), "the disk to go with the VM", 60)


def view(vm: str) -> GuestView:
    return next(guest for guest in guests() if guest.vm == vm)


def act(vm: str, action: str, status: str, argument: object = None) -> GuestView:
    """Have Nova do something to a VM and wait until it has."""
    nova_api.request("POST", f"/servers/{vm}/action", json={action: argument})

    def done() -> GuestView | None:
        seen = view(vm)
        return seen if seen.status == status and seen.task is None else None

    return process.wait_for(done, f"{action}", 60, interval=0.3)  # type: ignore[return-value]


def writes_on(vm: str) -> bool:
    """Return whether the guest goes on writing."""
    disk = records.disks()[vm]
    before = disk.stat().st_size
    process.wait_for(lambda: disk.stat().st_size > before, f"{vm} to write", 20)
    return True


def lives(vm: str) -> set[int]:
    """Return the start times of all processes that ever wrote to the disk."""
    return {records.parse(line).start for line in records.lines(records.disks()[vm])}


def test_nova_stops_and_starts_the_process(vm: str) -> None:
    assert act(vm, "os-stop", "SHUTOFF").running_on == ()

    assert act(vm, "os-start", "ACTIVE").running_on == (HOST,)
    assert writes_on(vm)
    assert len(lives(vm)) == 2


def test_a_paused_guest_has_a_process_that_writes_nothing(vm: str) -> None:
    assert act(vm, "pause", "PAUSED").running_on == (HOST,)
    size = records.disks()[vm].stat().st_size
    view(vm)  # asks Nova: time enough for a few writes

    assert records.disks()[vm].stat().st_size == size
    act(vm, "unpause", "ACTIVE")
    assert writes_on(vm)
    assert len(lives(vm)) == 1


def test_suspend_rescue_and_reboot_leave_one_process(vm: str) -> None:
    assert act(vm, "suspend", "SUSPENDED").running_on == ()
    assert act(vm, "resume", "ACTIVE").running_on == (HOST,)
    assert act(vm, "rescue", "RESCUE").running_on == (HOST,)
    assert act(vm, "unrescue", "ACTIVE").running_on == (HOST,)
    assert act(vm, "reboot", "ACTIVE", {"type": "HARD"}).running_on == (HOST,)
    assert writes_on(vm)


def test_a_live_migration_moves_the_writer(vm: str) -> None:
    target = {"host": "h3", "block_migration": "auto"}
    nova_api.request("POST", f"/servers/{vm}/action", json={"os-migrateLive": target})

    process.wait_for(
        lambda: view(vm).running_on == ("h3",) and view(vm).nova_host == "h3", "the move", 60
    )
    assert writes_on(vm)
    process.wait_for(lambda: view(vm).task is None, "Nova to be done", 60)


def test_guests_outlive_their_nova_compute(vm: str) -> None:
    process.kill(f"{HOST}-compute")
    try:
        assert view(vm).running_on == (HOST,)
        assert writes_on(vm)
    finally:
        begun = time.time()
        hosts.start_services(HOST, ["compute"])
        hosts.wait_reporting({HOST: begun})
    assert view(vm).running_on == (HOST,)
    assert len(lives(vm)) == 1


def test_the_bmc_wants_a_password_and_knows_the_power(lab: Lab) -> None:
    system = f"{layout.url('redfish')}/redfish/v1/Systems/{HOST}"
    auth = (redfish.USER, redfish.password_file().read_text().strip())

    assert requests.get(system, timeout=10).status_code == 401
    assert requests.get(system, auth=auth, timeout=10).json()["PowerState"] == "On"


@pytest.mark.parametrize(("mode", "status"), [("refuse", 503), ("lie", 200)])
def test_a_bmc_can_be_made_to_fail(lab: Lab, mode: str, status: int) -> None:
    system = f"{layout.url('redfish')}/redfish/v1/Systems/{HOST}"
    auth = (redfish.USER, redfish.password_file().read_text().strip())
    redfish.set_mode(HOST, mode)
    try:
        answer = requests.get(system, auth=auth, timeout=10)
    finally:
        redfish.set_mode(HOST, "ok")

    assert answer.status_code == status
    assert mode != "lie" or answer.json()["PowerState"] == "Off"
    assert hosts.power_state(HOST) == "on"
