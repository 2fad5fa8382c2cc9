# SPDX-License-Identifier: Apache-2.0
"""The slots area on storage: aligned O_DIRECT reads and writes, one table at a time."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import time
from collections.abc import Iterable
from typing import Protocol

from vmha_pollsters.lease.contract import Table
from vmha_pollsters.lease.layout import (
    BLOCK,
    FIRST_HOST,
    Damaged,
    Header,
    Roster,
    Slot,
    unpack_header,
    unpack_roster,
    unpack_slot,
)
from vmha_remediator.errors import LeaseError


class Blocks(Protocol):
    """Somewhere that keeps 4 KiB blocks; what the claim and the reader need of a file."""

    def read(self, first: int, count: int) -> bytes: ...

    def write(self, block: int, data: bytes) -> None: ...

    def close(self) -> None: ...


class SlotFile:
    """A shared file or block device, used by one thread; every call may hang for long.

    Opens lazily and again after an error or when the path leads to another file (restored,
    replaced, failed over). Raises OSError for storage trouble, `LeaseError` for a path that
    cannot be an area at all.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.direct = False
        self._fd = -1
        self._identity: tuple[int, int] | None = None
        self._buffer = mmap.mmap(-1, BLOCK)  # anonymous memory is page-aligned

    def read(self, first: int, count: int) -> bytes:
        """Return `count` blocks from block number `first` on."""
        size = count * BLOCK
        if len(self._buffer) < size:
            self._buffer.close()
            self._buffer = mmap.mmap(-1, size)
        fd = self._open()
        if not self.direct:  # ask the page cache not to answer for the storage
            os.posix_fadvise(fd, first * BLOCK, size, os.POSIX_FADV_DONTNEED)
        with memoryview(self._buffer) as whole, whole[:size] as part:
            try:
                got = os.preadv(fd, [part], first * BLOCK)
            except OSError:
                self.close()
                raise
            if got != size:
                self.close()
                raise OSError(errno.EIO, f"{self.path}: read {got} of {size} bytes")
            return bytes(part)

    def write(self, block: int, data: bytes) -> None:
        """Write one block and wait until the storage has it."""
        if len(data) != BLOCK:
            raise ValueError(f"a block has {BLOCK} bytes, not {len(data)}")
        fd = self._open()
        self._buffer[:BLOCK] = data
        with memoryview(self._buffer) as whole, whole[:BLOCK] as part:
            try:
                put = os.pwritev(fd, [part], block * BLOCK)
            except OSError:
                self.close()
                raise
            if put != BLOCK:
                self.close()
                raise OSError(errno.EIO, f"{self.path}: wrote {put} of {BLOCK} bytes")

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        found = os.stat(self.path)  # noqa: PTH116 - raises OSError with the path
        identity = (found.st_dev, found.st_ino)
        if self._fd >= 0 and identity == self._identity:
            return self._fd
        self.close()
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)):
            raise LeaseError(f"{self.path} is neither a file nor a block device")
        self._fd, self.direct = _open_direct(self.path)
        self._identity = identity
        return self._fd


def _open_direct(path: str) -> tuple[int, bool]:
    """Return a descriptor and whether it bypasses the page cache.

    Some filesystems refuse O_DIRECT at open (tmpfs before Linux 6.6), some at the first read.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
    else:
        with mmap.mmap(-1, BLOCK) as trial:
            try:
                os.preadv(fd, [trial], 0)
            except OSError as exc:
                os.close(fd)
                if exc.errno != errno.EINVAL:
                    raise
            else:
                return fd, True
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DSYNC), False


def check_header(data: bytes, cluster: str | None = None) -> Header:
    """Return the header in block 0; raises `LeaseError` if damaged or another cluster's."""
    try:
        header = unpack_header(data)
    except Damaged as exc:
        raise LeaseError(f"{exc}; run 'vmha-agent init' if this area is new") from exc
    if cluster is not None and header.cluster != cluster:
        raise LeaseError(
            f"the slots belong to cluster '{header.cluster}', [agent] cluster is '{cluster}'"
        )
    return header


def read_table(blocks: Blocks, hosts: Iterable[int] | None, cluster: str, known: int) -> Table:
    """Read header, roster and the slots of `hosts` (None: all) and return them.

    `known` is the number of slots as read before (0: not yet), which saves one read of all.
    Raises OSError, or `LeaseError` when the header is damaged or another cluster's.
    """
    started = time.monotonic()
    if hosts is None and known:
        data = blocks.read(0, FIRST_HOST + known)
        header = check_header(data[:BLOCK], cluster)
        if header.hosts == known:
            return _table(started, header, data[BLOCK:], range(known))
    header = check_header(blocks.read(0, 1), cluster)
    if hosts is None:
        return _table(started, header, blocks.read(1, 1 + header.hosts), range(header.hosts))
    wanted = [n for n in sorted(set(hosts)) if n < header.hosts]
    data = blocks.read(1, 1) + b"".join(blocks.read(FIRST_HOST + n, 1) for n in wanted)
    return _table(started, header, data, wanted)


def _table(started: float, header: Header, data: bytes, hosts: Iterable[int]) -> Table:
    slots: dict[int, Slot] = {}
    damaged: dict[int, str] = {}
    roster: Roster | None = None
    problem: str | None = None
    try:
        roster = unpack_roster(data[:BLOCK], header.uuid)
    except Damaged as exc:
        problem = str(exc)
    for place, index in enumerate(hosts, 1):
        block = data[place * BLOCK : (place + 1) * BLOCK]
        try:
            slot = unpack_slot(block, index, header.uuid)
        except Damaged as exc:
            damaged[index] = str(exc)
        else:
            if slot is not None:
                slots[index] = slot
    return Table(started, time.monotonic(), header, roster, slots, damaged, problem)
