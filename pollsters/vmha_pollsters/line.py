# SPDX-License-Identifier: Apache-2.0
"""Lines over a unix socket: one out, one back."""

from __future__ import annotations

import errno
import os
import socket

CHUNK = 1 << 16


class Line:
    """The asking end of one connection; opened when it is needed, and again after trouble."""

    def __init__(self, path: str, timeout: float, most: int = CHUNK) -> None:
        self.path = path
        self._timeout, self._most = timeout, most
        self._link: socket.socket | None = None

    def ask(self, request: bytes) -> bytes:
        """Send one line and return the one that answers it, both without their ends.

        Raises OSError when nobody answers within the time-out, or with more than `most` bytes.
        """
        try:
            link = self._link or self._connect()
            link.sendall(request + b"\n")
            return self._receive(link)
        except OSError:
            self.close()
            raise

    def _connect(self) -> socket.socket:
        self._link = link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(self._timeout)
        link.connect(self.path)
        return link

    def _receive(self, link: socket.socket) -> bytes:
        parts: list[bytes] = []
        size = 0
        while not parts or not parts[-1].endswith(b"\n"):
            part = link.recv(CHUNK)
            size += len(part)
            if not part:
                raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            if size > self._most:
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
            parts.append(part)
        return b"".join(parts)[:-1]

    def close(self) -> None:
        """Drop the connection; the next question opens it again."""
        if self._link is not None:
            self._link.close()
            self._link = None
