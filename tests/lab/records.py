# SPDX-License-Identifier: Apache-2.0
"""What guests wrote to their disks, read back from the shared storage itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab import layout
from tests.lab.virt import guest


@dataclass(frozen=True)
class Record:
    """One write; `start` and `mono` in ns of the machine's monotonic clock, `wall` in s."""

    vm: str
    host: str
    boot: str
    start: int
    mono: int
    wall: float
    seq: int


def parse(line: bytes) -> Record:
    """Return the record of one line; raises ValueError if it is damaged."""
    fields = line.decode("ascii", "strict").split()
    if len(line) != guest.SIZE or len(fields) != 7:
        raise ValueError(f"not a record: {line[:60]!r}")
    vm, host, boot, start, mono, wall, seq = fields
    return Record(vm, host, boot, int(start), int(mono), float(wall), int(seq))


def disks() -> dict[str, Path]:
    """Return VM uuid -> its disk on the storage itself."""
    folder = layout.STORAGE / "instances"
    if not folder.is_dir():
        return {}
    return {path.parent.name: path for path in sorted(folder.glob("*/disk"))}


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a disk, in the order in which the storage got them."""
    with path.open("rb") as stream:
        while line := stream.read(guest.SIZE):
            yield line


def last(path: Path) -> Record | None:
    """Return the last record of a disk; None if nothing was written yet."""
    size = path.stat().st_size
    if size < guest.SIZE:
        return None
    with path.open("rb") as stream:
        stream.seek(-guest.SIZE, os.SEEK_END)
        return parse(stream.read(guest.SIZE))
