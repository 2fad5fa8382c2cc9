# SPDX-License-Identifier: Apache-2.0
"""A block device over a file, for as long as a test needs one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def loop_device(file: Path, size: int) -> Iterator[str]:
    """Attach a new file of `size` bytes and yield the device; skips where that cannot be."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists() or not shutil.which("losetup"):
        pytest.skip("loop devices need root and the loop module")
    with file.open("wb") as stream:
        stream.truncate(size)
    made = subprocess.run(
        ["losetup", "--find", "--show", file], capture_output=True, text=True, timeout=10
    )
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    try:
        yield made.stdout.strip()
    finally:
        subprocess.run(["losetup", "-d", made.stdout.strip()], check=True, timeout=10)
