# SPDX-License-Identifier: Apache-2.0
"""Probes: an answer is an answer, silence means something only where answers came before."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from vmha_pollsters.agent.probe import HEALTHY_AGAIN, Outcome, Prober, Record, probe
from vmha_pollsters.lease.layout import Probe

ANSWER: Outcome = {"icmp": True, "tcp": None}
SILENCE: Outcome = {"icmp": False, "tcp": False}
LOCAL_TROUBLE: Outcome = {"icmp": None, "tcp": None}
FILTERED_ICMP: Outcome = {"icmp": False, "tcp": True}


def record(*rounds: tuple[Outcome, bool]) -> Record:
    """Return a record of rounds (outcome, host is well), one a second from 1 s on."""
    made = Record()
    for now, (outcome, healthy) in enumerate(rounds, 1):
        made.note(outcome, healthy, float(now))
    return made


@pytest.mark.parametrize(
    ("rounds", "result"),
    [
        ([], Probe.UNKNOWN),
        ([(SILENCE, False)] * 5, Probe.UNKNOWN),  # never proven: a firewall, perhaps
        ([(ANSWER, True)], Probe.ANSWERS),
        ([(ANSWER, True), (SILENCE, False)], Probe.UNKNOWN),  # one round may get lost
        ([(ANSWER, True), (SILENCE, False), (SILENCE, False)], Probe.SILENT),
        ([(ANSWER, True), *[(SILENCE, False)] * 3, (ANSWER, False)], Probe.ANSWERS),
        ([(ANSWER, True), *[(LOCAL_TROUBLE, False)] * 3], Probe.ANSWERS),
        ([(FILTERED_ICMP, True), *[(SILENCE, False)] * 2], Probe.SILENT),
        # A way that failed twice while the host was well is not believed any more.
        ([(ANSWER, True), *[(SILENCE, True)] * 2, *[(SILENCE, False)] * 3], Probe.UNKNOWN),
        # A proven way that could not be tried leaves the round without a result.
        (
            [({"icmp": True, "tcp": True}, True), *[({"icmp": False, "tcp": None}, False)] * 3],
            Probe.ANSWERS,
        ),
    ],
)
def test_what_the_rounds_so_far_mean(rounds: list[tuple[Outcome, bool]], result: Probe) -> None:
    assert record(*rounds).result(float(len(rounds))) is result


def test_an_old_result_says_nothing() -> None:
    assert record((ANSWER, True)).result(7.0) is Probe.UNKNOWN


def test_when_a_host_is_probed() -> None:
    fresh, proven, doubtful = Record(), record((ANSWER, True)), record((SILENCE, True))
    assert fresh.due(healthy=True, now=0.0)
    assert not proven.due(healthy=True, now=60.0)
    assert proven.due(healthy=True, now=61.0)
    assert not doubtful.due(healthy=True, now=5.0)
    assert doubtful.due(healthy=True, now=6.0)
    assert proven.due(healthy=False, now=1.5)


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def test_an_open_port_and_a_refused_connection_are_answers(listener: int) -> None:
    assert probe("127.0.0.1", listener)["tcp"] is True
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused
        assert probe("127.0.0.1", unused.getsockname()[1])["tcp"] is True


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_a_prober_runs_one_probe_a_host_at_a_time() -> None:
    gate, calls = threading.Event(), []

    def attempt(address: str, port: int) -> Outcome:
        calls.append((address, port))
        gate.wait(10)
        return ANSWER

    prober = Prober(22, attempt)
    for now in (0.0, 100.0):
        prober.consider("h1", "192.0.2.1", lambda: True, now)
    until(lambda: bool(calls))
    gate.set()
    until(lambda: prober.proven("h1") == ("icmp",))
    assert calls == [("192.0.2.1", 22)]
    assert prober.result("h1", time.monotonic()) is Probe.ANSWERS
    prober.stop()


def test_of_those_that_are_well_the_proven_wait_for_their_turn() -> None:
    prober = Prober(22, lambda address, port: ANSWER)
    began = time.monotonic()
    assert prober.due(["h1", "h2"], began) == ["h1", "h2"], "never probed yet"
    prober.consider("h1", "192.0.2.1", lambda: True, began)
    until(lambda: prober.proven("h1") == ("icmp",))
    assert prober.due(["h1", "h2"], time.monotonic()) == ["h2"]
    assert prober.due(["h1"], time.monotonic() + HEALTHY_AGAIN) == ["h1"]
    prober.stop()


def test_hosts_that_are_well_are_probed_in_their_turn_by_one_thread() -> None:
    calls: list[tuple[str, int]] = []

    def attempt(address: str, port: int) -> Outcome:
        calls.append((address, threading.get_ident()))
        well.discard("h2")  # it falls silent before its turn
        return ANSWER

    well = {"h1", "h2", "h3"}
    prober = Prober(22, attempt)
    prober.consider_well([(f"h{n}", f"192.0.2.{n}") for n in (1, 2, 3)], well.__contains__)
    until(lambda: prober.proven("h3") == ("icmp",))
    assert [address for address, _ in calls] == ["192.0.2.1", "192.0.2.3"]
    assert len({thread for _, thread in calls}) == 1
    assert prober.results(time.monotonic()) == {"h1": Probe.ANSWERS, "h3": Probe.ANSWERS}
    prober.consider_well([("h1", "192.0.2.1")], well.__contains__)
    prober.consider("h2", "192.0.2.2", lambda: False, time.monotonic())
    until(lambda: len(calls) == 3)
    assert calls[-1][0] == "192.0.2.2", "h1 is not due, and h2 waits for nobody"
    prober.stop()


def test_anybody_remembers_an_answer_for_a_while() -> None:
    prober = Prober(22, lambda address, port: ANSWER if address == "gateway" else SILENCE)
    assert not prober.anybody(["gateway", "nobody"], time.monotonic(), within=3.0)
    until(lambda: prober.anybody(["gateway", "nobody"], time.monotonic(), within=3.0))
    assert not prober.anybody(["gateway"], time.monotonic() + 60.0, within=3.0)
    assert not prober.anybody([], time.monotonic(), within=3.0)
    prober.stop()
