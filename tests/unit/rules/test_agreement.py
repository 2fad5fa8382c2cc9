# SPDX-License-Identifier: Apache-2.0
"""One table of metrics: rules, Ceilometer's files and entry points must all agree with it."""

from __future__ import annotations

import configparser
import uuid
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from ceilometer import sample as ceilometer_sample
from ceilometer import service as ceilometer_service
from ceilometer.pipeline.sample import SampleSource
from ceilometer.polling.manager import PollingManager
from ceilometer.publisher.gnocchi import GnocchiPublisher
from oslo_utils import netutils

from vmha_pollsters import pace
from vmha_pollsters.agent import report
from vmha_pollsters.agent.picture import Picture
from vmha_pollsters.agent.witness.qualification import Qualification
from vmha_pollsters.lease.layout import Roster
from vmha_pollsters.pollsters import HostPollster
from vmha_pollsters.reading import Reading
from vmha_remediator.rules import lint, metrics, pipeline, templates, timing
from vmha_remediator.rules.judge import leaves
from vmha_remediator.rules.model import Thresholds, render

REPO = Path(__file__).parents[3]


@pytest.fixture
def rendered(tmp_path: Path) -> Path:
    for name, text in pipeline.files(tmp_path, 2).items():
        (tmp_path / name).write_text(text)
    return tmp_path


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_namespace_of_resource_ids_never_changes() -> None:
    assert str(metrics.NAMESPACE) == "6f1f4f1c-6d0e-5c3a-9b52-0a9d6c1f7e21"
    assert metrics.resource_id("h1") == str(uuid.uuid5(metrics.NAMESPACE, "h1"))
    assert metrics.resource_id("h1") == "e8da40ec-3ec6-5c9d-a6ca-79c7666f88c6"


def test_rules_use_metrics_that_are_published_as_they_are_kept() -> None:
    for template in templates.load():
        for leaf in leaves(render(template, "h1", Thresholds())):
            assert leaf["metric"] in metrics.METRICS
            assert leaf["resource_type"] == metrics.RESOURCE_TYPE
            assert leaf["granularity"] == metrics.ARCHIVE_POLICY.granularity
            assert leaf["aggregation_method"] in metrics.ARCHIVE_POLICY.aggregation_methods


def test_the_linter_knows_a_well_reading_of_every_metric() -> None:
    assert set(lint.WELL) == set(metrics.METRICS)


def test_pollster_and_agent_publish_exactly_these_metrics() -> None:
    reading = Reading(
        slot=1,
        host="h1",
        heartbeat_age=0.1,
        lease_age=1.0,
        reachable=True,
        isolated=False,
        witnesses=3,
        suspect=False,
        watchdog=0.0,
    )
    roster = Roster(2, (2,), frozenset({2}), 1, 1, 2)
    sure = Qualification(True, storage=True, hears=True)
    answer = {
        "age": 0.0,
        "host": "h1",
        "watched": 1,
        "rows": [reading],
        "role": "master",
        "why": [],
        "clock_ok": True,
        "own": report.own(Picture(0.0, slot=2, roster=roster, qualification=sure)),
    }
    pollster = HostPollster(ceilometer_service.prepare_service(argv=[], config_files=[]))
    samples = list(pollster._samples(answer, 0.0))
    assert sorted(s.name for s in samples) == sorted(metrics.METRICS)
    assert {s.name: s.unit for s in samples} == {m.name: m.unit for m in metrics.METRICS.values()}
    assert {s.resource_id for s in samples} == {metrics.resource_id("h1")}


def test_a_well_host_is_published_as_often_as_the_window_needs() -> None:
    assert timing.Intervals().publish_well == pace.EVERY


def test_late_points_are_kept_for_longer_than_a_window() -> None:
    policy = metrics.ARCHIVE_POLICY
    assert policy.granularity * policy.back_window > timing.window()
    assert policy.timespan % policy.granularity == 0


