# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the services around: Aodh, Gnocchi, and the nova-computes of well hosts.

It is only told. A service is the subject of its incident under a name that no host can have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vmha_remediator.remedy.cluster import FEWEST, Limits, names, wants_watch
from vmha_remediator.remedy.facts import Service
from vmha_remediator.rules import metrics
from vmha_remediator.rules.judge import Readings, State, Verdict

AODH = "*aodh"
GNOCCHI = "*gnocchi"
NOVA = "*nova"
EVALUATOR = "*aodh-evaluator"

#: A host's nova-compute alone is dead.
COMPUTE_DOWN = "compute-down"
#: Most nova-computes are: it is not the hosts' matter.
COMPUTE_OUTAGE = "compute-outage"
#: Aodh's API answers, and nobody evaluates its alarms.
EVALUATOR_SILENT = "evaluator-silent"


@dataclass(frozen=True)
class Watched:
    """A service that the engine asks all the time: what it means when it does not answer."""

    name: str
    rule: str
    advice: str


WATCHED: Mapping[str, Watched] = {
    AODH: Watched(
        "Aodh",
        "aodh-unreachable",
        "No alarm rings meanwhile: failures are acted on when it is back. Look at aodh-api, at "
        "Keystone, and at [telemetry] aodh_endpoint.",
    ),
    GNOCCHI: Watched(
        "Gnocchi",
        "gnocchi-unreachable",
        "Nobody is protected meanwhile: without measures there is no verdict. Look at "
        "gnocchi-api, at Keystone, and at [telemetry] gnocchi_endpoint.",
    ),
}
#: How the subjects of these incidents are called.
SUBJECTS: Mapping[str, str] = {host: w.name for host, w in WATCHED.items()} | {
    NOVA: "Nova",
    EVALUATOR: "aodh-evaluator",
}


def unreachable(host: str, why: str, seconds: float) -> Verdict:
    """Return the verdict on a service that has not answered for so long."""
    service = WATCHED[host]
    return Verdict(
        service.rule,
        host,
        State.ALARM,
        "report",
        "critical",
        f"{service.rule}: {service.name} has not answered for {seconds:.0f} s ({why}). "
        f"{service.advice}",
    )


def answers(host: str) -> Verdict:
    """Return the verdict on a service that answers."""
    service = WATCHED[host]
    return Verdict(
        service.rule, host, State.OK, "report", "critical", f"{service.name} answers again"
    )


def evaluates_nothing(seconds: float) -> Verdict:
    """Return the verdict on an evaluator of which nothing has been seen for so long."""
    return _evaluator(
        State.ALARM,
        f"{EVALUATOR_SILENT}: aodh-evaluator has evaluated no alarm for {seconds:.0f} s, though "
        f"Aodh's API answers. No alarm rings meanwhile: failures are acted on when it is back. "
        f"Start aodh-evaluator, or look at its log and at its database.",
    )


def evaluates_wrongly(rule: str, host: str, state: str, seconds: float) -> Verdict:
    """Return the verdict on an evaluator whose alarm contradicts the measures for so long."""
    return _evaluator(
        State.ALARM,
        f"{EVALUATOR_SILENT}: the measures have said {rule} of {host} for {seconds:.0f} s, and "
        f"Aodh's alarm is '{state}'. Alarms do not ring meanwhile, so failures are not acted on. "
        f"Look at aodh-evaluator (does it run, can it log in to Gnocchi?); 'vmha-manage alarms "
        f"sync' makes the alarms what the rules want.",
    )


def evaluates() -> Verdict:
    """Return the verdict on an evaluator that has been seen at work."""
    return _evaluator(State.OK, "aodh-evaluator evaluates alarms")


def _evaluator(state: State, evidence: str) -> Verdict:
    return Verdict(EVALUATOR_SILENT, EVALUATOR, state, "report", "critical", evidence)


def compute(service: Service | None, readings: Readings, limits: Limits) -> Verdict:
    """Return whether nova-compute alone is dead: its host is heard, Nova calls it down."""
    host = readings.host
    age = readings.values.get(metrics.HEARTBEAT_AGE.name)
    wanted = service is not None and wants_watch(service) and not service.forced_down
    if age is None:
        state = State.UNKNOWN
    elif wanted and service is not None and not service.up and age < limits.heartbeat_age:
        state = State.ALARM
    else:
        state = State.OK
    return Verdict(
        COMPUTE_DOWN,
        host,
        state,
        "report",
        "moderate",
        f"{COMPUTE_DOWN}: nova-compute on {host} has stopped reporting to Nova, though the host "
        f"is heard. Its VMs run on and are not moved, but nobody can start, stop or move one "
        f"there. Look at nova-compute on {host} and its log; if the host is to leave, disable "
        f"its compute service."
        if state is State.ALARM
        else f"nova-compute on {host} reports, or is not expected to",
    )


def computes(
    services: Iterable[Service], readings: Iterable[Readings], limits: Limits
) -> tuple[list[Verdict], Verdict]:
    """Return the hosts whose nova-compute alone is dead, and the verdict on all of them.

    When most are dead it is one trouble, of Nova, and no host's.
    """
    by_host = {service.host: service for service in services}
    found = [compute(by_host.get(r.host), r, limits) for r in readings]
    dead = sorted(v.host for v in found if v.state is State.ALARM)
    outage = len(dead) >= FEWEST and len(dead) > limits.share * len(found)
    verdict = Verdict(
        COMPUTE_OUTAGE,
        NOVA,
        State.ALARM if outage else State.OK,
        "report",
        "critical",
        f"{COMPUTE_OUTAGE}: Nova calls {len(dead)} of {len(found)} nova-computes down "
        f"({names(dead)}), though their hosts are heard. Their VMs run on. Look at the message "
        f"bus, nova-conductor and Nova's database.",
    )
    return ([] if outage else [v for v in found if v.state is State.ALARM]), verdict
