# SPDX-License-Identifier: Apache-2.0
"""Gnocchi: what is known of each host, read exactly as Aodh reads it."""

from __future__ import annotations

import datetime
import logging
import math
from collections.abc import Callable, Iterable
from typing import Any

from gnocchiclient import exceptions as gnocchi_exc
from gnocchiclient.v1.client import Client
from keystoneauth1.session import Session
from oslo_config import cfg

from vmha_remediator.effects import gnocchi_history as history
from vmha_remediator.effects.translate import telemetry, with_timeout
from vmha_remediator.errors import ConfigError, TelemetryUnavailable
from vmha_remediator.rules import metrics, timing, vm_rule
from vmha_remediator.rules.judge import Readings
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.rules.starved import Step

LOG = logging.getLogger(__name__)

SERVICE = "Gnocchi"
METHOD = "last"
#: Gnocchi's filter of "every resource of this type and id" is one request for any number of
#: hosts; more than this would make the request very long.
HOSTS_PER_REQUEST = 200
#: A step of the archive may begin so much after our now: clocks differ a little.
SLOW = datetime.timedelta(seconds=metrics.ARCHIVE_POLICY.granularity)
#: When a step of the archive begins (UTC, without saying so), and its value.
Point = tuple[datetime.datetime, float]


class _Refused(TelemetryUnavailable):
    """Gnocchi is well, but cannot read what was asked for."""


