# SPDX-License-Identifier: Apache-2.0
"""A shared file or block device: aligned O_DIRECT reads and writes of 4 KiB blocks."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from typing import Protocol

from vmha_pollsters.lease.layout import BLOCK, Block
from vmha_remediator.errors import LeaseError

#: Most blocks in one request.
CHUNK = 256


class Blocks(Protocol):
    """Somewhere that keeps 4 KiB blocks; what the claim and the reader need of a file."""

    def read(self, first: int, count: int) -> Block:
        """Return `count` blocks, good until the next call."""

    def write(self, block: int, data: bytes) -> None: ...

    def close(self) -> None: ...


class SlotFile:
    """A shared file or block device, used by one thread; every call may hang for long.

    Opens lazily and again after an error or when the path leads to another file (restored,
    replaced, failed over). Raises OSError for storage trouble, `LeaseError` for a path that
    cannot be an area at all.
    """

    def __init__(self, path: str) -> None:
        self._fd = -1
        self.path = path
        self.direct = False
        self._identity: tuple[int, int, int] | None = None
        self._buffer = mmap.mmap(-1, BLOCK)  # anonymous memory is page-aligned

    def read(self, first: int, count: int) -> Block:
        """Return `count` blocks from block number `first` on, good until the next call."""
        size = count * BLOCK
        self._make_room(size)
        fd = self._open()
        if not self.direct:  # ask the page cache not to answer for the storage
            os.posix_fadvise(fd, first * BLOCK, size, os.POSIX_FADV_DONTNEED)
        part = memoryview(self._buffer)[:size]
        try:
            got = os.preadv(fd, [part], first * BLOCK)
        except OSError:
            self.close()
            raise
        if got != size:
            self.close()
            raise OSError(errno.EIO, f"only {got} of {size} bytes of slots are there", self.path)
        return part

    def write(self, block: int, data: bytes) -> None:
        """Write one block and wait until the storage has it."""
        if len(data) != BLOCK:
            raise ValueError(f"a block has {BLOCK} bytes, not {len(data)}")
        self._put(block, data)

    def wipe(self, first: int, count: int) -> None:
        """Write zeros to `count` blocks from block number `first` on."""
        for start in range(first, first + count, CHUNK):
            self._put(start, bytes(min(CHUNK, first + count - start) * BLOCK))

    def _put(self, block: int, data: bytes) -> None:
        size = len(data)
        fd = self._open()
        self._make_room(size)
        self._buffer[:size] = data
        with memoryview(self._buffer) as whole, whole[:size] as part:
            try:
                put = os.pwritev(fd, [part], block * BLOCK)
            except OSError:
                self.close()
                raise
            if put != size:
                self.close()
                raise OSError(errno.EIO, f"only {put} of {size} bytes were written", self.path)

    def _make_room(self, size: int) -> None:
        if len(self._buffer) < size:
            self._buffer = mmap.mmap(-1, size)  # the old one goes when nobody reads it any more

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()  # a block device cannot be detached while anybody holds it open

    def _open(self) -> int:
        found = os.stat(self.path)  # noqa: PTH116 - raises OSError with the path
        identity = (found.st_dev, found.st_ino, found.st_rdev)
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


def beginning(path: str, size: int) -> bytes:
    """Return the first `size` bytes of `path`, from storage, not memory; less if it has less."""
    fd, _direct = _open_direct(path)
    try:
        with mmap.mmap(-1, size) as memory:
            return memory[: os.preadv(fd, [memory], 0)]
    finally:
        os.close(fd)
