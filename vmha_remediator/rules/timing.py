# SPDX-License-Identifier: Apache-2.0
"""How long a death takes to be noticed, and a watchdog to be relied on, term by term."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from vmha_remediator.errors import RuleError
from vmha_remediator.rules.metrics import ARCHIVE_POLICY
from vmha_remediator.rules.model import Thresholds

#: Aodh reads one granularity more than it evaluates (ThresholdEvaluator.look_back).
LOOK_BACK = 1
EVALUATION_PERIODS = 1
#: A window that holds fewer healthy publications than this goes to "insufficient data" when
#: one of them is late.
PUBLICATIONS_IN_WINDOW = 3
#: Measured on two cores with everything else running: sample to readable in Gnocchi ...
INGESTION_TYPICAL, INGESTION_WORST = 0.1, 0.5
#: ... one Gnocchi read by the evaluator, one row written by it ...
READ, WRITE = 0.010, 0.0015
#: ... and the notifier's POST until the engine has looked again.
WEBHOOK_TYPICAL, WEBHOOK_WORST = 0.1, 0.3
#: A healthy host costs one read an alarm.
ALARMS_PER_HOST = 5


@dataclass(frozen=True)
class Intervals:
    """How often everything happens, in seconds; `hosts` is the size of the cloud."""

    heartbeat: float = 1.0
    lease: float = 2.0
    publish: float = 2.0  # of a host that is suspect
    publish_well: float = 6.0  # of a host that is well
    aodh: float = 2.0
    hosts: int = 4


@dataclass(frozen=True)
class Term:
    """One part of the time between a host's death and the engine's look at it (seconds)."""

    name: str
    typical: float
    worst: float
    why: str


def window(granularity: int = ARCHIVE_POLICY.granularity) -> int:
    """Return the length in seconds of the window that Aodh, and so the engine, reads."""
    return granularity * (EVALUATION_PERIODS + LOOK_BACK)


def oldest_reading(granularity: int = ARCHIVE_POLICY.granularity) -> int:
    """Return how old, in seconds, a reading can be at most: Gnocchi rounds the start down."""
    return window(granularity) + granularity


def check(thresholds: Thresholds, intervals: Intervals) -> None:
    """Raise `RuleError` when the values cannot work together, saying which and why."""
    needed = PUBLICATIONS_IN_WINDOW * intervals.publish_well
    if window() < needed:
        raise RuleError(
            f"Aodh's window of {window()} s holds fewer than {PUBLICATIONS_IN_WINDOW} "
            f"publications {intervals.publish_well:g} s apart; alarms would flap to "
            f"'insufficient data'"
        )
    for name, age, interval in (
        ("heartbeat_age", thresholds.heartbeat_age, intervals.heartbeat),
        ("lease_age", thresholds.lease_age, intervals.lease),
    ):
        if age < PUBLICATIONS_IN_WINDOW * interval:
            raise RuleError(
                f"threshold {name} of {age:g} s is less than three intervals of {interval:g} s; "
                "a host that is merely slow would be accused"
            )


def detection(
    thresholds: Thresholds | None = None, intervals: Intervals | None = None
) -> list[Term]:
    """Return what the time from power loss to the engine's judgement is made of.

    Heartbeat and lease age together, so only the slower of the two counts.
    """
    limits, every = thresholds or Thresholds(), intervals or Intervals()
    by_lease = limits.lease_age + every.lease >= limits.heartbeat_age + every.heartbeat
    name, age, interval = (
        ("lease", limits.lease_age, every.lease)
        if by_lease
        else ("heartbeat", limits.heartbeat_age, every.heartbeat)
    )
    cycle = every.hosts * ALARMS_PER_HOST * READ
    seen_late = interval if by_lease else 0.0
    return [
        Term(
            f"{name} age",
            age - interval / 2 + seen_late / 2,
            age + seen_late,
            f"the rule waits until the {name} is {age:g} s old; it was renewed up to "
            f"{interval:g} s before the death"
            + (f" and seen up to {interval:g} s after the renewal" if by_lease else ""),
        ),
        Term(
            "publication",
            every.publish / 2,
            every.publish,
            f"a suspect host is published every {every.publish:g} s",
        ),
        Term(
            "ingestion",
            INGESTION_TYPICAL,
            INGESTION_WORST,
            "ceilometer's pipeline and Gnocchi, from sample to readable",
        ),
        Term(
            "evaluation",
            every.aodh / 2,
            every.aodh,
            f"Aodh looks every {every.aodh:g} s ([evaluator] evaluation_interval)",
        ),
        Term(
            "evaluation cycle",
            cycle / 2 + WRITE,
            cycle + WRITE,
            f"one thread, {READ * 1000:g} ms a read, {ALARMS_PER_HOST} alarms for each of "
            f"{every.hosts} hosts",
        ),
        Term("webhook", WEBHOOK_TYPICAL, WEBHOOK_WORST, "notifier, POST, the engine wakes"),
    ]


def total(terms: list[Term]) -> tuple[float, float]:
    """Return (typical, worst) of all terms together, in seconds."""
    return sum(t.typical for t in terms), sum(t.worst for t in terms)


# --- the watchdog ---------------------------------------------------------------------------

#: Renewals that may fail or hang before a host counts its lease as lost: as many as a witness
#: waits for (`vmha_pollsters.agent.witness.limits`), so both lose it at the same time.
RENEWALS = 4.0
#: A witness that hears a host may vouch for it this many renewals longer than its own words
#: reach the others (its own writes may be so old while it counts as qualified) ...
UNSEEN_RENEWALS = 2.5
#: ... and this many heartbeats, after which its own state counts as unknown to itself.
UNSEEN_BEATS = 3.5
#: Two clocks together: NTP slews by at most 0.05 %; a watchdog's own oscillator is worse.
CLOCK_RATE = 0.01
#: Seconds for what is outside all clocks: whole-second watchdogs, the reset itself, writes that
#: the host had sent before it and the storage does after it.
MARGIN = 5.0


@dataclass(frozen=True)
class Wait:
    """One term of the time after which a watchdog has certainly reset its host (seconds)."""

    name: str
    seconds: float
    why: str


def grounds_last(lease_interval: float) -> float:
    """Return for how long (s) one renewal, or one acknowledgement, allows feeding."""
    return RENEWALS * lease_interval


def promise_terms(timeout: float, lease: float = 2.0, heartbeat: float = 1.0) -> list[Wait]:
    """Return what a host's promise is made of: the longest that it lives without grounds.

    `timeout` is the watchdog's, as the device itself says it; `lease` and `heartbeat` are the
    intervals of renewals and beats (seconds). The interval of feeding is no
    term: each feed looks at the age of its grounds, whenever it is.
    """
    return [
        Wait("lease interval", lease, f"the lease is renewed every {lease:g} s"),
        Wait(
            "renewal I/O time-out",
            grounds_last(lease) - lease,
            "a renewal may fail or hang so long before the lease counts as lost",
        ),
        Wait(
            "unseen word",
            UNSEEN_RENEWALS * lease + UNSEEN_BEATS * heartbeat,
            "so long a witness may acknowledge the host without the others knowing",
        ),
        Wait("watchdog time-out", timeout, "the watchdog fires so long after the last feed"),
        Wait(
            "late feed",
            timeout,
            "a feed that was decided in time may be carried out late (a host that stood still), "
            "at worst just before the watchdog fires",
        ),
    ]


@lru_cache(maxsize=64)
def promise(timeout: float, lease: float = 2.0, heartbeat: float = 1.0) -> float:
    """Return the longest time (s) from a host's last grounds to its reset by the watchdog."""
    return sum(term.seconds for term in promise_terms(timeout, lease, heartbeat))


