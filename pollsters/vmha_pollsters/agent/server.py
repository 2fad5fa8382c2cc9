# SPDX-License-Identifier: Apache-2.0
"""The unix socket: one JSON line in, one JSON line out; read-only."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vmha_remediator.errors import VmhaError

LOG = logging.getLogger(__name__)

TIMEOUT = 2.0
MOST_BYTES = 4096
#: Anybody on this host may ask: it is all read-only, and the pollster runs as another user.
MODE = 0o666

#: Name -> what answers; it is given the whole question.
Operations = Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]


class AlreadyRunning(VmhaError):
    """Another agent of this host holds the socket."""


class _Handler(socketserver.StreamRequestHandler):
    timeout = TIMEOUT
    server: _Server

    def handle(self) -> None:
        try:
            line = self.rfile.readline(MOST_BYTES)
            self.wfile.write(json.dumps(self._answer(line)).encode() + b"\n")
        except OSError as exc:  # the other side gave up, or never asked
            LOG.debug("agent socket: %s", exc)

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(line)
            operation = self.server.operations[asked["op"]]
        except (ValueError, KeyError, TypeError):
            known = ", ".join(sorted(self.server.operations))
            return {"error": f'ask one JSON line {{"op": NAME}}; known: {known}'}
        return operation(asked)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: str, operations: Operations) -> None:
        self.operations = operations
        super().__init__(path, _Handler)


class Desk:
    """Serves `operations` on the socket `path`; one agent at a time holds it."""

    def __init__(self, path: str, operations: Operations) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise AlreadyRunning(f"another vmha-agent already serves {path}") from exc
        self._path.unlink(missing_ok=True)  # left by an agent that was killed
        self._server = _Server(path, operations)
        self._path.chmod(MODE)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.5,), name="desk", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving and remove the socket."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)
        os.close(self._lock)