class Gnocchi:
    """The measures of the hosts; every failure is a `TelemetryUnavailable`."""

    def __init__(
        self,
        session: Session,
        conf: cfg.ConfigOpts,
        utcnow: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        options: dict[str, Any] = {
            "interface": conf.cloud.interface,
            "region_name": conf.cloud.region_name,
        }
        if conf.telemetry.gnocchi_endpoint:
            options["endpoint_override"] = conf.telemetry.gnocchi_endpoint
        self._client = Client(
            with_timeout(session, conf.telemetry.timeout), adapter_options=options
        )
        self._utcnow = utcnow

    def hosts(self) -> list[str]:
        """Return the names of all hosts that have ever published, sorted."""
        with telemetry(SERVICE, "listing the hosts"):
            try:
                found = self._client.resource.list(metrics.RESOURCE_TYPE)
            except gnocchi_exc.ResourceTypeNotFound as exc:
                raise _not_set_up() from exc
            return sorted({str(r["host_name"]) for r in found if r.get("ended_at") is None})

    def readings(self, host: str) -> Readings:
        """Return what Aodh would read of `host` now; a metric without data is absent."""
        return self._read([host])[host]

    def readings_of(self, hosts: Iterable[str]) -> dict[str, Readings]:
        """Return the readings of several hosts, one request for up to 200 of them.

        A host whose metrics Gnocchi cannot read (made under another archive policy, say) has
        no readings and is logged; it must not hide the others.
        """
        names = list(dict.fromkeys(hosts))
        found: dict[str, Readings] = {}
        for at in range(0, len(names), HOSTS_PER_REQUEST):
            found |= self._read_some(names[at : at + HOSTS_PER_REQUEST])
        return found

    def power_state(self, server_id: str, granularity: int) -> float | None:
        """Return a VM's power state (libvirt's number) as Aodh would read it now.

        `granularity` (s) is that of its metric's archive policy. None: nothing is known.
        """
        now = self._utcnow().replace(tzinfo=None)
        with telemetry(SERVICE, f"reading the power state of VM {server_id}"):
            try:
                points = self._client.metric.get_measures(
                    vm_rule.METRIC,
                    resource_id=server_id,
                    aggregation=METHOD,
                    granularity=granularity,
                    start=now - datetime.timedelta(seconds=2 * granularity),
                    stop=now,
                )
            except (gnocchi_exc.NotFound, gnocchi_exc.BadRequest) as exc:
                LOG.debug("VM %s has no readable power state: %s", server_id, exc)
                return None
            value = float(points[-1][2]) if points else math.nan
            return value if math.isfinite(value) else None

    def history(self, host: str, seconds: float, thresholds: Thresholds) -> list[Step]:
        """Return all that was published of `host` in the last so many seconds, oldest first.

        Raises `TelemetryUnavailable`.
        """
        return history.read(self._client, host, self.hosts(), self._utcnow(), seconds, thresholds)

    def _read_some(self, hosts: list[str]) -> dict[str, Readings]:
        """Read `hosts` in one request; if that is refused, find the culprit by halves."""
        try:
            return self._read(hosts)
        except _Refused as exc:
            if len(hosts) == 1:
                LOG.warning("%s; this host has no readings", exc)
                return {hosts[0]: Readings(hosts[0], {})}
        middle = len(hosts) // 2
        return self._read_some(hosts[:middle]) | self._read_some(hosts[middle:])

    def _read(self, hosts: list[str]) -> dict[str, Readings]:
        ids = {metrics.resource_id(host): host for host in hosts}
        now = self._utcnow().replace(tzinfo=None)  # as Aodh does: UTC, without saying so
        with telemetry(SERVICE, f"reading the measures of {_some(hosts)}"):
            measures = self._fetch(sorted(ids), now)["measures"]
            last = {host: _last(measures.get(id_, {})) for id_, host in ids.items()}
            _check_clock([point for found in last.values() for point in found.values()], now)
        return {host: Readings(host, _values(found, now)) for host, found in last.items()}

    def _fetch(self, ids: list[str], now: datetime.datetime) -> Any:
        """Read all since the window's start, so that a clock that is slow is noticed."""
        try:
            return self._client.aggregates.fetch(
                ["metric", *([name, METHOD] for name in metrics.METRICS)],
                search={"in": {"id": ids}},
                resource_type=metrics.RESOURCE_TYPE,
                granularity=metrics.ARCHIVE_POLICY.granularity,
                start=now - datetime.timedelta(seconds=timing.window()),
            )
        except gnocchi_exc.MetricNotFound:
            return {"measures": {}}  # nobody has published anything about these hosts
        except gnocchi_exc.BadRequest as exc:
            if "Resource type does not exist" in str(exc):
                raise _not_set_up() from exc
            raise _refused(exc) from exc
        except gnocchi_exc.NotFound as exc:
            raise _refused(exc) from exc

    def setup(self, dry_run: bool = False) -> list[str]:
        """Create the archive policy and the resource type, and return what was done.

        Idempotent. Raises `ConfigError` when one of that name exists and differs: Gnocchi keeps
        old metrics under the old policy, so it cannot just be changed.
        """
        with telemetry(SERVICE, "setting up the archive policy and the resource type"):
            return [self._setup_policy(dry_run), self._setup_type(dry_run)]

    def _setup_policy(self, dry_run: bool) -> str:
        wanted = archive_policy()
        name = wanted["name"]
        try:
            differences = _policy_differences(self._client.archive_policy.get(name), wanted)
        except gnocchi_exc.ArchivePolicyNotFound:
            if not dry_run:
                self._client.archive_policy.create(wanted)
            return f"archive policy {name}: {_done('created', dry_run)}"
        if differences:
            raise ConfigError(
                f"archive policy {name} exists in Gnocchi and differs: {'; '.join(differences)}. "
                "Gnocchi does not change a policy under existing metrics: delete the metrics "
                "that use it and the policy, then run this again"
            )
        return f"archive policy {name}: is as it should be"

    def _setup_type(self, dry_run: bool) -> str:
        wanted = resource_type()
        name = wanted["name"]
        try:
            found = self._client.resource_type.get(name)["attributes"].get("host_name")
        except gnocchi_exc.ResourceTypeNotFound:
            if not dry_run:
                self._client.resource_type.create(wanted)
            return f"resource type {name}: {_done('created', dry_run)}"
        if found is None or found.get("type") != "string":
            raise ConfigError(
                f"resource type {name} exists in Gnocchi without the text attribute host_name; "
                "delete its resources and the type, then run this again"
            )
        return f"resource type {name}: is as it should be"


def archive_policy() -> dict[str, Any]:
    """Return the one archive policy as Gnocchi takes it."""
    policy = metrics.ARCHIVE_POLICY
    return {
        "name": policy.name,
        "back_window": policy.back_window,
        "aggregation_methods": list(policy.aggregation_methods),
        "definition": [{"granularity": policy.granularity, "timespan": policy.timespan}],
    }


def resource_type() -> dict[str, Any]:
    """Return the resource type as Gnocchi takes it: a host has a name."""
    text = {"type": "string", "required": True, "min_length": 1, "max_length": 255}
    return {"name": metrics.RESOURCE_TYPE, "attributes": {"host_name": text}}


def _policy_differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return one phrase for each way in which an existing policy is another."""
    differences = []
    if found["back_window"] != wanted["back_window"]:
        differences.append(
            f"back_window is {found['back_window']}, wanted {wanted['back_window']}"
        )
    methods, need = sorted(found["aggregation_methods"]), sorted(wanted["aggregation_methods"])
    if methods != need:
        differences.append(f"methods are {', '.join(methods)}, wanted {', '.join(need)}")
    # Gnocchi answers with texts such as "0:00:10" and a number of points.
    is_now = [(str(d["granularity"]), int(d["points"])) for d in found["definition"]]
    should_be = [
        (str(datetime.timedelta(seconds=d["granularity"])), d["timespan"] // d["granularity"])
        for d in wanted["definition"]
    ]
    if is_now != should_be:
        differences.append(f"definition is {_define(is_now)}, wanted {_define(should_be)}")
    return differences


def _define(definition: list[tuple[str, int]]) -> str:
    return ", ".join(f"{points} points of {granularity}" for granularity, points in definition)


def _last(of_resource: dict[str, dict[str, list[Any]]]) -> dict[str, Point]:
    """Return the last point since the window's start for each metric that has one."""
    found: dict[str, Point] = {}
    for name in metrics.METRICS:
        points = of_resource.get(name, {}).get(METHOD, [])
        if points:
            time, _, value = points[-1]
            found[name] = (time.replace(tzinfo=None), float(value))
    return found


def _values(found: dict[str, Point], now: datetime.datetime) -> dict[str, float]:
    """Return the values; one that is not finite, or from the future, says nothing."""
    return {
        name: value
        for name, (time, value) in found.items()
        if math.isfinite(value) and time - now <= SLOW
    }


def _check_clock(points: list[Point], now: datetime.datetime) -> None:
    """Refuse to read where everything is from the future: then our own clock is wrong.

    It would call new what is old, and have a host that lives again switched off.
    """
    ahead = [time - now for time, _ in points]
    if ahead and min(ahead) > SLOW:
        raise TelemetryUnavailable(
            f"the measures are {max(ahead).total_seconds():.0f} s ahead of this machine's clock: "
            "set it right (see 'chronyc tracking')"
        )


def _done(what: str, dry_run: bool) -> str:
    return f"would be {what}" if dry_run else what


def _some(hosts: list[str]) -> str:
    return hosts[0] if len(hosts) == 1 else f"{len(hosts)} hosts"


def _refused(exc: Exception) -> _Refused:
    return _Refused(f"Gnocchi cannot read the measures of some host: {exc}")


def _not_set_up() -> TelemetryUnavailable:
    return TelemetryUnavailable(
        f"Gnocchi has no resource type {metrics.RESOURCE_TYPE}; run 'vmha-manage telemetry setup'"
    )
