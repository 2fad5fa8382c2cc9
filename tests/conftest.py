# SPDX-License-Identifier: Apache-2.0
"""The lab as a fixture: brought up once for all tests that need the real cloud."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import layout

UP_TIMEOUT = 900  # s; a cold start takes about two minutes
KEEP = "VMHA_LAB_KEEP"  # set: the lab is left up, to look at what a test left


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs the lab last: quick failures first, and no cloud beside the unit tests."""
    items.sort(key=lambda item: item.get_closest_marker("lab") is not None)


@dataclass(frozen=True)
class Lab:
    """The lab, up."""

    vmha_conf: Path


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Bring the real cloud up, or use the one that is up; take down only what was brought up."""
    if os.geteuid() != 0:
        pytest.fail("the lab makes network namespaces and mounts: run as root, or -m 'not lab'")
    found_up = any(layout.RUN.glob("*.json"))
    _verb("up", timeout=UP_TIMEOUT)
    yield Lab(vmha_conf=layout.ETC / "vmha.conf")
    if not found_up and KEEP not in os.environ:
        _verb("down", "--keep-logs", timeout=180)


def _verb(*words: str, timeout: float) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab", *words],
        cwd=layout.REPO,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        pytest.fail(f"the lab: '{' '.join(words)}' failed\n{tail}")
