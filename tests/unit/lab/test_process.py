# SPDX-License-Identifier: Apache-2.0
"""Processes on record: found again, and never confused with another of the same pid."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.lab import process
from tests.lab.errors import LabError


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that the lab did not start."""
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


def record(lab: Path, pid: int, start: int) -> process.Process:
    made = process.Process("svc", pid, start, "nowhere", None, ("svc",), "svc.log")
    (lab / "run/svc.json").write_text(json.dumps(asdict(made)))
    return made


def test_a_process_is_found_by_its_record(lab: Path) -> None:
    start = process.start_time(os.getpid())
    assert start is not None
    made = record(lab, os.getpid(), start)
    assert process.find("svc") == made
    assert process.recorded() == [made]


def test_a_reused_pid_is_not_ours(lab: Path, stranger: subprocess.Popen[bytes]) -> None:
    start = process.start_time(stranger.pid)
    assert start is not None
    record(lab, stranger.pid, start - 1)
    assert not process.alive("svc")


@pytest.mark.parametrize("end", [process.stop, process.kill])
def test_a_stranger_with_our_pid_is_never_ended(
    lab: Path, stranger: subprocess.Popen[bytes], end: object
) -> None:
    start = process.start_time(stranger.pid)
    assert start is not None
    record(lab, stranger.pid, start - 1)
    assert callable(end)
    end("svc")
    assert stranger.poll() is None
    assert process.recorded() == []


def test_one_that_has_not_joined_its_control_group_yet_is_killed(
    lab: Path, stranger: subprocess.Popen[bytes]
) -> None:
    start = process.start_time(stranger.pid)
    assert start is not None
    record(lab, stranger.pid, start)  # its group, "nowhere", is empty
    process.kill("svc")
    assert stranger.wait(timeout=10) < 0


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.start_time(child.pid) is None
    child.wait()


def test_stopping_what_was_never_started_is_fine(lab: Path) -> None:
    process.stop("svc")


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(LabError, match="in vain for the moon"):
        process.wait_for(lambda: False, "the moon", 0)


def test_waiting_returns_what_was_waited_for() -> None:
    answers = iter([None, "", "at last"])
    assert process.wait_for(lambda: next(answers), "an answer", 5, interval=0) == "at last"


def test_services_do_not_inherit_anothers_cloud_or_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OS_PASSWORD", "https_proxy", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("TERM", "dumb")
    env = process.environment({"HOME": "/lab"})
    assert not {"OS_PASSWORD", "https_proxy", "PYTHONDONTWRITEBYTECODE"} & set(env)
    assert (env["TERM"], env["HOME"]) == ("dumb", "/lab")
