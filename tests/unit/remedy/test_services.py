# SPDX-License-Identifier: Apache-2.0
"""Services around the hosts: a nova-compute that is dead alone, or most of them at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.remedy.build import service
from vmha_remediator.remedy import services
from vmha_remediator.remedy.cluster import Limits
from vmha_remediator.rules import metrics
from vmha_remediator.rules.judge import Readings, State

LIMITS = Limits()


def heard(host: str = "h1", age: float = 1.0) -> Readings:
    return Readings(host, {metrics.HEARTBEAT_AGE.name: age})


@pytest.mark.parametrize(
    ("what", "fields", "age", "state"),
    [
        ("it reports", {}, 1.0, State.OK),
        ("it is down on a host that is well", {"up": False}, 1.0, State.ALARM),
        ("its host is not heard either", {"up": False}, 7.0, State.OK),
        ("somebody has forced it down", {"up": False, "forced_down": True}, 1.0, State.OK),
        ("an operator has disabled it", {"up": False, "enabled": False}, 1.0, State.OK),
        (
            "we have disabled it",
            {"up": False, "enabled": False, "disabled_reason": "vmha: storage-lost"},
            1.0,
            State.ALARM,
        ),
    ],
)
def test_a_compute_that_is_dead_alone(
    what: str, fields: dict[str, Any], age: float, state: State
) -> None:
    found = services.compute(service(**fields), heard(age=age), LIMITS)
    assert found.state is state, what
    assert found.action == "report"


def test_without_measures_or_a_service_nothing_is_said_of_a_compute() -> None:
    assert services.compute(service(up=False), Readings("h1", {}), LIMITS).state is State.UNKNOWN
    assert services.compute(None, heard(), LIMITS).state is State.OK


@pytest.mark.parametrize(
    ("dead", "told"), [([], []), (["h1"], ["h1"]), (["h1", "h2"], ["h1", "h2"])]
)
def test_few_dead_computes_are_their_hosts_matter(dead: list[str], told: list[str]) -> None:
    hosts = ("h1", "h2", "h3", "h4")
    listed = [service(host=host, up=host not in dead) for host in hosts]
    found, outage = services.computes(listed, [heard(host) for host in hosts], LIMITS)
    assert [verdict.host for verdict in found] == told
    assert outage.state is State.OK


def test_most_dead_computes_are_one_trouble_of_nova() -> None:
    hosts = ("h1", "h2", "h3", "h4")
    listed = [service(host=host, up=host == "h4") for host in hosts]
    found, outage = services.computes(listed, [heard(host) for host in hosts], LIMITS)
    assert found == []
    assert (outage.host, outage.state) == (services.NOVA, State.ALARM)
    assert "3 of 4" in outage.evidence
