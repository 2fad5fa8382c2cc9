# SPDX-License-Identifier: Apache-2.0
"""A host fails while a service that is needed is down: delayed and explained, nothing lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.lab import hosts, process, services, waiting
from tests.lab.services import base
from tests.lab.settings import Settings
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.remediator import crash, manage, otherwise
from tests.lab.suite.test_failure import held_without_proof, moved_once, recovered
from tests.lab.watch import incident_state
from vmha_remediator.remedy.services import EVALUATOR, EVALUATOR_SILENT

pytestmark = pytest.mark.lab

#: Told sooner than a cloud would want it, and cleared sooner.
IMPATIENT: Settings = {"cluster": {"evaluator_after": 10}, "guards": {"clear_after": 5}}


@pytest.mark.parametrize("down", [["nova"], ["gnocchi", "aodh"]], ids=" and ".join)
def test_what_is_down_is_named_until_it_is_back(cloud: Cloud, down: Sequence[str]) -> None:
    """Nova (fault 44), or what evaluates and measures (fault 42)."""
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    for service in down:
        base.stop(services.find(service))
    hosts.kill(host)
    for service in down:
        cloud.wait_for_word(f"{service} cannot be reached", f"{service} failed")
        base.start(services.find(service))
    recovered(cloud, host, protected)
    moved_once(cloud, host, protected)


def test_an_engine_that_starts_without_keystone_goes_on_when_that_is_there(cloud: Cloud) -> None:
    """One that runs has its token; one that starts anew has to log in first (fault 52)."""
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    base.stop(services.find("keystone"))
    hosts.kill(host)
    crash()
    cloud.wait_for_word("keystone cannot be reached", "keystone failed")
    base.start(services.find("keystone"))
    recovered(cloud, host, protected)
    moved_once(cloud, host, protected)


def test_the_database_of_all_services_dies_before_the_first_evacuation(cloud: Cloud) -> None:
    """One that Nova has taken on and lost with its database waits for a person: see the guide."""
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    held_without_proof(cloud, host)
    process.kill("mariadb")
    manage("fence", "confirm", host, "--yes")
    cloud.wait_for_word("nova failed")
    base.start(services.find("mariadb"))
    recovered(cloud, host, protected, timeout=180.0)
    moved_once(cloud, host, protected)


def test_a_dead_evaluator_is_told_of_once_and_a_host_that_fails_meanwhile_waits_for_it(
    cloud: Cloud,
) -> None:
    """Aodh's API lives, and its list of alarms is calm: the silence itself tells (fault 42)."""
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    with otherwise(IMPATIENT):
        process.wait_for(lambda: cloud.leads("remediator"), "the engine to lead", 30)
        seen_at_work(cloud)
        process.kill("aodh-evaluator")
        hosts.kill(host)
        cloud.wait(
            incident_state(EVALUATOR, EVALUATOR_SILENT, "reported"), "the evaluator is told of"
        )
        waiting.wait(host, "failure", 30)
        meanwhile = cloud.look()
        assert [(i.host, i.rule) for i in meanwhile.incidents] == [(EVALUATOR, EVALUATOR_SILENT)]
        assert all(vm.host == host for vm in meanwhile.vms if vm.id in protected)

        base.start(services.find("aodh-evaluator"))
        recovered(cloud, host, protected)
        shot = cloud.wait(
            incident_state(EVALUATOR, EVALUATOR_SILENT, "cleared"), "the evaluator is back"
        )
        assert len([i for i in shot.incidents if i.rule == EVALUATOR_SILENT]) == 1
    moved_once(cloud, host, protected)


def seen_at_work(cloud: Cloud) -> None:
    """Wait until the evaluator has gone round once more since the engine leads."""
    aodh = cloud.observer.aodh
    before = aodh.evaluated()
    process.wait_for(
        lambda: aodh.evaluated() != before, "aodh-evaluator to go round", 30, interval=0.5
    )
