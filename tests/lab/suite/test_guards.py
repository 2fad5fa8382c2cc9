# SPDX-License-Identifier: Apache-2.0
"""Reasons to leave a host alone although it fails: each holds, says why, and ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab import hosts, layout, net, nova_api, process, services, storage
from tests.lab.drill.outcome import RECOVERED
from tests.lab.errors import LabError
from tests.lab.gather import evacuations
from tests.lab.invariants import NOVA_ROUNDING
from tests.lab.services import base
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.remediator import manage, otherwise
from tests.lab.suite.test_failure import moved_once, recovered
from tests.lab.watch import all_well, both, incident_state, verdict

pytestmark = pytest.mark.lab

LOOKS = 12  # looks while nothing may happen: an engine that would act had several cycles for it
REPORT_INTERVAL = 10.0  # s, Nova's own


def unforced(host: str) -> bool:
    """Take a force-down back; Nova refuses while evacuations are not completed."""
    try:
        nova_api.set_service(host, forced_down=False)
    except LabError:
        return False
    return True


def untouched(cloud: Cloud) -> None:
    """Look for a while: Nova is not asked for anything."""
    since = cloud.observer.since - NOVA_ROUNDING
    for _ in range(LOOKS):
        cloud.look()
        assert [e.vm for e in evacuations() if e.created >= since] == []


def held_by(cloud: Cloud, host: str, guard: str) -> int:
    """Wait until the failure of a host is held by a guard; return its incident's number.

    Its advice must name the command that lets it go on.
    """
    cloud.wait(
        incident_state(host, "failure", "held", "fencing", *RECOVERED),
        f"the failure of {host} is held",
    )
    incident = cloud.observer.latest(host)
    assert (str(incident.state), incident.held_by) == ("held", guard), incident.reason
    assert f"vmha-manage incident release {incident.id}" in incident.advice
    return incident.id


def test_a_host_in_maintenance_is_left_alone_until_the_flag_is_taken_back(cloud: Cloud) -> None:
    """Whatever its alarms say (fault 49)."""
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    manage("host", "maintenance", "set", host, "--reason", "a test of the lab")
    try:
        hosts.kill(host)
        cloud.wait(verdict(host, "failure"), f"the alarms say that {host} fails")
        untouched(cloud)
        known = [i for i in cloud.look().incidents if i.host == host]
        assert not [i for i in known if i.rule == "failure"]
        assert host in manage("host", "maintenance", "list")
    finally:
        manage("host", "maintenance", "unset", host)
    recovered(cloud, host, protected)


@pytest.fixture
def cut_off(cloud: Cloud) -> Iterator[str]:
    """Yield a host that its peers neither hear nor see, on either path, and that lives.

    It reaches the controllers, as over a network of their own, and its VMs their disks. It is cut
    off so that its nova-compute reports while it is still only suspected.
    """
    host = cloud.busiest()
    reported = nova_api.epoch(nova_api.service(host)["updated_at"])
    time.sleep((reported + 0.4 * REPORT_INTERVAL - time.time()) % REPORT_INTERVAL)
    net.partition([(host,), tuple(h for h in layout.HOSTS if h != host)], shared=True)
    storage.set_mode(host, "error", under="/vmha")
    yield host
    storage.set_mode(host, "ok", under="/vmha")
    for name in layout.HOSTS:
        net.heal(name)
    cloud.wait(both(incident_state(host, "failure", "cleared"), all_well), f"{host} is well")


def test_a_nova_compute_that_reports_contradicts_the_death_of_its_host(
    cloud: Cloud, cut_off: str
) -> None:
    held_by(cloud, cut_off, "contradiction")
    untouched(cloud)
    assert hosts.power_state(cut_off) == "on"
    incident = cloud.observer.latest(cut_off)
    assert str(incident.state) == "held"
    assert "reported to Nova" in incident.reason


def test_more_failures_than_are_believed_are_held_and_let_go_by_a_person_or_when_it_is_over(
    cloud: Cloud,
) -> None:
    """An engine that starts finds both at once, else it might have fenced one (fault 48)."""
    one, two = layout.HOSTS[2:4]
    protected = {host: cloud.tagged_on(host) for host in (one, two)}
    base.stop(services.find("remediator"))
    for host in (one, two):
        hosts.kill(host)
    cloud.wait(both(verdict(one, "failure"), verdict(two, "failure")), "both of them fail")
    with otherwise({"guards": {"storm_share": 0.25, "storm_window": 5}}):
        released, _ = (held_by(cloud, host, "storm") for host in (one, two))
        untouched(cloud)
        manage("incident", "release", str(released), "--yes")
        recovered(cloud, one, protected[one])
        assert str(cloud.observer.latest(two).state) == "held"
        hosts.boot_host(one)
        recovered(cloud, two, protected[two])  # nobody else fails now


def test_what_an_operator_has_set_in_nova_outlives_failure_recovery_and_return(
    cloud: Cloud,
) -> None:
    """Their force-down holds the incident, too; it and their disabling are theirs to take back."""
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    nova_api.set_service(host, status="disabled", disabled_reason="new disks")
    nova_api.set_service(host, forced_down=True)
    try:
        hosts.kill(host)
        number = held_by(cloud, host, "operator-force-down")
        assert all(vm.host == host for vm in cloud.look().vms if vm.id in protected)
        manage("incident", "release", str(number), "--yes")
        recovered(cloud, host, protected)
        moved_once(cloud, host, protected)
        hosts.boot_host(host)
        cloud.wait(incident_state(host, "failure", "readmitted"), f"{host} is back")
        found = nova_api.service(host)
        assert (found["forced_down"], found["status"]) == (True, "disabled")
        assert found["disabled_reason"] == "new disks"
    finally:
        hosts.boot_host(host)
        nova_api.set_service(host, status="enabled")
        process.wait_for(lambda: unforced(host), f"Nova to take {host} back", 60, interval=1)
