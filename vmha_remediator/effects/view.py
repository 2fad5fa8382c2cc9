# SPDX-License-Identifier: Apache-2.0
"""One look at the whole cloud for many readers: what is asked twice at once is asked once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from oslo_config import cfg
from oslo_log import log

from vmha_remediator.conf import rules as rules_conf
from vmha_remediator.effects.aodh import Aodh
from vmha_remediator.effects.aside import Aside
from vmha_remediator.effects.gnocchi import Gnocchi
from vmha_remediator.effects.nova import make_nova
from vmha_remediator.effects.placement import Placement, read_space
from vmha_remediator.effects.session import make_connection, make_session
from vmha_remediator.errors import CloudRefused, CloudUnavailable, ServiceUnavailable
from vmha_remediator.remedy.capacity import Space
from vmha_remediator.remedy.facts import Server, Service
from vmha_remediator.remedy.look import Look, Sight
from vmha_remediator.rules import judge
from vmha_remediator.rules.judge import Readings
from vmha_remediator.rules.model import Template

LOG = log.getLogger(__name__)

T = TypeVar("T")


class Shared(Generic[T]):
    """A value that is fetched when it is older than `age` seconds, by one caller at a time.

    A failure is shared as well, so that a service that hangs is not asked by every reader in
    turn.
    """

    def __init__(
        self, fetch: Callable[[], T], age: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch, self._age, self._clock = fetch, age, clock
        self._lock = threading.Lock()
        self._at: float | None = None
        self._value: T | ServiceUnavailable

    def get(self) -> T:
        """Return the value; raises the `ServiceUnavailable` that the latest attempt raised."""
        asked = self._clock()
        with self._lock:
            if self._at is None or self._at + self._age <= asked:
                try:
                    self._value = self._fetch()
                except ServiceUnavailable as exc:
                    self._value = exc
                self._at = self._clock()
            value = self._value
        if isinstance(value, ServiceUnavailable):
            raise type(value)(str(value))
        return value


class CloudView:
    """The cloud as Nova, Gnocchi and Aodh show it now."""

    def __init__(self, conf: cfg.ConfigOpts, templates: Iterable[Template]) -> None:
        session = make_session(conf)
        self._conf, self._templates = conf, tuple(templates)
        self._gnocchi, self._aodh = Gnocchi(session, conf), Aodh(session, conf)
        connection = make_connection(conf, session)
        self._nova = make_nova(conf, connection)
        self._placement = Placement(connection, conf.cloud.timeout)
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="look")
        self._look = Shared(self._look_now, conf.api.view_age)
        self._servers = Shared(self._servers_now, conf.api.servers_age)
        self._space = Aside("room on the hosts", self._space_now, conf.api.capacity_age)
        self._alarms = Shared(self._aodh.alarms, conf.api.view_age)

    def look(self) -> Look:
        """Return the hosts; a part that cannot be read is named in `trouble`."""
        return self._look.get()

    def servers(self) -> tuple[Server, ...]:
        """Return all servers of all projects; raises `CloudUnavailable`."""
        return self._servers.get()

    def space(self, wait: float) -> Space:
        """Return the room on all hosts after at most `wait` s; raises `CloudUnavailable`."""
        return self._space.get(wait)

    def examined(self, servers: list[Server]) -> list[Server]:
        """Return servers with what their ports and shares tell, where that can be read."""
        try:
            return self._nova.examined(servers)
        except (CloudUnavailable, CloudRefused) as exc:
            LOG.warning("ports and shares of servers cannot be read now: %s", exc)
            return servers

    def hosts(self) -> list[str]:
        """Return the hosts that publish measures, read now; raises `TelemetryUnavailable`."""
        return self._gnocchi.hosts()

    def alarms(self) -> list[dict[str, Any]]:
        """Return our alarms as Aodh holds them; raises `TelemetryUnavailable`."""
        return self._alarms.get()

    def _look_now(self) -> Look:
        asked = self._pool.submit(self._services_now)
        trouble: list[str] = []
        sights: dict[str, Sight] | None = None
        services: dict[str, Service] | None = None
        try:
            sights = self._sights_now()
        except ServiceUnavailable as exc:
            trouble.append(f"the measures cannot be read now: {exc}")
        try:
            services = asked.result()
        except ServiceUnavailable as exc:
            trouble.append(f"Nova's services cannot be listed now: {exc}")
        return Look(sights, services, tuple(trouble), time.time())

    def _services_now(self) -> dict[str, Service]:
        return {service.host: service for service in self._nova.services()}

    def _servers_now(self) -> tuple[Server, ...]:
        return tuple(self._nova.all_servers())

    def _space_now(self) -> Space:
        return read_space(self._nova, self._placement, self.servers())

    def _sights_now(self) -> dict[str, Sight]:
        names = self._gnocchi.hosts()
        found = self._gnocchi.readings_of(names) if names else {}
        return {name: self._judge(readings, len(names)) for name, readings in found.items()}

    def _judge(self, readings: Readings, agents: int) -> Sight:
        limits = rules_conf.thresholds(self._conf, agents)
        verdicts = judge.judge(self._templates, readings, limits) if readings.values else []
        return Sight(readings, tuple(verdicts), judge.standing(verdicts))