@pytest.mark.parametrize("group", ["ceilometer.poll.vmha", "ceilometer.discover.vmha"])
def test_entry_points_are_installed_as_they_are_written(group: str) -> None:
    setup = configparser.ConfigParser()
    setup.read(REPO / "setup.cfg")
    written = [line for line in setup["options.entry_points"][group].splitlines() if line]
    installed = [f"{e.name} = {e.value}" for e in entry_points(group=group)]
    assert sorted(installed) == sorted(written)


def test_the_one_pollster_is_the_one_that_is_polled(rendered: Path) -> None:
    assert [e.name for e in entry_points(group="ceilometer.poll.vmha")] == [pipeline.POLLSTER]
    (source,) = read(rendered / pipeline.POLLING)["sources"]
    assert source == {"name": "vmha", "interval": 2, "meters": [pipeline.POLLSTER]}


def test_ceilometers_polling_manager_takes_the_polling_file(rendered: Path) -> None:
    conf = ceilometer_service.prepare_service(argv=[], config_files=[])
    conf.set_override("cfg_file", str(rendered / pipeline.POLLING), group="polling")
    (source,) = PollingManager(conf).sources
    assert source.support_meter(pipeline.POLLSTER)
    assert source.get_interval() == 2
    assert not source.support_meter("cpu")


def test_ceilometers_pipeline_sends_our_samples_to_our_sink_and_no_others(rendered: Path) -> None:
    document = read(rendered / pipeline.PIPELINE)
    (source,) = map(SampleSource, document["sources"])
    assert all(source.support_meter(name) for name in metrics.METRICS)
    assert not source.support_meter("cpu")
    (sink,) = document["sinks"]
    assert source.sinks == [sink["name"]]
    (publisher,) = sink["publishers"]
    options = netutils.urlsplit(publisher).params()
    assert options == {
        "resources_definition_file": str(rendered / pipeline.RESOURCES),
        "enable_filter_project": "false",
        "timeout": "3",
    }


def test_ceilometers_publisher_knows_every_metric_and_names_the_host(rendered: Path) -> None:
    conf = ceilometer_service.prepare_service(argv=[], config_files=[])
    definitions, policies = GnocchiPublisher._load_definitions(
        conf, None, str(rendered / pipeline.RESOURCES)
    )
    assert policies == [], "the publisher may not be allowed to make one"
    (definition,) = definitions
    assert definition.cfg["resource_type"] == metrics.RESOURCE_TYPE
    policy = {"archive_policy_name": metrics.ARCHIVE_POLICY.name}
    assert definition.metrics == dict.fromkeys(metrics.METRICS, policy)
    sample = ceilometer_sample.Sample(
        name=metrics.LEASE_AGE.name,
        type="gauge",
        unit=metrics.LEASE_AGE.unit,
        volume=1.5,
        user_id=None,
        project_id=None,
        resource_id=metrics.resource_id("h1"),
        resource_metadata={"host": "h1"},
    )
    assert definition.sample_attributes(sample) == {"host_name": "h1"}


def test_a_folder_with_odd_characters_survives_the_address(tmp_path: Path) -> None:
    folder = tmp_path / "a b&c=d#e%f"
    (publisher,) = pipeline.pipeline(folder)["sinks"][0]["publishers"]
    options = netutils.urlsplit(publisher).params()
    assert options["resources_definition_file"] == str(folder / pipeline.RESOURCES)


def test_power_state_of_vms_is_taken_in_only_when_asked_for(tmp_path: Path) -> None:
    assert pipeline.pipeline(tmp_path)["sources"][0]["meters"] == ["vmha.*"]
    assert pipeline.pipeline(tmp_path, vms=True)["sources"][0]["meters"] == [
        "vmha.*",
        "power.state",
    ]
    assert len(pipeline.resource_definitions()["resources"]) == 1
    _, instance = pipeline.resource_definitions(vms=True)["resources"]
    assert instance["metrics"] == {
        "power.state": {"archive_policy_name": metrics.ARCHIVE_POLICY.name}
    }


def test_a_vms_sample_says_all_that_ceilometers_resource_type_requires() -> None:
    from ceilometer import gnocchi_client

    needed = {
        name
        for name, attribute in gnocchi_client.resources_initial["instance"].items()
        if attribute["required"]
    }
    assert needed <= set(pipeline.INSTANCE_ATTRIBUTES)
