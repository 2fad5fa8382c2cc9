# SPDX-License-Identifier: Apache-2.0
"""Which hosts are kept from being destinations by what is measured of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.unit.api.cloud import DEAD, WELL, service, sight
from vmha_remediator.effects.clock import SystemClock
from vmha_remediator.engine.destinations import Destinations
from vmha_remediator.engine.judged import Judged
from vmha_remediator.remedy.facts import Facts
from vmha_remediator.remedy.policy import Policy
from vmha_remediator.rules import metrics


def troubled(**measures: dict[str, float]) -> dict[str, str]:
    """Return the hosts that are not to be used, and why, beside h1, which has failed."""
    seen = {host: sight(host, values) for host, values in measures.items()}
    judged = {h: Judged(s.readings, s.verdicts, s.standing) for h, s in seen.items()}
    nova: Any = SimpleNamespace(aggregates=list, free_memory=dict)
    look = Destinations(nova, lambda hosts: judged, SystemClock(), Policy()).look
    return dict(look(Facts("h1"), [service(h) for h in ("h1", *judged)], [], []).troubled)


def test_a_host_that_may_be_dead_takes_no_vm_though_too_few_speak_of_it() -> None:
    alone = {**DEAD, metrics.WITNESSES.name: 1.0}

    assert troubled(h2=dict(WELL), h3=alone) == {"h3": "failure is not ruled out"}
