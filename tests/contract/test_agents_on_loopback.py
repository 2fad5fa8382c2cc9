# SPDX-License-Identifier: Apache-2.0
"""Four real agents on 127.0.0.1 to .4 with one real slots file: the evidence, told as stories.

They share this machine's kernel, so a killed agent's "host" still answers probes.
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator

import pytest

from tests.contract.agents import (
    AGE,
    HEARS,
    HOSTS,
    LEASE,
    LEASE_AGE,
    REACHABLE,
    WITNESSES,
    Cluster,
    wait_for,
)
from vmha_pollsters.agent import area


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("agents"))
    try:
        for host in HOSTS:
            made.start(host)
        yield made
    finally:
        made.stop()


def test_they_elect_the_host_of_highest_priority_and_agree(cluster: Cluster) -> None:
    wait_for(cluster.all_well, "three witnesses say that all is well")
    wait_for(
        lambda: all(
            cluster.status(host)["roster"]
            == {**cluster.status("h1")["roster"], "master": "h1", "witnesses": ["h1", "h2", "h3"]}
            for host in HOSTS
        ),
        "every host knows h1 as the master and h1, h2, h3 as the witnesses",
    )
    assert cluster.readings("h4")["hosts"] == []
    assert cluster.readings("h4")["role"] == "member"


def test_a_killed_master_is_told_by_the_others_and_replaced(cluster: Cluster) -> None:
    wait_for(cluster.all_well, "all is well before")
    cluster.signal("h1", signal.SIGKILL)

    def told() -> bool:
        says = [cluster.says(witness, "h1") for witness in ("h2", "h3")]
        return all(
            s is not None
            and s[AGE] >= 5.0
            and s.get(LEASE_AGE, 0.0) >= 8.0
            and s[WITNESSES] >= 2
            and s.get(REACHABLE) == 1.0
            for s in says
        )

    wait_for(told, "h2 and h3 say: h1 silent for 5 s, lease 8 s old, but its kernel answers")
    wait_for(
        lambda: cluster.status("h4")["roster"]["witnesses"] == ["h2", "h3", "h4"],
        "h4 fills the gap among the witnesses",
    )
    assert cluster.status("h2")["role"] == "master"
    alive = ("h2", "h3", "h4")
    for watched in cluster.witnesses().values():
        assert all(watched[host][AGE] < HEARS for host in alive), "nobody alive is accused"


def test_a_host_that_returns_takes_its_slot_again(cluster: Cluster) -> None:
    before = {s["host"]: s for s in area.dump(str(cluster.slots))["slots"]}
    (cluster.folder / "h1.boot").write_text(str(uuid.uuid4()))
    cluster.start("h1")
    wait_for(cluster.all_well, "all is well again")
    after = {s["host"]: s for s in area.dump(str(cluster.slots))["slots"]}
    assert after["h1"]["slot"] == before["h1"]["slot"]
    assert after["h1"]["generation"] == before["h1"]["generation"] + 1
    wait_for(lambda: cluster.status("h1")["role"] == "master", "h1 is handed its rank again")


def test_a_frozen_master_is_replaced_and_accuses_nobody_when_it_wakes(cluster: Cluster) -> None:
    wait_for(cluster.all_well, "all is well before")
    cluster.signal("h1", signal.SIGSTOP)
    wait_for(lambda: cluster.status("h2")["role"] == "master", "h2 takes over")
    wait_for(lambda: (cluster.says("h2", "h1") or {}).get(AGE, 0) > 5, "h1 is seen to be silent")
    cluster.signal("h1", signal.SIGCONT)

    def well_and_fair() -> bool:
        for host, values in cluster.witnesses().get("h1", {}).items():
            assert values[AGE] < HEARS, f"h1 woke up and accuses {host}"
            assert values.get(LEASE_AGE, 0.0) < 4 * LEASE, f"h1 woke up and accuses {host}"
        return cluster.all_well()

    wait_for(well_and_fair, "all is well again")


def test_a_witness_whose_storage_hangs_says_nothing_and_why(cluster: Cluster) -> None:
    wait_for(cluster.all_well, "all is well before")
    cluster.gate("h2").touch()
    silent = wait_for(
        lambda: (answer := cluster.readings("h2"))["hosts"] == [] and answer, "h2 falls silent"
    )
    assert not silent["qualified"]
    assert any("slots were last read" in why or "renewed" in why for why in silent["why"])

    def storage_lost() -> bool:
        says = cluster.says("h3", "h2")
        return says is not None and says.get(LEASE_AGE, 0.0) >= 8.0 and says[AGE] < HEARS

    wait_for(storage_lost, "h3 still hears h2, whose lease is not renewed")
    cluster.gate("h2").unlink()
    wait_for(cluster.all_well, "all is well again")


def test_a_host_that_leaves_on_purpose_is_not_published(cluster: Cluster) -> None:
    wait_for(cluster.all_well, "all is well before")
    cluster.signal("h3", signal.SIGTERM)
    assert cluster.processes["h3"].wait(15) == 0
    wait_for(
        lambda: (
            (told := cluster.witnesses())
            and len(told) >= 2
            and all("h3" not in hosts and len(hosts) == 3 for hosts in told.values())
        ),
        "the others speak of three hosts only",
    )
    cluster.start("h3")
    wait_for(cluster.all_well, "h3 is back")
