# SPDX-License-Identifier: Apache-2.0
"""What the five rules say of a host, told as situations."""

from __future__ import annotations

import itertools

import pytest

from vmha_pollsters.agent.witness.limits import limits
from vmha_remediator.rules import templates
from vmha_remediator.rules.judge import (
    LAG,
    Readings,
    State,
    Verdict,
    combine,
    judge,
    may_hold,
    standing,
)
from vmha_remediator.rules.model import Thresholds

RULES = templates.load()

HEARD, UNHEARD = 0.4, 5.0
RENEWED, EXPIRED = 1.5, 8.0


def readings(**values: float) -> Readings:
    """h1 as the witnesses see it; well unless told otherwise."""
    well = {"heartbeat": 1.0, "heartbeat.age": HEARD, "lease.age": RENEWED}
    well |= {"reachable": 1.0, "isolated": 0.0, "witnesses": 3.0}
    return Readings("h1", {f"vmha.host.{k}": v for k, v in (well | values).items()})


def verdict(found: Readings, thresholds: Thresholds | None = None) -> Verdict | None:
    return standing(judge(RULES, found, thresholds or Thresholds()))


def rule(found: Readings) -> str | None:
    stands = verdict(found)
    return None if stands is None else stands.rule


@pytest.mark.parametrize(
    ("expected", "values"),
    [
        (None, {}),
        ("failure", {"heartbeat.age": UNHEARD, "lease.age": EXPIRED, "reachable": 0.0}),
        ("isolation", {"heartbeat.age": UNHEARD, "reachable": 0.0, "isolated": 1.0}),
        ("partition", {"heartbeat.age": UNHEARD, "reachable": 0.0, "isolated": 0.0}),
        ("agent-down", {"heartbeat.age": UNHEARD, "lease.age": EXPIRED, "reachable": 1.0}),
        ("agent-down", {"heartbeat.age": UNHEARD, "reachable": 1.0}),
        ("storage-lost", {"lease.age": EXPIRED}),
    ],
)
def test_situations_are_told_apart(expected: str | None, values: dict[str, float]) -> None:
    assert rule(readings(**values)) == expected


def test_a_dead_host_with_one_witness_is_no_verdict() -> None:
    dead = {"heartbeat.age": 60.0, "lease.age": 60.0, "reachable": 0.0, "witnesses": 1.0}
    assert verdict(readings(**dead)) is None
    two_hosts = verdict(readings(**dead), Thresholds().for_cluster(2))
    assert two_hosts is not None
    assert two_hosts.rule == "failure"


def test_the_last_moment_before_each_threshold_is_no_failure() -> None:
    dead = {"heartbeat.age": UNHEARD, "lease.age": EXPIRED, "reachable": 0.0}
    assert rule(readings(**dead | {"lease.age": 7.999})) == "partition"
    assert rule(readings(**dead | {"heartbeat.age": 4.999})) == "storage-lost"
    assert rule(readings(**dead | {"witnesses": 1.999})) is None


@pytest.mark.parametrize("missing", ["heartbeat.age", "lease.age", "reachable", "witnesses"])
def test_a_failure_with_anything_missing_is_no_verdict(missing: str) -> None:
    dead = readings(**{"heartbeat.age": 60.0, "lease.age": 60.0, "reachable": 0.0})
    seen = {k: v for k, v in dead.values.items() if k != f"vmha.host.{missing}"}
    assert rule(Readings("h1", seen)) is None


def test_silence_is_no_verdict_and_says_so() -> None:
    verdicts = judge(RULES, Readings("h1", {}), Thresholds())
    assert {v.state for v in verdicts} == {State.UNKNOWN}
    assert standing(verdicts) is None
    assert verdicts[0].evidence == (
        "agent-down cannot be judged for h1: vmha.host.heartbeat.age has no data (needs >= 5); "
        "vmha.host.reachable has no data (needs = 1)."
    )


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), float("-inf")])
def test_a_reading_that_is_no_number_counts_as_none(nonsense: float) -> None:
    dead = {"heartbeat.age": 60.0, "lease.age": nonsense, "reachable": 0.0}
    assert rule(readings(**dead)) is None


def test_at_most_one_rule_holds_whatever_is_read() -> None:
    for heartbeat, lease, reachable, isolated, witnesses in itertools.product(
        (HEARD, UNHEARD), (RENEWED, EXPIRED), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0, 2.0)
    ):
        found = readings(
            **{"heartbeat.age": heartbeat, "lease.age": lease},
            reachable=reachable,
            isolated=isolated,
            witnesses=witnesses,
        )
        holding = [v for v in judge(RULES, found, Thresholds()) if v.state is State.ALARM]
        assert len(holding) <= 1, found


