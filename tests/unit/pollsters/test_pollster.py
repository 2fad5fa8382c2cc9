# SPDX-License-Identifier: Apache-2.0
"""The ceilometer pollster: the agent's answer as samples, and silence when in doubt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ceilometer.polling import plugin_base
from oslo_config import cfg

from vmha_pollsters import pollsters
from vmha_pollsters.agent.server import AlreadyRunning, Desk
from vmha_pollsters.ask import ask
from vmha_pollsters.discovery import AgentDiscovery
from vmha_pollsters.pollsters import ROLE_LASTS, HostPollster
from vmha_pollsters.reading import Reading, values
from vmha_remediator.errors import AgentUnavailable
from vmha_remediator.rules import metrics

DEAD = Reading(1, "h2", 6.0, 9.0, False, False, witnesses=2, suspect=True, watchdog=36.5)
WELL = Reading(2, "h3", 0.5, 1.0, True, False, witnesses=3, suspect=False)


def answer(*readings: Reading, age: float = 0.1, role: float = 1.0) -> dict[str, Any]:
    return {
        "host": "h1",
        "age": age,
        "role": "witness",
        "why": [],
        "clock_ok": True,
        "own": {"vmha.host.storage": 1.0, "vmha.host.hears": 1.0, "vmha.host.role": role},
        "watched": len(readings),
        "rows": readings,
    }


def earlier(*readings: Reading) -> dict[str, Any]:
    """Return the answer of an agent that knows nothing of rows."""
    told = answer(*readings)
    del told["rows"]
    hosts = [
        {"host": r.host, "slot": r.slot, "suspect": r.suspect, "values": values(r)}
        for r in readings
    ]
    return {**told, "hosts": hosts}


@pytest.fixture
def socket_path(tmp_path: Path) -> str:
    return str(tmp_path / "agent.sock")


Serve = Callable[[dict[str, Any]], None]


@pytest.fixture
def serve(socket_path: str) -> Iterator[Serve]:
    said: dict[str, dict[str, Any]] = {"now": {}}
    desk = Desk(socket_path, {"readings": lambda _asked: said["now"]})
    yield lambda new: said.update(now=new)
    desk.close()


@pytest.fixture
def pollster() -> HostPollster:
    return HostPollster(cfg.ConfigOpts())


def poll(pollster: HostPollster, path: str) -> dict[tuple[str, str], float]:
    samples = pollster.get_samples(None, {}, [path])
    return {(s.resource_metadata["host"], s.name): s.volume for s in samples}


def test_a_witness_publishes_everything_it_knows(
    pollster: HostPollster, serve: Serve, socket_path: str
) -> None:
    serve(answer(DEAD))
    assert poll(pollster, socket_path) == {
        ("h1", "vmha.host.heartbeat"): 1.0,
        ("h2", "vmha.host.heartbeat.age"): 6.0,
        ("h2", "vmha.host.lease.age"): 9.0,
        ("h2", "vmha.host.reachable"): 0.0,
        ("h2", "vmha.host.isolated"): 0.0,
        ("h2", "vmha.host.witnesses"): 2.0,
        ("h2", "vmha.host.watchdog"): 36.5,
        ("h1", "vmha.host.storage"): 1.0,
        ("h1", "vmha.host.hears"): 1.0,
        ("h1", "vmha.host.role"): 1.0,
    }


def test_an_agent_of_another_release_is_understood(serve: Serve, socket_path: str) -> None:
    later = {**answer(DEAD, WELL), "rows": [(*row, "a new field") for row in (DEAD, WELL)]}
    said = []
    for told in (answer(DEAD, WELL), earlier(DEAD, WELL), later):
        serve(told)
        said.append(poll(HostPollster(cfg.ConfigOpts()), socket_path))
    assert said[0] == said[1] == said[2]


def test_a_member_says_no_role_once_its_last_one_is_history(pollster: HostPollster) -> None:
    def roles(role: float, now: float) -> list[float]:
        samples = pollster._samples(answer(role=role), now)
        return [s.volume for s in samples if s.name == metrics.ROLE.name]

    assert roles(0.0, 0.0) == []
    assert roles(2.0, 100.0) == [2.0]
    assert roles(0.0, 110.0) == [0.0]
    assert roles(0.0, 100.0 + ROLE_LASTS) == []


def test_every_metric_of_the_table_is_published_in_its_unit(
    pollster: HostPollster, serve: Serve, socket_path: str
) -> None:
    serve(answer(DEAD))
    units = {s.name: s.unit for s in pollster.get_samples(None, {}, [socket_path])}
    assert units == {m.name: m.unit for m in metrics.METRICS.values()}


def test_samples_are_filed_under_the_resource_id_everybody_derives(
    pollster: HostPollster, serve: Serve, socket_path: str
) -> None:
    serve(answer(DEAD))
    found = {(s.resource_metadata["host"], s.resource_id, s.type)
             for s in pollster.get_samples(None, {}, [socket_path])}  # fmt: skip
    assert found == {(host, metrics.resource_id(host), "gauge") for host in ("h1", "h2")}


def test_a_suspect_host_comes_every_cycle_a_well_one_does_not(
    pollster: HostPollster, serve: Serve, socket_path: str
) -> None:
    serve(answer(DEAD, WELL))
    first = {host for host, _ in poll(pollster, socket_path)}
    second = {host for host, _ in poll(pollster, socket_path)}
    assert (first, second) == ({"h1", "h2", "h3"}, {"h2"})


def test_what_is_unknown_is_not_published() -> None:
    unknown = Reading(1, "h2", 6.0, None, None, None, witnesses=1, suspect=True)
    assert values(unknown) == {"vmha.host.heartbeat.age": 6.0, "vmha.host.witnesses": 1.0}


def test_a_stuck_agent_is_history(
    pollster: HostPollster, serve: Serve, socket_path: str, caplog: pytest.LogCaptureFixture
) -> None:
    serve(answer(DEAD, age=3.1))
    assert poll(pollster, socket_path) == {}
    assert "vmha-agent is stuck" in caplog.text


def test_a_host_whose_clock_is_wrong_dates_nothing(
    pollster: HostPollster, serve: Serve, socket_path: str
) -> None:
    serve({**answer(), "clock_ok": False})
    assert poll(pollster, socket_path) == {}


def test_a_clock_that_was_just_set_dates_nothing_though_the_agent_has_not_noticed(
    pollster: HostPollster,
    serve: Serve,
    socket_path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(answer(DEAD))
    wall = {"ahead": 0.0}
    clock = SimpleNamespace(time=lambda: 1e9 + wall["ahead"], monotonic=lambda: 100.0)
    monkeypatch.setattr(pollsters, "time", clock)
    assert poll(pollster, socket_path)
    for ahead in (3600.0, 0.0, -3600.0):
        wall["ahead"] = ahead
        assert poll(pollster, socket_path) == {}
        assert poll(pollster, socket_path)  # from now on the agent's word counts
    wall["ahead"] += 0.1  # slewed, not set
    assert poll(pollster, socket_path)


def test_a_missing_agent_is_said_once(
    pollster: HostPollster, socket_path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        assert poll(pollster, socket_path) == {}
    assert caplog.text.count("does not answer") == 1


def test_the_discovery_names_the_configured_socket() -> None:
    conf = cfg.ConfigOpts()
    discovery = AgentDiscovery(conf)
    conf.set_override("agent_socket", "/run/x.sock", group="vmha")
    assert discovery.discover(None) == ["/run/x.sock"]
    assert discovery.group_id is None
    assert isinstance(discovery, plugin_base.DiscoveryBase)


def test_the_pollster_and_its_discovery_find_each_other(pollster: HostPollster) -> None:
    from importlib.metadata import entry_points

    found = {e.name: e.load() for e in entry_points(group="ceilometer.discover.vmha")}
    assert found == {pollster.default_discovery: AgentDiscovery}
    assert [e.load() for e in entry_points(group="ceilometer.poll.vmha")] == [HostPollster]


def test_an_unknown_question_is_answered_with_the_known_ones(
    serve: Serve, socket_path: str
) -> None:
    with pytest.raises(AgentUnavailable, match="does not know 'reboot'"):
        ask(socket_path, "reboot")


def test_one_agent_a_socket(serve: Serve, socket_path: str) -> None:
    with pytest.raises(AlreadyRunning, match="another vmha-agent already serves"):
        Desk(socket_path, {})
