# SPDX-License-Identifier: Apache-2.0
"""PURE: has a host been silent for so long that its own watchdog has reset it?

A watchdog switches a host off without anybody's word, so the proof is a waiting time: the host
itself wrote into its slot how long it can live, at most, after it last renewed its lease or was
last acknowledged by somebody whose word counts (`timing.promise`). What is published must show
that it did neither for that time, on every reading and without a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from vmha_remediator.rules import timing
from vmha_remediator.rules.metrics import ARCHIVE_POLICY
from vmha_remediator.rules.model import Thresholds

#: Ages (s) with which a silence may begin. An older one means that the host was up, without an
#: agent, before it became unreachable: it may have rebooted and run VMs with no watchdog fed by
#: anybody. No machine loses its agent, boots and is given VMs in less.
YOUNG = 30.0
#: A newest reading older than this (s) says nothing about now: two of Gnocchi's steps and what
#: a witness's clock may be off.
FRESH = 2.0 * ARCHIVE_POLICY.granularity + 2.0
#: So many steps in a row in which the host lives mean that it does; the first two after a death
#: still hold readings from before it.
LIVES = 4


class Finding(Enum):
    """What the readings allow to be said."""

    RESET = "reset"
    NOT_YET = "not yet"
    NEVER = "never"


@dataclass(frozen=True)
class Step:
    """Everything published of a host within one of Gnocchi's steps; None: nothing.

    `at` is the step's beginning in seconds since the epoch. Of the ages the lowest, of
    `reachable` the highest value counts: each that which speaks most for a living host.
    """

    at: float
    heartbeat: float | None = None
    lease: float | None = None
    reachable: float | None = None
    watchdog: tuple[float, float] | None = None  # lowest, highest
    most_renew: bool = False  # more than half of the hosts renewed their leases throughout

    @property
    def armed(self) -> float:
        """Return the promise (s) that stood during the whole step, 0 if there was none."""
        if self.watchdog is None or self.watchdog[0] != self.watchdog[1]:
            return 0.0
        return self.watchdog[0]


@dataclass(frozen=True)
class Conclusion:
    """A finding, the sentence that says why, and when to look again (s) if not yet."""

    finding: Finding
    sentence: str
    missing: float = 0.0


def conclude(
    host: str,
    steps: Sequence[Step],
    now: float,
    thresholds: Thresholds,
    *,
    margin: float = timing.MARGIN,
    wait: float | None = None,
) -> Conclusion:
    """Return whether the watchdog of `host` has certainly reset it.

    `steps` are in order of time; `now` is in seconds since the epoch; `wait` is an operator's
    own waiting time, in seconds. Raises `RuleError` when that is shorter than the sum.
    """
    if not steps:
        return Conclusion(Finding.NEVER, f"nothing is known of {host}'s watchdog: no readings")
    last = steps[-1]
    if last.watchdog is None or not last.watchdog[1]:
        return Conclusion(
            Finding.NEVER, f"{host} has said that no watchdog is armed, or nothing about one"
        )
    if now - last.at > FRESH:
        return Conclusion(
            Finding.NOT_YET, f"the newest reading of {host} is {now - last.at:.0f} s old", 1.0
        )
    run = _silence(steps, thresholds)
    if not run:
        lives = all(_lives(step, thresholds) for step in steps[-LIVES:])
        if lives and len(steps) >= LIVES:
            return Conclusion(Finding.NEVER, f"{host} is heard, or renews its lease")
        return Conclusion(Finding.NOT_YET, f"{host} is not yet silent on every reading", 1.0)
    young = min(run[0].heartbeat or 0.0, run[0].lease or 0.0)
    if young > YOUNG:
        return Conclusion(
            Finding.NEVER,
            f"{host} had said nothing for {young:.0f} s when it became unreachable, so its word "
            "about a watchdog is from before; it may have rebooted since",
        )
    terms = timing.reset_terms(last.armed, margin)
    needed = timing.waiting(terms, wait)
    # The first reading may stand at the end of its step, the last at the beginning.
    silent = last.at - (run[0].at + ARCHIVE_POLICY.granularity)
    told = f"{timing.shown(terms)}" + (f", [watchdog] wait {wait:g} s" if wait else "")
    if silent < needed:
        return Conclusion(
            Finding.NOT_YET,
            f"{host} has been silent on every reading for {max(silent, 0.0):.0f} s; its watchdog "
            f"has reset it for certain after {needed:.1f} s ({told})",
            needed - silent,
        )
    return Conclusion(
        Finding.RESET,
        f"{host} had an armed watchdog, and for {silent:.0f} s every reading shows heartbeat and "
        f"lease gone and no answer; {needed:.1f} s are enough ({told})",
    )


def _silence(steps: Sequence[Step], thresholds: Thresholds) -> list[Step]:
    """Return the unbroken run of silent steps at the end, oldest first."""
    run: list[Step] = []
    for step in reversed(steps):
        if run and not _follows(step, run[-1]):
            break
        if not _is_silent(step, thresholds):
            break
        run.append(step)
    return run[::-1]


def _follows(step: Step, after: Step) -> bool:
    near = abs(after.at - step.at - ARCHIVE_POLICY.granularity) < 0.5
    return near and step.armed == after.armed


def _is_silent(step: Step, thresholds: Thresholds) -> bool:
    """Tell whether everything that was published shows a failed host with a watchdog."""
    if step.heartbeat is None or step.lease is None or step.reachable is None:
        return False
    gone = step.heartbeat >= thresholds.heartbeat_age and step.lease >= thresholds.lease_age
    return gone and step.reachable == 0 and step.armed > 0 and step.most_renew


def _lives(step: Step, thresholds: Thresholds) -> bool:
    heard = step.heartbeat is not None and step.heartbeat < thresholds.heartbeat_age
    renews = step.lease is not None and step.lease < thresholds.lease_age
    return heard or renews


def most_renew(leases: Iterable[float | None], thresholds: Thresholds) -> bool:
    """Tell whether more than half of the hosts (their highest lease ages; None: unknown) renew.

    Where they do not, a host may live on by the word of others that have lost the storage,
    too (see the feeding rule), and no silence proves anything.
    """
    ages = list(leases)
    good = sum(age is not None and age < thresholds.lease_age for age in ages)
    return 2 * good > len(ages)
