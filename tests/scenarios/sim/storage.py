# SPDX-License-Identifier: Apache-2.0
"""The shared storage: one slots area, and each host's own path to it."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.scenarios.sim.clockwork import Clockwork
from vmha_pollsters.lease.layout import (
    BLOCK,
    FIRST_HOST,
    ZEROS,
    Header,
    pack_header,
)

CLUSTER = "sim"


@dataclass
class Path:
    """How one host reaches the storage: "works", "stalls" or "fails"."""

    state: str = "works"
    latency: float = 0.0
    renewed: float | None = None  # when this host last wrote a slot
    _stuck: list[Callable[[], None]] = field(default_factory=list)

    def set(self, state: str) -> None:
        """Change it; whoever hangs in a call then goes on, with success or with an error."""
        self.state = state
        if state != "stalls":
            stuck, self._stuck = self._stuck, []
            for wake in stuck:
                wake()

    def cross(self, clockwork: Clockwork) -> None:
        """Take as long as one request takes; raises OSError."""
        while self.state == "stalls":
            self._stuck.append(clockwork.waker())
            clockwork.park()
        if self.latency:
            clockwork.park(self.latency)
        if self.state == "fails":
            raise OSError(errno.EIO, "Input/output error")


class Area:
    """The blocks that all hosts share."""

    def __init__(self, hosts: int) -> None:
        self.hosts = hosts
        self.blocks: dict[int, bytes] = {}
        self.made = 0
        self.missing = False
        self.format()

    def format(self) -> None:
        """Make the area anew, as `vmha-agent init` does."""
        self.made += 1
        area = uuid.uuid5(uuid.NAMESPACE_OID, f"area {self.made}")
        self.blocks = {n: ZEROS for n in range(FIRST_HOST + self.hosts)}
        self.blocks[0] = pack_header(Header(CLUSTER, area, self.hosts))

    def spoil(self, block: int) -> None:
        """Turn one byte of a block."""
        data = bytearray(self.blocks[block])
        data[100] ^= 0xFF
        self.blocks[block] = bytes(data)


class Blocks:
    """Stands for a SlotFile: one host's open file."""

    def __init__(self, clockwork: Clockwork, area: Area, path: Path) -> None:
        self._clockwork, self._area, self._path = clockwork, area, path
        self.direct = True

    def read(self, first: int, count: int) -> bytes:
        self._path.cross(self._clockwork)
        if self._area.missing:
            raise OSError(errno.ENOENT, "No such file or directory")
        return b"".join(self._area.blocks[n] for n in range(first, first + count))

    def write(self, block: int, data: bytes) -> None:
        assert len(data) == BLOCK
        self._path.cross(self._clockwork)
        if self._area.missing:
            raise OSError(errno.ENOENT, "No such file or directory")
        self._area.blocks[block] = data
        if block >= FIRST_HOST:
            self._path.renewed = self._clockwork.now

    def close(self) -> None: ...
