# SPDX-License-Identifier: Apache-2.0
"""A host fails while a service that is needed is down: delayed and explained, nothing lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.lab import hosts, process, services
from tests.lab.services import base
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.remediator import crash, manage
from tests.lab.suite.test_failure import held_without_proof, moved_once, recovered

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("down", [["nova"], ["gnocchi", "aodh"]], ids=" and ".join)
def test_what_is_down_is_named_until_it_is_back(cloud: Cloud, down: Sequence[str]) -> None:
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
    """One that runs has its token; one that starts anew has to log in first."""
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
