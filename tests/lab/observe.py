# SPDX-License-Identifier: Apache-2.0
"""Take snapshots of the cloud: evidence, alarms, incidents, VMs. Only looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

from keystoneauth1 import exceptions as ks_exc

from tests.lab import guests, hosts, layout
from tests.lab.errors import LabError
from tests.lab.services import cloudapi
from tests.lab.snapshot import HostView, IncidentView, Snapshot, VmView
from vmha_remediator import conf as configuration
from vmha_remediator.effects.aodh import Aodh
from vmha_remediator.effects.gnocchi import Gnocchi
from vmha_remediator.effects.session import make_session
from vmha_remediator.errors import VmhaError
from vmha_remediator.remedy.incident import Incident
from vmha_remediator.rules.alarms import parse_name
from vmha_remediator.rules.judge import Readings
from vmha_remediator.store import store_to_read

T = TypeVar("T")
Alarms = dict[str, dict[str, str]]  # host -> rule -> Aodh's state
_SERVICES = "2.53"  # os-services with UUIDs


class Observer:
    """Reads the same places as an operator would; what cannot be read becomes a note.

    Incidents opened before `since` (wall time, s) are left out.
    """

    def __init__(self, since: float = 0.0) -> None:
        self.since = since
        conf = configuration.load(config_files=[str(layout.ETC / "vmha.conf")])
        session = make_session(conf)
        self.gnocchi = Gnocchi(session, conf)
        self.aodh = Aodh(session, conf)
        self.store = store_to_read(conf)

    def look(self) -> Snapshot:
        """Return all that can be seen now."""
        return self.begin().whole()

    def begin(self) -> Look:
        """Return a snapshot of which so far only the incidents were read."""
        return Look(self)

    def alarms(self) -> Alarms:
        """Return the state of each of our alarms."""
        found: Alarms = {}
        for alarm in self.aodh.alarms():
            if name := parse_name(alarm["name"]):
                rule, host = name
                found.setdefault(host, {})[rule] = alarm["state"]
        return found

    def incidents(self) -> tuple[IncidentView, ...]:
        """Return all incidents, oldest first."""
        return tuple(
            IncidentView(
                id=str(incident.id),
                host=incident.host,
                rule=incident.rule,
                state=str(incident.state),
                steps=tuple((s.time, s.step, s.sentence) for s in incident.steps),
            )
            for incident in sorted(self.store.incidents(), key=lambda i: i.opened)
            if incident.opened >= self.since
        )

    def latest(self, host: str, rule: str = "failure") -> Incident:
        """Return the newest incident of `host` and `rule`; raises `LabError` if there is none."""
        found = [i for i in self.store.incidents() if (i.host, i.rule) == (host, rule)]
        if not found:
            raise LabError(f"there is no incident {rule} of {host}")
        return self.store.incident(max(found, key=lambda i: i.opened).id)


class Look(Snapshot):
    """A snapshot in the making: each part is read when it is first asked for.

    So one who waits does not ask four services twice a second for what he does not need yet.
    Incidents are read at once: what one of them claims must be true in what is read after it.
    """

    _observer: Observer
    _notes: list[str]

    def __init__(self, observer: Observer) -> None:
        self.__dict__.update(at=time.time(), _observer=observer, _notes=[])
        incidents: tuple[IncidentView, ...] = self._try("incidents", observer.incidents, ())
        self.__dict__["incidents"] = incidents

    @cached_property
    def hosts(self) -> tuple[HostView, ...]:
        """What is measured, alarmed and known to Nova of each host."""
        seen = self._observer
        readings: dict[str, Readings] = self._try(
            "measures", lambda: seen.gnocchi.readings_of(layout.HOSTS), {}
        )
        alarms: Alarms = self._try("alarms", seen.alarms, {})
        nova: dict[str, str] = self._try("nova-computes", compute_services, {})
        return tuple(
            HostView(
                name=host,
                power="frozen" if hosts.frozen(host) else hosts.power_state(host),
                readings=readings[host].values if host in readings else {},
                alarms=alarms.get(host, {}),
                nova=nova.get(host, "-"),
            )
            for host in layout.HOSTS
        )

    @cached_property
    def vms(self) -> tuple[VmView, ...]:
        """Every VM, by Nova and in truth."""
        return self._try("VMs", _vms, ())

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read so far."""
        return tuple(self._notes)

    def whole(self) -> Snapshot:
        """Return this snapshot with nothing left to be read: what nobody asked for is now."""
        hosts, vms = self.hosts, self.vms
        return Snapshot(self.at, hosts, vms, self.incidents, self.notes)

    def _try(self, what: str, look: Callable[[], T], otherwise: T) -> T:
        try:
            return look()
        except (VmhaError, LabError, ks_exc.ClientException) as exc:
            self._notes.append(f"{what}: {exc}")
            return otherwise


def compute_services() -> dict[str, str]:
    """Return host -> what Nova says of its nova-compute."""
    answer = cloudapi.connect().compute.get(
        "/os-services?binary=nova-compute", microversion=_SERVICES
    )
    answer.raise_for_status()
    return {
        service["host"]: "forced down" if service["forced_down"] else service["state"]
        for service in answer.json()["services"]
    }


def _vms() -> tuple[VmView, ...]:
    return tuple(
        VmView(
            id=guest.vm,
            name=guest.name,
            tagged=guest.tagged,
            host=guest.nova_host or "-",
            status=guest.status,
            task=guest.task,
            running_on=guest.running_on,
            last_write=guest.last_write_age,
            writer=guest.last_writer,
        )
        for guest in guests.guests()
    )
