# SPDX-License-Identifier: Apache-2.0
"""Reading rule files, and what becomes of their placeholders."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmha_remediator.errors import RuleError
from vmha_remediator.rules import metrics, templates
from vmha_remediator.rules.judge import leaves
from vmha_remediator.rules.model import Thresholds

PACKAGED = {template.name: template for template in templates.load()}
AGENT_DOWN = (Path(__file__).parents[3] / "alarm-templates" / "agent-down.yaml").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "agent-down.yaml").write_text(AGENT_DOWN)
    return tmp_path


def test_a_folder_of_ones_own_replaces_the_packaged_rules(folder: Path) -> None:
    assert [t.name for t in templates.load(folder)] == ["agent-down"]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("severity: low", "severity: low\nsevrity: low", "unknown key sevrity"),
        ("severity: low\n", "", "misses severity"),
        ("severity: low", "severity: low\nseverity: critical", "'severity' is written twice"),
        ("      threshold: 1", "      threshold: 1\n      threshold: 0", "'threshold' is written"),
        ("severity: low", "severity: [low]", "severity must be a text"),
        ("action: report", "action: yes", "action must be a text"),
        ("action: report", "action: report\nactions: fence", "actions must be a list"),
        ("rule:\n  and:", "rule:\n  - and:", "rule must be a mapping"),
        ("name: agent-down", "name: other", "name the file other.yaml"),
        ("name: agent-down", "name: !!python/name:os.system", "not readable as YAML"),
        ("name: agent-down", "{", "not readable as YAML"),
        (AGENT_DOWN, "", "must be a mapping"),
        (AGENT_DOWN, "- a", "must be a mapping"),
        ("rule:\n  and:", "rule: and\nx:\n  and:", "unknown key x"),
        ("granularity: $granularity", "granularity: $granularityy", "granularity is"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    folder: Path, old: str, new: str, complaint: str
) -> None:
    assert old in AGENT_DOWN
    (folder / "agent-down.yaml").write_text(AGENT_DOWN.replace(old, new, 1))
    with pytest.raises(RuleError, match="agent-down") as caught:
        templates.load(folder)
    assert complaint in str(caught.value)


def test_a_rule_that_cannot_be_trusted_stops_the_loading(folder: Path) -> None:
    careless = AGENT_DOWN.replace("action: report", "action: recover")
    (folder / "agent-down.yaml").write_text(careless)
    with pytest.raises(RuleError, match="recovers without proof"):
        templates.load(folder)


def test_an_empty_or_missing_folder_is_no_set_of_rules(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="holds no rule"):
        templates.load(tmp_path)
    with pytest.raises(RuleError, match="No such file"):
        templates.load(tmp_path / "nowhere")


def test_a_file_that_would_be_passed_over_is_named(folder: Path) -> None:
    (folder / "failure.yml").write_text("x")
    with pytest.raises(RuleError, match=r"failure\.yml: is not read"):
        templates.load(folder)


def test_a_file_that_is_no_text_is_named(folder: Path) -> None:
    (folder / "other.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RuleError, match=r"other\.yaml: "):
        templates.load(folder)


def test_every_placeholder_is_filled() -> None:
    rule = templates.render(PACKAGED["failure"], "h1", Thresholds(6.0, 9.0, 3))
    assert {leaf["resource_id"] for leaf in leaves(rule)} == {metrics.resource_id("h1")}
    assert {leaf["granularity"] for leaf in leaves(rule)} == {metrics.ARCHIVE_POLICY.granularity}
    assert {leaf["metric"]: leaf["threshold"] for leaf in leaves(rule)} == {
        "vmha.host.lease.age": 9.0,
        "vmha.host.heartbeat.age": 6.0,
        "vmha.host.reachable": 0,
        "vmha.host.witnesses": 3.0,
    }
    assert "$" not in str(rule)


def test_rendering_leaves_the_template_as_it_was() -> None:
    templates.render(PACKAGED["failure"], "h1", Thresholds())
    again = templates.render(PACKAGED["failure"], "h2", Thresholds())
    assert {leaf["resource_id"] for leaf in leaves(again)} == {metrics.resource_id("h2")}


@pytest.mark.parametrize(("agents", "witnesses"), [(0, 2), (1, 1), (2, 1), (3, 2), (100, 2)])
def test_a_small_cluster_makes_do_with_one_witness(agents: int, witnesses: int) -> None:
    assert Thresholds().for_cluster(agents) == Thresholds(witnesses=witnesses)


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_age": 2.9},
        {"heartbeat_age": float("nan")},
        {"lease_age": 5.9},
        {"lease_age": float("inf")},
        {"witnesses": 0},
    ],
)
def test_thresholds_that_would_call_the_living_dead_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RuleError, match=next(iter(wrong))):
        Thresholds(**wrong)  # type: ignore[arg-type]