def test_only_an_unheard_unrenewed_unreachable_host_is_recovered() -> None:
    for heartbeat, lease, reachable, isolated in itertools.product(
        (HEARD, UNHEARD), (RENEWED, EXPIRED), (0.0, 1.0), (0.0, 1.0)
    ):
        values = {"heartbeat.age": heartbeat, "lease.age": lease}
        stands = verdict(readings(**values, reachable=reachable, isolated=isolated))
        recovers = stands is not None and stands.action == "recover"
        assert recovers == (heartbeat is UNHEARD and lease is EXPIRED and reachable == 0.0)


def test_the_evidence_names_every_reading() -> None:
    dead = verdict(readings(**{"heartbeat.age": 12.3, "lease.age": 14.0, "reachable": 0.0}))
    assert dead is not None
    assert dead.action == "recover"
    assert dead.severity == "critical"
    assert dead.evidence == (
        "failure holds for h1: vmha.host.lease.age is 14 s (>= 8 holds); "
        "vmha.host.heartbeat.age is 12.3 s (>= 5 holds); vmha.host.reachable is 0 (= 0 holds); "
        "vmha.host.witnesses is 3 (>= 2 holds)."
    )


DEAD = {"heartbeat.age": 12.0, "lease.age": 12.0, "reachable": 0.0}


@pytest.mark.parametrize(
    ("values", "doubtful"),
    [
        ({"lease.age": 7.5}, True),  # another witness, whose look is a little older
        ({"lease.age": 5.0}, True),
        ({"lease.age": 4.9}, False),  # renewed: no witness lags so far behind
        ({"heartbeat.age": 4.9, "lease.age": 60.0}, True),
        ({"heartbeat.age": 3.0, "lease.age": 60.0}, False),
        ({"witnesses": 1.0}, True),  # says nothing about the host
        ({"lease.age": 7.5, "witnesses": 1.0}, True),
        ({"reachable": 1.0, "witnesses": 1.0}, False),
        ({"lease.age": 1.0, "witnesses": 1.0}, False),
        ({}, False),  # it holds: no doubt
    ],
)
def test_a_failure_that_does_not_hold_is_over_only_if_a_reading_shows_that_the_host_lives(
    values: dict[str, float], doubtful: bool
) -> None:
    verdicts = judge(RULES, readings(**DEAD | values), Thresholds())
    (failure,) = [v for v in verdicts if v.rule == "failure"]
    assert (failure.state is State.ALARM) is (values == {})
    assert failure.doubtful is doubtful
    assert may_hold(verdicts) == (failure if doubtful else None)


def test_of_a_host_that_is_well_nothing_is_in_doubt() -> None:
    assert may_hold(judge(RULES, readings(), Thresholds())) is None
    assert may_hold(judge(RULES, Readings("h1", {}), Thresholds())) is None


def test_an_age_may_be_as_much_too_young_as_a_witness_that_speaks_may_lag_behind() -> None:
    agent = limits()
    assert agent.own_read == LAG * agent.lease_live == LAG * Thresholds().lease_age


def test_verdicts_come_in_the_order_of_the_files() -> None:
    verdicts = judge(RULES, readings(), Thresholds())
    assert [v.rule for v in verdicts] == [t.name for t in RULES]


def test_a_report_wins_over_a_recovery() -> None:
    def said(rule: str, action: str, state: State = State.ALARM) -> Verdict:
        return Verdict(rule, "h1", state, action, "low", "")

    recover, report = said("failure", "recover"), said("isolation", "report")
    assert standing([recover, report]) is report
    assert standing([report, recover]) is report
    assert standing([recover, said("isolation", "report", State.UNKNOWN)]) is recover
    assert standing([said("failure", "recover", State.UNKNOWN)]) is None
    assert standing([]) is None


ALARM, OK, NONE = State.ALARM, State.OK, State.UNKNOWN


@pytest.mark.parametrize(
    ("group", "one", "other", "expected"),
    [
        ("and", ALARM, ALARM, ALARM),
        ("and", ALARM, OK, OK),
        ("and", ALARM, NONE, NONE),
        ("and", OK, NONE, OK),
        ("and", OK, OK, OK),
        ("and", NONE, NONE, NONE),
        ("or", ALARM, ALARM, ALARM),
        ("or", ALARM, OK, ALARM),
        ("or", ALARM, NONE, ALARM),
        ("or", OK, NONE, NONE),
        ("or", OK, OK, OK),
        ("or", NONE, NONE, NONE),
    ],
)
def test_three_valued_logic(group: str, one: State, other: State, expected: State) -> None:
    assert combine(group, [one, other]) is expected
    assert combine(group, [other, one]) is expected
