# SPDX-License-Identifier: Apache-2.0
"""An operator says that a host is to be left alone: that holds on the real cloud, too."""

from __future__ import annotations

import subprocess

import pytest

from tests.lab import hosts, layout
from tests.lab.gather import evacuations
from tests.lab.invariants import NOVA_ROUNDING
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.test_failure import recovered
from tests.lab.watch import verdict

pytestmark = pytest.mark.lab

LOOKS = 12  # looks while nothing may happen: an engine that would act had several cycles for it


def manage(*words: str) -> str:
    """Run vmha-manage as an operator does and return what it prints."""
    done = subprocess.run(
        [f"{layout.VENV_BIN}/vmha-manage", "--config-file", f"{layout.ETC}/vmha.conf", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def untouched(cloud: Cloud) -> None:
    """Look for a while: Nova is not asked for anything."""
    since = cloud.observer.since - NOVA_ROUNDING
    for _ in range(LOOKS):
        cloud.look()
        assert [e.vm for e in evacuations() if e.created >= since] == []


def test_a_host_in_maintenance_is_left_alone_until_the_flag_is_taken_back(cloud: Cloud) -> None:
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
