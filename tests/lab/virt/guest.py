# SPDX-License-Identifier: Apache-2.0
"""A guest: a process that signs its disk ten times a second, so that two of them are seen.

Run as `python -S -E guest.py VM HOST BOOT DISK`; standard library only and little of it, for
there are many. It waits as long as its storage hangs, tries again as long as its storage errs,
and ends on SIGTERM.
"""

from __future__ import annotations

import os
import sys
import time

PERIOD_NS = 100_000_000
#: vm, host, boot id, start of this process and time of writing (monotonic ns), wall s, number.
FORMAT = "{:36} {:15} {:36} {:16d} {:16d} {:17.6f} {:10d}\n"
SIZE = 153  # bytes a record, whatever is in it


def encode(vm: str, host: str, boot: str, start: int, now: int, wall: float, seq: int) -> bytes:
    """Return one record of SIZE bytes."""
    return FORMAT.format(vm, host, boot, start, now, wall, seq).encode()


def main(argv: list[str]) -> None:
    """Write for ever."""
    vm, host, boot, disk = argv
    start = due = time.monotonic_ns()
    seq, fd = 0, -1
    while True:
        try:
            if fd < 0:
                fd = os.open(disk, os.O_WRONLY | os.O_APPEND)
            os.write(fd, encode(vm, host, boot, start, time.monotonic_ns(), time.time(), seq))
            seq += 1
        except OSError:
            if fd >= 0:
                os.close(fd)
            fd = -1
        now = time.monotonic_ns()
        due = max(due + PERIOD_NS, now)  # after a stall it does not catch up
        time.sleep((due - now) / 1e9)


if __name__ == "__main__":
    main(sys.argv[1:])
