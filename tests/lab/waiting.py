# SPDX-License-Identifier: Apache-2.0
"""Wait until a host's evidence means something: the judge on what Gnocchi says now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from tests.lab import layout
from tests.lab.errors import LabError
from vmha_remediator import conf as vmha_conf
from vmha_remediator.conf import rules as rules_conf
from vmha_remediator.effects.gnocchi import Gnocchi
from vmha_remediator.effects.session import make_session
from vmha_remediator.errors import TelemetryUnavailable, VmhaError
from vmha_remediator.rules import metrics, templates
from vmha_remediator.rules.judge import Readings, State, Verdict, judge, standing

WELL, NONE = "well", "none"
_INTERVAL = 0.5  # s


def names() -> list[str]:
    """Return what can be waited for: every rule, "well" and "none" (no verdict)."""
    return [*(template.name for template in templates.load()), WELL, NONE]


def wait(host: str, wanted: str, timeout: float) -> tuple[str, float]:
    """Return (the evidence, seconds it took) once the verdict on `host` is `wanted`.

    Raises `LabError` with the last verdict when it is not within `timeout` seconds.
    """
    if wanted not in names():
        raise LabError(f"no verdict {wanted!r}: one of {', '.join(names())}")
    look = _looker(host)
    begun = time.monotonic()
    while True:
        try:
            verdict, evidence = look()
        except TelemetryUnavailable as exc:
            verdict, evidence = "unreadable", str(exc)
        took = time.monotonic() - begun
        if verdict == wanted:
            return evidence, took
        if took > timeout:
            raise LabError(
                f"{host} is not {wanted!r} after {timeout:g} s, but {verdict!r}: {evidence}"
            )
        time.sleep(_INTERVAL)


def name_of(verdicts: Iterable[Verdict], values: Iterable[str]) -> tuple[str, str]:
    """Return (verdict, evidence): a rule's name, "well", or "none" where data is missing."""
    found = list(verdicts)
    stands = standing(found)
    if stands is not None:
        return stands.rule, stands.evidence
    missing = sorted(set(metrics.METRICS) - {metrics.ROLE.name} - set(values))  # few have one
    if missing:
        return NONE, f"no data for {', '.join(missing)}"
    unsure = [v for v in found if v.state is State.UNKNOWN]
    return (NONE, unsure[0].evidence) if unsure else (WELL, "every rule is ok")


class Rules:
    """The rule files with the lab's thresholds; raises `LabError` if they cannot be read."""

    def __init__(self) -> None:
        config = layout.ETC / "vmha.conf"
        try:
            self.conf = vmha_conf.load(config_files=[str(config)])
            self._known = templates.load(self.conf.rules.directory)
            self._thresholds = rules_conf.thresholds(self.conf, len(layout.HOSTS))
        except VmhaError as exc:
            raise LabError(f"the rules cannot be judged: {exc}") from exc

    def verdict(self, host: str, values: Mapping[str, float]) -> tuple[str, str]:
        """Return (verdict, evidence) of these readings of a host, as `name_of` words it."""
        readings = Readings(host, values)
        return name_of(judge(self._known, readings, self._thresholds), values)


def _looker(host: str) -> Callable[[], tuple[str, str]]:
    rules = Rules()
    try:
        gnocchi = Gnocchi(make_session(rules.conf), rules.conf)
    except VmhaError as exc:
        raise LabError(f"Gnocchi cannot be asked: {exc}") from exc
    return lambda: rules.verdict(host, gnocchi.readings(host).values)
