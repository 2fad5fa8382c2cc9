# SPDX-License-Identifier: Apache-2.0
"""The storage's gate: a stalled write is done later, or never if the power went meanwhile."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.lab.process import wait_for
from tests.lab.storage_daemon import Gate, PassThrough


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def disk(tmp_path: Path, gate: Gate) -> Iterator[tuple[PassThrough, SimpleNamespace]]:
    """Yield the pass-through and an open handle of /disk, for appending."""
    (tmp_path / "disk").touch()
    storage = PassThrough(str(tmp_path), gate)
    handle = SimpleNamespace(flags=os.O_WRONLY | os.O_APPEND | os.O_DIRECT, fh=-1)
    storage.open("/disk", handle)
    yield storage, handle
    gate.set("ok")
    storage.release("/disk", handle)


def in_background(
    storage: PassThrough, handle: SimpleNamespace
) -> tuple[threading.Thread, list[object]]:
    outcome: list[object] = []

    def write() -> None:
        try:
            outcome.append(storage.write("/disk", b"late", 0, handle))
        except OSError as exc:
            outcome.append(exc.errno)

    thread = threading.Thread(target=write)
    thread.start()
    return thread, outcome


Disk = tuple[PassThrough, SimpleNamespace]


def test_an_append_goes_to_the_end_whatever_offset_the_kernel_believes(
    disk: Disk, tmp_path: Path
) -> None:
    storage, handle = disk

    storage.write("/disk", b"one ", 0, handle)
    storage.write("/disk", b"two", 0, handle)

    assert (tmp_path / "disk").read_bytes() == b"one two"
    assert handle.direct_io == 1


def test_a_stalled_write_waits_and_is_done_when_healed(
    disk: Disk, gate: Gate, tmp_path: Path
) -> None:
    gate.set("stall")
    thread, outcome = in_background(*disk)
    wait_for(lambda: gate.state()["waiting"] == 1, "the write to wait", 5)
    assert (tmp_path / "disk").read_bytes() == b""

    gate.set("ok")
    thread.join(5)

    assert outcome == [4]
    assert (tmp_path / "disk").read_bytes() == b"late"


def test_a_stalled_write_is_never_done_after_power_loss(
    disk: Disk, gate: Gate, tmp_path: Path
) -> None:
    gate.set("stall")
    thread, outcome = in_background(*disk)
    wait_for(lambda: gate.state()["waiting"] == 1, "the write to wait", 5)

    gate.set("off")
    thread.join(5)

    assert outcome == [errno.EIO]
    assert (tmp_path / "disk").read_bytes() == b""


def test_errors_can_be_limited_to_a_folder(disk: Disk, gate: Gate, tmp_path: Path) -> None:
    storage, handle = disk
    (tmp_path / "vmha").mkdir()
    gate.set("error", under="/vmha")

    assert storage.write("/disk", b"fine", 0, handle) == 4
    with pytest.raises(OSError, match="Input/output error"):
        storage.getattr("/vmha")


def test_an_unknown_mode_is_refused(gate: Gate) -> None:
    with pytest.raises(ValueError, match="one of ok, stall, error, slow, off"):
        gate.set("explode")
