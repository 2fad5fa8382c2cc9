# SPDX-License-Identifier: Apache-2.0
"""Real agents whose storage hangs, rots, is made anew or is claimed twice, and what they say.

h2 sees the slots through a FUSE mount of its own, which stops answering when its daemon is
stopped: its I/O then hangs in the kernel, as with a dead NFS server.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.agents import AGE, HEARS, LEASE_AGE, Cluster, wait_for
from vmha_pollsters.agent import area
from vmha_pollsters.agent.main import main
from vmha_pollsters.agent.storage.slotfile import SlotFile
from vmha_pollsters.lease.layout import BLOCK, FIRST_HOST, Header, pack_header

HOSTS = ("h1", "h2", "h3")


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, int]]:
    """Yield a folder, where it is mounted, and the process id of the mount's daemon."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists() or not shutil.which("fusermount3"):
        pytest.skip("a FUSE mount needs root, /dev/fuse and fuse3")
    base = tmp_path_factory.mktemp("mount")
    folder, at = base / "folder", base / "at"
    folder.mkdir()
    at.mkdir()
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "tests.lab.storage_daemon",
        folder,
        at,
        base / "control",
    ]
    daemon = subprocess.Popen(command)
    try:
        wait_for(lambda: at.is_mount(), "the folder is mounted")
        yield folder, at, daemon.pid
    finally:
        daemon.send_signal(signal.SIGCONT)
        subprocess.run(["umount", "-l", at], check=False, timeout=10)
        daemon.terminate()
        daemon.wait(10)


@pytest.fixture(scope="module")
def cluster(mount: tuple[Path, Path, int]) -> Iterator[Cluster]:
    folder, at, daemon = mount
    made = Cluster(folder, HOSTS, {"h2": at / "slots"})
    try:
        for host in HOSTS:
            made.start(host)
        yield made
    finally:
        os.kill(daemon, signal.SIGCONT)
        made.stop()


def test_io_that_hangs_in_the_kernel_stops_no_heartbeat(
    cluster: Cluster, mount: tuple[Path, Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    wait_for(cluster.all_well, "all is well before")
    daemon = mount[2]
    os.kill(daemon, signal.SIGSTOP)
    worst = 0.0

    def storage_lost() -> bool:
        nonlocal worst
        says = cluster.says("h1", "h2") or {}
        worst = max(worst, says.get(AGE, 0.0))
        return says.get(LEASE_AGE, 0.0) >= 8.0

    wait_for(storage_lost, "h1 sees that the lease of h2 is not renewed")
    assert worst < HEARS, "h2 was heard all the time"
    assert main(["status", "--socket", cluster.socket("h2")]) == 0, "h2 answers while it hangs"
    said = capsys.readouterr().out
    assert "h2: witness, NOT qualified" in said
    assert "because  its own lease was last renewed" in said
    os.kill(daemon, signal.SIGCONT)
    wait_for(cluster.all_well, "all is well again")


def test_a_slot_that_rots_is_named_in_the_status(cluster: Cluster) -> None:
    wait_for(cluster.all_well, "all is well before")
    with cluster.slots.open("r+b") as stream:
        stream.seek((FIRST_HOST + 7) * BLOCK)
        stream.write(b"rubbish")
    problem = "slot 7: not one of ours (no VMHASLOT mark)"
    wait_for(
        lambda: all(problem in cluster.status(h)["lease"]["problems"] for h in HOSTS),
        "every host reports the damaged slot",
    )
    SlotFile(str(cluster.slots)).write(FIRST_HOST + 7, bytes(BLOCK))
    wait_for(lambda: cluster.status("h3")["lease"]["problems"] == [], "it is well again")


def test_a_second_host_with_the_name_of_another_is_refused_and_says_why(
    cluster: Cluster,
) -> None:
    wait_for(cluster.all_well, "all is well before")
    twin = cluster.folder / "twin.conf"
    (cluster.folder / "twin.boot").write_text(str(uuid.uuid4()))
    text = (cluster.folder / "h3.conf").read_text()
    text = text.replace("127.0.0.3", "127.0.0.9").replace("h3.sock", "twin.sock")
    twin.write_text(text.replace("h3.boot", "twin.boot"))
    cluster.start("twin")
    try:
        told = wait_for(
            lambda: (
                (why := cluster.status("twin")["lease"]["problems"])
                and "'h3' is in use" in why[0]
                and why
            ),
            "the second h3 is refused",
        )
        assert "is being renewed by 127.0.0.3" in told[0]
        assert cluster.status("twin")["role"] == "joining"
        assert cluster.all_well(), "the first h3 is not disturbed"
    finally:
        cluster.processes["twin"].kill()
        cluster.processes.pop("twin").wait(10)


def test_a_slot_that_another_host_writes_is_lost_and_the_event_says_to_whom(
    cluster: Cluster,
) -> None:
    wait_for(cluster.all_well, "all is well before")
    blocks = SlotFile(str(cluster.slots))
    number = cluster.status("h3")["lease"]["slot"]
    other = bytes(blocks.read(FIRST_HOST + cluster.status("h1")["lease"]["slot"], 1))

    def damaged() -> bool:
        blocks.write(FIRST_HOST + number, other)  # again and again: a copy gone astray
        return any("holds the data of slot" in p for p in said(cluster, "h1"))

    wait_for(damaged, "h1 sees that h3's slot holds another slot's data")
    wait_for(cluster.all_well, "h3 repaired its slot")


def said(cluster: Cluster, host: str) -> list[str]:
    """Return every problem that `host` shows, of its peers and of the storage."""
    status = cluster.status(host)
    peers = [peer["problem"] for peer in status["peers"] if peer["problem"]]
    return [*peers, *status["lease"]["problems"]]


def test_an_area_made_anew_under_running_agents_is_noticed_and_claimed_again(
    cluster: Cluster,
) -> None:
    wait_for(cluster.all_well, "all is well before")
    before = area.dump(str(cluster.slots))["header"]
    blocks = SlotFile(str(cluster.slots))
    blocks.wipe(0, FIRST_HOST + 8)
    header = Header("loopback", uuid.uuid4(), 8, time.time())
    blocks.write(0, pack_header(header))
    assert before["uuid"] != str(header.uuid)
    wait_for(
        lambda: (
            all(cluster.status(h)["lease"]["area"] == str(header.uuid) for h in HOSTS)
            and cluster.all_well()
        ),
        "all have claimed slots in the new area",
    )
    for host in HOSTS:
        events = [what for _, what in cluster.status(host)["lease"]["events"]]
        assert any("initialised anew" in what for what in events), host
