# SPDX-License-Identifier: Apache-2.0
"""What is wrong with most hosts at once, from what is known of each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.remedy.build import incident
from vmha_remediator.remedy import cluster, guards
from vmha_remediator.remedy.cluster import Limits, judge
from vmha_remediator.remedy.facts import Facts, Service
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.rules import metrics
from vmha_remediator.rules.judge import Readings, State

M = metrics
OWN = {M.HEARTBEAT.name: 1.0, M.STORAGE.name: 1.0, M.HEARS.name: 1.0}
WELL = {
    **OWN,
    M.HEARTBEAT_AGE.name: 0.4,
    M.LEASE_AGE.name: 1.2,
    M.REACHABLE.name: 1.0,
    M.ISOLATED.name: 0.0,
    M.WITNESSES.name: 3.0,
}
STALLED = {**OWN, M.STORAGE.name: 0.0}
DEAF = {**OWN, M.HEARS.name: 0.0}
NO_LEASE = {**WELL, M.LEASE_AGE.name: 12.0}
PARTITIONED = {**WELL, M.HEARTBEAT_AGE.name: 9.0, M.REACHABLE.name: 0.0}
DEAD = {**PARTITIONED, M.LEASE_AGE.name: 12.0}
AGENT_DOWN = {**WELL, M.HEARTBEAT_AGE.name: 9.0}
NOTHING: dict[str, float] = {}


def _standing(*hosts: dict[str, float], share: float = 0.5) -> str | None:
    readings = [Readings(f"h{n}", values) for n, values in enumerate(hosts, 1)]
    alarming = [v.rule for v in judge(readings, Limits(share)) if v.state is State.ALARM]
    assert len(alarming) <= 1
    return alarming[0] if alarming else None


@pytest.mark.parametrize(
    ("wanted", "hosts"),
    [
        (None, [WELL, WELL, WELL, WELL]),
        (None, []),
        (None, [STALLED]),
        (None, [NOTHING]),
        ("storage-outage", [STALLED, STALLED, STALLED, STALLED]),
        ("storage-outage", [NO_LEASE, NO_LEASE, NO_LEASE, WELL]),
        ("storage-outage", [NO_LEASE, NO_LEASE, NO_LEASE, DEAD, WELL, WELL]),
        (None, [NO_LEASE, NO_LEASE, WELL, WELL]),
        ("network-outage", [DEAF, DEAF, DEAF, DEAF]),
        ("network-outage", [NOTHING, NOTHING, DEAF, DEAF]),
        ("network-outage", [PARTITIONED, PARTITIONED, WELL]),
        (None, [PARTITIONED, PARTITIONED, WELL, WELL, WELL]),
        ("storage-outage", [{**STALLED, M.HEARS.name: 0.0}] * 3),
        ("telemetry-silent", [NOTHING, NOTHING, NOTHING]),
        ("telemetry-silent", [NOTHING, NOTHING, WELL]),
        ("telemetry-silent", [OWN, OWN, OWN]),
        (None, [NOTHING, WELL, WELL]),
        (None, [DEAD, DEAD, DEAD, WELL]),
        (None, [AGENT_DOWN, AGENT_DOWN, AGENT_DOWN, WELL]),
    ],
)
def test_most_hosts_in_one_trouble_are_one_situation(
    wanted: str | None, hosts: list[dict[str, float]]
) -> None:
    assert _standing(*hosts) == wanted


def test_how_many_are_most_is_configured() -> None:
    assert _standing(STALLED, STALLED, WELL, WELL, share=0.4) == "storage-outage"
    assert _standing(STALLED, STALLED, STALLED, WELL, share=0.8) is None


@pytest.mark.parametrize(("wanted", "lost"), [("ok", 0), ("ok", 1), ("alarm", 2), ("alarm", 4)])
def test_what_is_told_stands_until_half_of_the_share_is_left(wanted: str, lost: int) -> None:
    readings = [Readings(f"h{n}", NO_LEASE if n < lost else WELL) for n in range(4)]
    told = judge(readings, Limits(standing="storage-outage"))[0]
    assert told.state.value == wanted


def test_the_sentence_says_who_and_what_to_do() -> None:
    found = judge([Readings(f"h{n}", STALLED) for n in range(10)], Limits())[0]
    assert found.host == "*"
    assert found.action == "report"
    assert "10 of 10 hosts have lost the storage" in found.evidence
    assert "h7 and 2 more" in found.evidence
    assert "Look at the shared storage" in found.evidence


def _service(host: str, **fields: object) -> Service:
    return replace(Service(f"s-{host}", host, True, True, False), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counts", "service"),
    [
        (True, _service("h2")),
        (False, _service("h2", up=False)),
        (False, _service("h2", enabled=False, disabled_reason="new disks")),
        (True, _service("h2", enabled=False, disabled_reason="vmha: storage-lost")),
        (False, _service("h3")),
    ],
)
def test_a_silent_host_counts_only_while_it_ought_to_be_there(
    counts: bool, service: Service
) -> None:
    readings = [Readings("h1", WELL), Readings("h2", NOTHING)]
    expected = cluster.expected(readings, [_service("h1"), service])
    assert [r.host for r in expected] == (["h1", "h2"] if counts else ["h1"])


def test_when_nobody_is_watched_hosts_that_are_down_in_nova_count() -> None:
    readings = [Readings("h1", NOTHING), Readings("h2", NOTHING)]
    down = [_service("h1", up=False), _service("h2", up=False)]
    assert cluster.expected(readings, down) == readings
    assert cluster.expected(readings, None) == readings


@pytest.mark.parametrize(
    ("held", "rule"),
    [(True, "storage-outage"), (True, "network-outage"), (False, "telemetry-silent")],
)
def test_a_failure_is_held_while_a_situation_makes_its_evidence_worthless(
    held: bool, rule: str
) -> None:
    told = next(v for v in judge([], Limits()) if v.rule == rule)
    found = guards.situation(incident("detected"), Facts("h1", situation=told), 0.0, Policy())
    assert (found is not None) is held
    if found is not None:
        assert rule in found.reason
        assert "vmha-manage incident release" in found.advice