def reset_terms(promised: float, margin: float = MARGIN) -> list[Wait]:
    """Return what to wait, from the first reading that shows silence, with a host's promise.

    Raises `RuleError` for a margin below the least.
    """
    if margin < MARGIN:
        raise RuleError(f"a margin of {margin:g} s is below the least, {MARGIN:g} s")
    return [
        Wait("promise", promised, "the host's own word: it is reset at most so long after"),
        Wait("clock rates", promised * CLOCK_RATE, f"clocks differ by up to {CLOCK_RATE:.0%}"),
        Wait("margin", margin, "whole seconds, the reset itself, writes still under way"),
    ]


def waiting(terms: list[Wait], wanted: float | None = None) -> float:
    """Return the sum, or the longer time that an operator wants.

    Raises `RuleError` with the sum when the wanted time (s) is shorter.
    """
    needed = sum(term.seconds for term in terms)
    if wanted is None:
        return needed
    if wanted < needed:
        raise RuleError(
            f"a wait of {wanted:g} s is too short to prove anything: it takes {needed:.1f} s "
            f"({shown(terms)})"
        )
    return wanted


def shown(terms: list[Wait]) -> str:
    """Return the sum for people: "promise 34.0 s + clock rates 0.3 s + margin 5.0 s"."""
    return " + ".join(f"{term.name} {term.seconds:.1f} s" for term in terms)
