# SPDX-License-Identifier: Apache-2.0
"""Situations that are no failure: told apart, reported, and nothing is moved or killed."""

from __future__ import annotations

import os
import signal

import pytest

from tests.lab import hosts, layout, net, process, storage
from tests.lab.observe import compute_services
from tests.lab.snapshot import IncidentView, Snapshot
from tests.lab.suite.conftest import Cloud
from tests.lab.watch import all_well, both, incident_state, verdict
from vmha_remediator.rules import metrics

pytestmark = pytest.mark.lab

LOOKS = 12  # looks after the verdict: an engine that would act had several cycles for it


def steady(cloud: Cloud, before: Snapshot, host: str) -> None:
    """Look for a while: no VM moves, and those of `host` go on writing."""
    for _ in range(LOOKS):
        shot = cloud.look()
        assert shot.vm_hosts() == before.vm_hosts()
        assert all(vm.running_on == (vm.host,) for vm in shot.vms)
        assert all(vm.last_write is not None and vm.last_write < 3 for vm in shot.vms)
    assert not any(i.rule == "failure" and i.host == host for i in fresh(before, shot))


def fresh(before: Snapshot, after: Snapshot) -> list[IncidentView]:
    known = {i.id for i in before.incidents}
    return [i for i in after.incidents if i.id not in known]


def test_a_cut_off_host_is_isolated_and_keeps_its_vms(cloud: Cloud) -> None:
    before = cloud.look()
    net.cut("h3")
    cloud.wait(
        both(verdict("h3", "isolation"), incident_state("h3", "isolation", "reported")),
        "h3 is isolated",
    )
    steady(cloud, before, "h3")
    net.heal("h3")
    cloud.wait(both(all_well, incident_state("h3", "isolation", "cleared")), "h3 is well")


def test_a_dead_agent_is_reported_as_such(cloud: Cloud) -> None:
    before = cloud.look()
    process.kill("h2-agent")
    cloud.wait(
        both(verdict("h2", "agent-down"), incident_state("h2", "agent-down", "reported")),
        "the agent of h2 is found down",
    )
    steady(cloud, before, "h2")
    hosts.start_services("h2", ["agent"])
    cloud.wait(both(all_well, incident_state("h2", "agent-down", "cleared")), "h2 is well")


def test_a_stopped_agent_is_agent_down_and_clears_when_it_goes_on(cloud: Cloud) -> None:
    before = cloud.look()
    agent = process.find("h4-agent")
    assert agent is not None
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        cloud.wait(incident_state("h4", "agent-down", "reported"), "the agent of h4 is down")
        steady(cloud, before, "h4")
    finally:
        os.kill(agent.pid, signal.SIGCONT)
    cloud.wait(both(all_well, incident_state("h4", "agent-down", "cleared")), "h4 is well")


def test_lost_storage_stops_scheduling_and_moves_nothing(cloud: Cloud) -> None:
    before = cloud.look()
    storage.set_mode("h4", "error", under="/vmha")
    cloud.wait(
        both(verdict("h4", "storage-lost"), incident_state("h4", "storage-lost", "reported")),
        "the storage of h4 is found lost",
    )
    steady(cloud, before, "h4")
    storage.set_mode("h4", "ok", under="/vmha")
    cloud.wait(both(all_well, incident_state("h4", "storage-lost", "cleared")), "h4 is well")
    assert compute_services()["h4"] == "up"


def test_two_halves_that_do_not_hear_each_other_move_nothing(cloud: Cloud) -> None:
    before = cloud.look()
    net.partition([("h1", "h2"), ("h3", "h4")])
    silent = ("no verdict", "partition")
    cloud.wait(
        lambda s: all(h.verdict in silent for h in s.hosts if h.name in ("h3", "h4")),
        "nobody claims to know about the other half",
    )
    steady(cloud, before, "h3")
    for host in layout.HOSTS:
        net.heal(host)
    cloud.wait(all_well, "every host is well again")


def test_a_short_freeze_is_nothing(cloud: Cloud) -> None:
    before = cloud.look()
    hosts.freeze("h2")
    cloud.wait(
        lambda s: any(
            h.name == "h2" and h.readings.get(metrics.HEARTBEAT_AGE.name, 0) >= 3 for h in s.hosts
        ),
        "h2 has not been heard for three seconds",
        20,
    )
    hosts.thaw("h2")
    shot = cloud.wait(all_well, "h2 is well")
    assert not [i for i in fresh(before, shot) if i.rule == "failure"]
