# SPDX-License-Identifier: Apache-2.0
"""A cloud in which nothing is wrong, and then one thing at a time that is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.cloud import WELL, room, server, service
from vmha_remediator.cmd import manage_doctor
from vmha_remediator.doctor import settings
from vmha_remediator.doctor.examine import AREAS, examine
from vmha_remediator.doctor.finding import Clock, Fence, Finding, Seen, State, Unread
from vmha_remediator.effects.examine import read_config, seconds_ahead
from vmha_remediator.remedy.capacity import Space
from vmha_remediator.remedy.facts import Server
from vmha_remediator.rules import metrics
from vmha_remediator.rules.alarms import Plan
from vmha_remediator.rules.judge import Readings
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.store import Leader

GOOD_SETTINGS = {
    name: {(s.section, s.option): s.wanted for s in settings.SETTINGS if s.service == name}
    | {("coordination", "backend_url"): ""}
    for name in settings.FILES
}
HOSTS = ("h1", "h2", "h3")


def space(*servers: Server) -> Space:
    """Return three hosts with room for 4096 MiB each, and these servers."""
    return Space({h: room(4096) for h in HOSTS}, {}, servers)


BIG = space(server("db", "h1", "vmha", ram=9000))
ODD = dataclasses.replace(server("db", "h1", "vmha"), extra_specs={"hw:numa_nodes": "2"})


def well(**other: Any) -> Seen:
    seen = Seen(
        now=1000.0,
        limits=Thresholds(),
        services=tuple(service(h) for h in HOSTS),
        servers=(server("db", "h1", "vmha"),),
        nova_version=(2, 100),
        space=space(server("db", "h1", "vmha")),
        telemetry=("archive policy vmha-10s: is as it should be",),
        readings={h: Readings(h, WELL) for h in HOSTS},
        alarms=Plan(unchanged=15),
        alarm_states={("failure", h): "ok" for h in HOSTS},
        fences={h: (Fence("redfish", True, "reads on"),) for h in HOSTS},
        trouble={},
        leader=Leader(1, "engine-1", 0.0, "all quiet", 998.0),
        receiver=True,
        key_mode=0o100640,
        clocks=(Clock("compute", 0.2),),
        agent={"why": []},
        configs=GOOD_SETTINGS,
    )
    return dataclasses.replace(seen, **other)


def without(metric: str) -> dict[str, Readings]:
    left = {name: value for name, value in WELL.items() if name != metric}
    return {h: Readings(h, left if h == "h2" else WELL) for h in HOSTS}


def bad(seen: Seen) -> list[Finding]:
    return [f for f in examine(seen) if f.state is not State.OK]


def test_where_nothing_is_wrong_nothing_is_said() -> None:
    assert bad(well()) == []
    assert {f.area for f in examine(well())} == set(AREAS)


@pytest.mark.parametrize(
    ("other", "check", "says", "fix"),
    [
        ({"services": tuple(service(h) for h in (*HOSTS, "h4"))}, "agents",
         "no witness speaks of h4", "vmha-agent"),
        ({"services": tuple(service(h) for h in HOSTS[:2])}, "agents",
         "h3 publish, but Nova has no nova-compute", "[agent] host"),
        ({"readings": without(metrics.REACHABLE.name)}, "reachability",
         "no probe ever succeeded to h2", "ping each other"),
        ({"readings": {h: Readings(h, dict(WELL) | {metrics.WITNESSES.name: 1}) for h in HOSTS}},
         "witnesses", "fewer than 2 qualified witnesses", "vmha-agent status"),
        ({"alarms": Plan(create=({"name": "x"},))}, "alarms", "1 alarms are missing",
         "vmha-manage alarms sync"),
        ({"alarm_states": {("failure", "h1"): "insufficient data"}}, "evaluation",
         "alarms of h1 have no data", "aodh-evaluator"),
        ({"fences": Unread("hosts.yaml: no such file")}, "fencing", "no such file",
         "vmha-manage fence test"),
        ({"fences": {}, "services": Unread("Nova is away")}, "fencing",
         "no host can be fenced", "vmha-manage fence test"),
        ({"fences": {h: (Fence("redfish", True, "reads on"),) for h in HOSTS[:2]}}, "fencing",
         "h3 cannot be fenced", "hosts_file"),
        ({"fences": {h: (Fence("ipmi", h != "h1", "no answer in 5 s"),) for h in HOSTS}},
         "fencing", "h1 cannot be read: no answer in 5 s", "vmha-manage fence test h1"),
        ({"services": (service("h1"), service("h2", up=False), service("h3", up=False))},
         "capacity", "if h1 fails, no other healthy host takes", "openstack compute service list"),
        ({"space": BIG}, "capacity", "9000 MiB of memory missing", "openstack vmha capacity list"),
        ({"alarm_states": {("failure", h): "alarm" for h in HOSTS}}, "capacity",
         "if h1 fails, no other healthy host takes", "openstack compute service list"),
        ({"servers": (server("toy", "h1"),)}, "protection", "none of 1 VMs is protected",
         "--tag vmha"),
        ({"unread": ("vmha.conf: nothing reads [webhook] base_ulr",)}, "configuration",
         "nothing reads [webhook] base_ulr", "correct it"),
        ({"nova_version": (2, 30)}, "nova", "Nova offers 2.30", "upgrade Nova"),
        ({"telemetry": ("resource type vmha_host: would be created",)}, "gnocchi",
         "would be created", "telemetry setup"),
        ({"leader": None}, "engine", "none runs, or those that run stand by",
         "its log says why it stands by"),
        ({"leader": Leader(1, "e1", 990.0, "", None)}, "engine",
         "e1 has taken the lead and not said anything yet", "look again in a minute"),
        ({"leader": Leader(1, "e1", 0.0, "quiet", 900.0)}, "engine",
         "has said nothing for 100 s", "start vmha-remediator"),
        ({"receiver": Unread("ConnectionError")}, "webhook", "nobody answers", "base_url"),
        ({"receiver": False}, "webhook", "something else answers", "check the address"),
        ({"key_mode": 0o100644}, "webhook key", "everybody on this machine", "chmod 640"),
        ({"clocks": (Clock("metric", -120.0),)}, "clocks",
         "metric's clock is 120.0 s behind", "chronyc"),
        ({"agent": {"why": ["its clock is 3 s off"]}}, "local agent", "its clock is 3 s off",
         "vmha-agent status"),
    ],
)  # fmt: skip
def test_one_thing_is_wrong(other: dict[str, Any], check: str, says: str, fix: str) -> None:
    found = [f for f in bad(well(**other)) if f.check == check]
    assert len(found) == 1, found
    assert found[0].state is State.WRONG
    assert says in found[0].says
    assert fix in found[0].fix


def test_what_only_novas_scheduler_can_tell_is_not_called_well() -> None:
    (found,) = bad(well(space=space(ODD)))
    assert (found.check, found.state) == ("capacity", State.UNKNOWN)
    assert "db asks for a NUMA topology, which only Nova's scheduler can check" in found.says


def test_a_bmc_that_may_be_another_machines_is_not_called_well() -> None:
    fences = {h: (Fence("ipmi", True, "reads on", pinned=h != "h2"),) for h in HOSTS}
    (found,) = bad(well(fences=fences))
    assert (found.check, found.state) == ("identity", State.UNKNOWN)
    assert "nobody can tell whose BMC answers for h2" in found.says
    assert "fence test h2" in found.fix and "h2: {ipmi: {uuid: ...}}" in found.fix


def test_what_cannot_be_read_is_never_called_well() -> None:
    away = {
        field.name: Unread("no answer in time")
        for field in dataclasses.fields(Seen)
        if field.name not in ("now", "limits", "trouble", "policy", "configs", "unread")
    }
    findings = examine(well(**away, configs={}, unread=("a file: nothing reads x",)))
    assert [f for f in findings if f.state is State.OK] == []
    assert all(f.says and f.fix for f in findings)


@pytest.mark.parametrize("setting", settings.SETTINGS, ids=lambda s: f"{s.service}-{s.option}")
def test_every_setting_has_a_value_that_is_good_and_one_that_is_not(
    setting: settings.Setting,
) -> None:
    wanted = "" if setting.wanted == "(unset)" else setting.wanted
    assert setting.good(wanted)
    assert not setting.good("nonsense-86400")


def test_a_default_that_bites_is_found_although_nobody_set_it() -> None:
    configs = dict(GOOD_SETTINGS) | {"gnocchi": {}}
    (found,) = bad(well(configs=configs))
    assert found.says.startswith("[metricd] metric_processing_delay is not set (so 60)")
    assert found.fix.endswith("[metricd] metric_processing_delay = 1")


@pytest.mark.parametrize("option", settings.QUOTAS)
@pytest.mark.parametrize(
    ("limit", "enough"), [("-1", True), ("15", True), ("14", False), ("0", False), ("x", False)]
)
def test_aodhs_quota_must_hold_every_alarm(option: str, limit: str, enough: bool) -> None:
    aodh = {**GOOD_SETTINGS["aodh"], ("api", option): limit}
    found = bad(well(configs=dict(GOOD_SETTINGS) | {"aodh": aodh}))
    if enough:
        assert not found
    else:
        (quota,) = found
        assert f"[api] {option} is {limit}: alarms sync needs 15" in quota.says
        assert quota.fix == f"in /etc/aodh/aodh.conf: [api] {option} = -1"


def test_a_services_file_is_read_as_oslo_config_would(tmp_path: Path) -> None:
    file = tmp_path / "aodh.conf"
    file.write_text("[DEFAULT]\nrecord_history = false\n[evaluator]\nevaluation_interval = 2\n")
    assert read_config(str(file)) == {
        ("DEFAULT", "record_history"): "false",
        ("evaluator", "evaluation_interval"): "2",
    }
    assert isinstance(read_config(str(tmp_path / "none")), Unread)


def test_a_date_tells_a_clock_to_half_a_second() -> None:
    assert seconds_ahead("Thu, 01 Jan 1970 00:01:40 GMT", 100.0) == 0.5
    assert seconds_ahead("nonsense", 0.0) is None
    assert seconds_ahead(None, 0.0) is None


def test_the_command_knows_every_area_and_file() -> None:
    assert set(manage_doctor.AREAS) == set(AREAS)
    assert set(manage_doctor.CONFIGS) == set(settings.FILES)
