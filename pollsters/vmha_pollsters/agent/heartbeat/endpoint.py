# SPDX-License-Identifier: Apache-2.0
"""The UDP socket of the heartbeats: it is opened again whenever that is needed."""

from __future__ import annotations

import errno
import logging
import select
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from vmha_pollsters.agent.heartbeat.wire import MAX_SIZE

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Packets taken in one go, so that a flood cannot keep the thread from sending.
MOST_AT_ONCE = 4000
#: What waits in the socket (bytes, as the kernel counts: 1 to 4 KiB a packet), at most. A host
#: without the right to have so much gets net.core.rmem_max.
BUFFER = 8 << 20
#: Not in the module `socket` (asm-generic/socket.h).
SO_RCVBUFFORCE, SO_MEMINFO = 33, 55
_MEMINFO = struct.Struct("=9I")  # of which the last one counts the packets that were dropped

Address = tuple[str, int]


class Endpoint:
    """One address and port; used by the heartbeat thread, but for `dropped`."""

    def __init__(self, address: str, port: int) -> None:
        self._at = (address, port)
        self._sock: socket.socket | None = None
        self.room = BUFFER  # bytes that may wait

    @property
    def is_open(self) -> bool:
        """Tell whether packets can come in."""
        return self._sock is not None

    def open(self) -> None:
        """Listen; raises OSError."""
        family = socket.AF_INET6 if ":" in self._at[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            make_room(sock, BUFFER)
            sock.setblocking(False)
            sock.bind(self._at)
            self.room = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        except OSError:
            sock.close()
            raise
        self._sock = sock

    def close(self) -> None:
        """Stop listening."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def wait(self, seconds: float) -> None:
        """Wait for a packet, so many seconds at most."""
        if self._sock is not None:
            select.select([self._sock], [], [], seconds)

    def receive(self) -> list[bytes]:
        """Return what has come in; raises OSError."""
        return [] if self._sock is None else _all_of(partial(self._sock.recv, MAX_SIZE + 1))

    def receive_from(self) -> list[tuple[bytes, Address]]:
        """Return what has come in, and from where; raises OSError."""
        if self._sock is None:
            return []
        packets = _all_of(partial(self._sock.recvfrom, MAX_SIZE + 1))
        return [(data, sender[:2]) for data, sender in packets]

    def send(self, data: bytes, addresses: Iterable[Address]) -> None:
        """Send a packet to each of these; one that cannot be reached is left out."""
        sock = self._sock
        if sock is None:
            return
        for address in addresses:
            try:
                sock.sendto(data, address)
            except BlockingIOError:
                continue
            except OSError as exc:
                if exc.errno == errno.EBADF:
                    raise
                LOG.debug("cannot send to %s: %s", address[0], exc)

    def dropped(self) -> int:
        """Return how many packets the kernel dropped since the socket was opened: it was full."""
        sock = self._sock
        if sock is None:
            return 0
        try:
            told = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
        except OSError:  # before Linux 4.12
            return 0
        return int(_MEMINFO.unpack(told)[-1])


def make_room(sock: socket.socket, size: int) -> None:
    """Let `size` bytes wait in a socket, or as many as this process may have."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size // 2)  # the kernel doubles it
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size // 2)


def _all_of(receive: Callable[[], T]) -> list[T]:
    """Return what waits in a socket; raises OSError."""
    packets = []
    with suppress(BlockingIOError):
        for _ in range(MOST_AT_ONCE):
            packets.append(receive())
    return packets
