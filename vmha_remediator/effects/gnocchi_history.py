# SPDX-License-Identifier: Apache-2.0
"""Everything that was published of a host lately, one step of Gnocchi's archive at a time."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from gnocchiclient import exceptions as gnocchi_exc
from gnocchiclient.v1.client import Client

from vmha_remediator.effects.translate import telemetry
from vmha_remediator.rules import metrics, starved
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.rules.starved import Step

_STEP = metrics.ARCHIVE_POLICY.granularity
_BEAT, _LEASE = metrics.HEARTBEAT_AGE.name, metrics.LEASE_AGE.name
_REACHABLE, _WATCHDOG = metrics.REACHABLE.name, metrics.WATCHDOG.name
#: Of each metric that extreme which speaks most for a living host.
_OF_HOST = (
    (_BEAT, "min"),
    (_LEASE, "min"),
    (_REACHABLE, "max"),
    (_WATCHDOG, "min"),
    (_WATCHDOG, "max"),
)
_OF_ALL = ((_LEASE, "max"),)
#: Hosts in one request.
_MOST = 200

#: (metric, method) -> beginning of a step (s since the epoch) -> value.
Series = dict[tuple[str, str], dict[float, float]]


def read(
    client: Client,
    host: str,
    hosts: Iterable[str],
    utcnow: datetime.datetime,
    seconds: float,
    thresholds: Thresholds,
) -> list[Step]:
    """Return the steps of `host` over the last `seconds`, with what `hosts` did meanwhile.

    Raises `TelemetryUnavailable`.
    """
    now = utcnow.replace(tzinfo=None)
    start = now - datetime.timedelta(seconds=seconds + 2 * _STEP)
    own = _fetch(client, [host], _OF_HOST, start).get(metrics.resource_id(host), {})
    names = sorted({*hosts, host})
    leases: list[dict[float, float]] = []
    for at in range(0, len(names), _MOST):
        found = _fetch(client, names[at : at + _MOST], _OF_ALL, start)
        leases += [series.get((_LEASE, "max"), {}) for series in found.values()]
    # A host of which nothing at all is published has left; it takes part in nothing.
    leases = [series for series in leases if series]
    times = sorted({time for series in own.values() for time in series})
    return [_step(time, own, leases, thresholds) for time in times]


def _step(
    at: float, own: Series, leases: list[dict[float, float]], thresholds: Thresholds
) -> Step:
    low, high = own.get((_WATCHDOG, "min"), {}).get(at), own.get((_WATCHDOG, "max"), {}).get(at)
    return Step(
        at=at,
        heartbeat=own.get((_BEAT, "min"), {}).get(at),
        lease=own.get((_LEASE, "min"), {}).get(at),
        reachable=own.get((_REACHABLE, "max"), {}).get(at),
        watchdog=None if low is None or high is None else (low, high),
        # The newest step is not over: a host that is well may not yet have been published in it.
        most_renew=starved.most_renew(
            (series.get(at, series.get(at - _STEP)) for series in leases), thresholds
        ),
    )


def _fetch(
    client: Client,
    hosts: Iterable[str],
    wanted: Iterable[tuple[str, str]],
    start: datetime.datetime,
) -> dict[str, Series]:
    """Return resource id -> series, to the end: a slow clock must not cut off what is new."""
    ids = [metrics.resource_id(host) for host in hosts]
    pairs = list(wanted)
    with telemetry("Gnocchi", "reading what was published lately"):
        try:
            reply: Mapping[str, Any] = client.aggregates.fetch(
                ["metric", *([name, method] for name, method in pairs)],
                search={"in": {"id": ids}},
                resource_type=metrics.RESOURCE_TYPE,
                granularity=_STEP,
                start=start,
            )
        except gnocchi_exc.MetricNotFound:
            return {}
        return {
            resource: {pair: _values(of.get(pair[0], {}).get(pair[1], [])) for pair in pairs}
            for resource, of in reply["measures"].items()
        }


def _values(points: Iterable[Any]) -> dict[float, float]:
    return {
        time.replace(tzinfo=datetime.UTC).timestamp(): float(value) for time, _, value in points
    }
