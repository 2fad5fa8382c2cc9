# SPDX-License-Identifier: Apache-2.0
"""The `openstack` command without its start, which is most of what it costs.

One process imports the client once and forks for each call: same code, same arguments, a process
each, its own exit status, and no standard input. `start` gives a folder with an `openstack` to put
first on a PATH.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.lab import process

READY = 120.0  # s; importing all clients takes three on an idle core
_STUB = """\
#!{python} -SE
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
asked = {{"argv": sys.argv[1:], "env": dict(os.environ)}}
socket.send_fds(server, [json.dumps(asked).encode()], [1, 2])
sys.exit(int(server.recv(8) or b"70"))
"""


@contextmanager
def start(folder: Path) -> Iterator[Path]:
    """Yield a folder with a quick `openstack`; ends the process behind it."""
    address, stub = folder / "openstack.sock", folder / "openstack"
    stub.write_text(_STUB.format(python=sys.executable, path=str(address)))
    stub.chmod(0o755)
    command = [sys.executable, "-m", __name__, str(address)]
    environment = process.environment()
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as server:
        try:
            process.wait_for(address.exists, "the client to be imported", READY)
            yield folder
        finally:
            server.terminate()


def serve(address: str) -> None:
    """Import the client, then fork for each call until terminated."""
    sys.argv = ["openstack"]  # the name that the client finds for itself when it is imported
    from openstackclient import shell

    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    shell.main(["command", "list", "-f", "value"])  # loads all plugins, needs no cloud
    logging.getLogger().handlers.clear()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(16)
        while True:
            call, _ = server.accept()
            if os.fork() == 0:
                _answer(call, shell)
            call.close()


def _answer(call: socket.socket, shell: Any) -> None:
    """Run one call in this process, with the caller's output and environment, and end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 70
    try:
        text, descriptors, _, _ = socket.recv_fds(call, 1 << 20, 2)
        asked = json.loads(text)
        os.environ.clear()
        os.environ.update(asked["env"])
        for mine, theirs in zip((1, 2), descriptors, strict=True):
            os.dup2(theirs, mine)
        try:
            status = shell.main(asked["argv"]) or 0
        except SystemExit as exc:
            status = exc.code if isinstance(exc.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with suppress(OSError):
            call.sendall(str(status).encode())
        os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
