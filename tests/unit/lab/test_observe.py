# SPDX-License-Identifier: Apache-2.0
"""Watching asks each service only for what is waited for, and returns a whole snapshot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.lab import guests, layout, observe
from tests.lab import hosts as lab_hosts
from tests.lab.errors import LabError
from tests.lab.guests import GuestView
from tests.lab.observe import Look, Observer
from tests.lab.snapshot import IncidentView, Snapshot
from tests.lab.watch import Condition, all_well, both, incident_state, verdict, watch
from vmha_remediator.errors import TelemetryUnavailable

HOST = layout.HOSTS[0]


@dataclass
class Cloud:
    """Services that note who was asked; an incident is held at the second look, then recovers."""

    asked: list[str] = field(default_factory=list)
    looks: int = 0
    blind: int = 0  # so many times the alarms cannot be read

    def begin(self) -> Look:
        return Look(cast("Observer", self))

    def incidents(self) -> tuple[IncidentView, ...]:
        self.looks += 1
        state = ("detected", "held", "recovered")[min(self.looks, 3) - 1]
        return (IncidentView("1", HOST, "failure", state),)

    @property
    def gnocchi(self) -> Any:
        return self

    def readings_of(self, hosts: Any) -> dict[str, Any]:
        self.asked.append("gnocchi")
        return {}

    def alarms(self) -> dict[str, dict[str, str]]:
        self.asked.append("aodh")
        if self.blind:
            self.blind -= 1
            raise TelemetryUnavailable("no answer")
        return {host: {"failure": "ok"} for host in layout.HOSTS}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    made = Cloud()

    def services() -> dict[str, str]:
        made.asked.append("nova")
        return dict.fromkeys(layout.HOSTS, "up")

    def servers() -> list[GuestView]:
        made.asked.append("nova servers")
        return []

    monkeypatch.setattr(observe, "compute_services", services)
    monkeypatch.setattr(guests, "guests", servers)
    monkeypatch.setattr(lab_hosts, "power_state", lambda host: "on")
    monkeypatch.setattr(lab_hosts, "frozen", lambda host: False)
    monkeypatch.setattr("tests.lab.watch.INTERVAL", 0.0)
    return made


def watched(cloud: Cloud, until: Condition, timeout: float = 10.0) -> Snapshot:
    return watch(cast("Observer", cloud), until, "it is so", timeout)


def test_waiting_for_an_incident_asks_no_service_until_it_is_there(cloud: Cloud) -> None:
    def state_only(shot: Snapshot) -> bool:
        assert cloud.asked == []
        return incident_state(HOST, "failure", "recovered")(shot)

    shot = watched(cloud, state_only)
    assert cloud.looks == 3
    assert sorted(cloud.asked) == ["aodh", "gnocchi", "nova", "nova servers"]
    assert type(shot) is Snapshot
    assert [view.verdict for view in shot.hosts] == ["well"] * len(layout.HOSTS)


def test_each_part_is_read_once_a_look(cloud: Cloud) -> None:
    watched(cloud, both(all_well, verdict(HOST, "well")))
    assert sorted(cloud.asked) == ["aodh", "gnocchi", "nova", "nova servers"]


def test_what_could_not_be_read_is_not_taken_for_true(cloud: Cloud) -> None:
    """Neither what was waited for nor the rest, which somebody may read in the snapshot."""
    cloud.blind = 2
    shot = watched(cloud, lambda shot: True)
    assert cloud.looks == 3
    assert shot.notes == ()


def test_in_vain_it_says_what_was_not_to_be_seen(cloud: Cloud) -> None:
    cloud.blind = 1
    with pytest.raises(LabError, match=r"in vain until it is so \(cannot see: alarms: no answer"):
        watched(cloud, lambda shot: not shot.hosts, timeout=-1.0)
