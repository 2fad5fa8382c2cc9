# SPDX-License-Identifier: Apache-2.0
"""A host's levels in order, until one proves that it is off, or it turns out to live.

One that fails may have taken minutes, and who waits for a watchdog hopes for just that: before
anybody else is asked, somebody looks whether the host is heard again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vmha_remediator.fencing.contract import FenceResult, Heard
from vmha_remediator.fencing.inventory import Level, Method

#: Longest name of a level that an incident's record has room for.
MAX_NAME = 64
#: Asks one method; never raises.
Attempt = Callable[[Method], FenceResult]


def in_order(levels: Iterable[Level], attempt: Attempt, heard: Heard) -> FenceResult:
    """Return the first result with a proof, else one without and with everybody's reason."""
    careful, results = _unless_heard(attempt, heard), []
    for level in levels:
        result = together(level, careful)
        results.append(result)
        if result.proof is not None or result.given_up:
            break
    last = results[-1]
    return FenceResult(last.driver, last.proof, _told(results), last.given_up)


def together(level: Level, attempt: Attempt) -> FenceResult:
    """Return one result for all of a level's methods: a proof only if each has one."""
    results = []
    for method in level:
        results.append(attempt(method))
        if results[-1].proof is None:
            break
    evidence = "; ".join(result.evidence for result in results)
    return FenceResult(level_name(level), results[-1].proof, evidence, results[-1].given_up)


def level_name(level: Level) -> str:
    """Return what a level is called."""
    return "+".join(method.name for method in level)[:MAX_NAME]


def _unless_heard(attempt: Attempt, heard: Heard) -> Attempt:
    """Return `attempt`, for all but the first only while the host is not heard."""
    asked: list[str] = []

    def careful(method: Method) -> FenceResult:
        if asked and heard():
            said = f"{method.name} was not asked: the host is heard again"
            return FenceResult(method.name, None, said, given_up=True)
        asked.append(method.name)
        return attempt(method)

    return careful


def _told(results: list[FenceResult]) -> str:
    """Return every attempt's evidence, in order; with its driver where there were several."""
    if len(results) == 1:
        return results[0].evidence
    return "; then ".join(f"{result.driver}: {result.evidence}" for result in results)
