# SPDX-License-Identifier: Apache-2.0
"""The table of the lab's faults is whole, and says of each what a person needs to know."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.drill import ground
from tests.lab.drill.outcome import FAILURE
from tests.lab.drill.table import FAULTS, OUTLAST, Fault, chosen
from tests.lab.errors import LabError
from tests.lab.snapshot import Snapshot, VmView
from vmha_remediator.remedy import cluster
from vmha_remediator.rules import templates, timing

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
GUIDE = Path(__file__).resolve().parents[3] / "doc/source/contributor/lab.rst"
#: Faults that need real kernels, sockets and disks, and those that came cheap.
PLAYED = {*range(1, 13), *range(15, 25), *range(26, 31), 33, 41, 51, 52}


def test_every_fault_that_a_lab_can_show_is_played() -> None:
    assert {fault.number for fault in FAULTS} == PLAYED


def test_names_are_unique_and_no_numbers() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)
    assert not any(name.isdigit() for name in names)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_it_has_a_scenario_and_a_line_in_the_guide(fault: Fault) -> None:
    assert (SCENARIOS / fault.scenario / "script.yaml").exists()
    assert f"``{fault.name}``" in GUIDE.read_text()
    assert f"``{fault.scenario}``" in GUIDE.read_text()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_it_expects_what_there_is(fault: Fault) -> None:
    rules = {template.name for template in templates.load()}
    of_hosts = rules | {cluster.SILENT, cluster.FLAPPING}
    due = fault.expected
    known = set(cluster.BY_NAME) if due.of_cluster else of_hosts
    assert due.rule is None or due.rule in known
    assert due.also <= of_hosts - {FAILURE}
    assert due.moves == (due.rule == FAILURE)


def test_a_fault_of_which_nothing_may_come_outlasts_the_detection_of_a_death() -> None:
    assert timing.total(timing.detection())[1] < OUTLAST


def test_faults_are_chosen_by_name_or_number() -> None:
    assert [f.name for f in chosen(["isolation", "19"])] == ["isolation", "one-way-out"]
    assert {f.number for f in chosen(["41"])} == {41}
    assert chosen([]) == FAULTS


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(LabError, match="no fault 99, rain"):
        chosen(["99", "rain", "19"])


def test_the_busiest_host_is_the_one_with_most_protected_vms() -> None:
    def vm(name: str, tagged: bool, host: str) -> VmView:
        return VmView(name, name, tagged, host, "ACTIVE", None, (host,), 0.1, host)

    shot = Snapshot(0.0, vms=(vm("a", True, "h2"), vm("b", False, "h1"), vm("c", False, "h1")))
    assert ground.busiest(shot, ["h1", "h2", "h3"]) == "h2"
    assert ground.anyone(shot, ["h3", "h1"]) == "h3"
