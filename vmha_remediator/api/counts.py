# SPDX-License-Identifier: Apache-2.0
"""Counters, in one process or added up over the workers of a WSGI server.

Prometheus takes a counter that is smaller than before for a restart. Workers that each show their
own would look like one that restarts at every scrape, so it is all of them together, or nothing.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from oslo_log import log
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from vmha_remediator.errors import ConfigError

LOG = log.getLogger(__name__)

#: Names the folder in which workers count together. It is prometheus_client's own variable: with
#: it every counter is a file there, whatever else is said.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
ALONE = (
    f"this server has several workers, and {FOLDER} is not set: webhooks and stages are left out "
    "of /metrics, because each worker would show only its own"
)


class Counts:
    """Where counters are kept, and what is shown of them; raises `ConfigError`."""

    def __init__(self) -> None:
        self.kept = CollectorRegistry()
        self._shown = self.kept
        self._folder = _folder()
        self._warned = False
        self.mark: Mark = Mark() if self._folder is None else SharedMark(self._folder / "mark")
        if self._folder is not None:
            self._shown = CollectorRegistry()
            MultiProcessCollector(self._shown, str(self._folder))  # type: ignore[no-untyped-call]

    def whole(self, environ: Mapping[str, Any]) -> bool:
        """Tell whether this process can show what all workers of its server have counted."""
        if self._folder is not None or not environ.get("wsgi.multiprocess"):
            return True
        if not self._warned:
            self._warned = True
            LOG.warning(ALONE)
        return False

    def show(self) -> bytes:
        """Return the counters as Prometheus reads them."""
        return generate_latest(self._shown)


class Mark:
    """The last thing that has been counted, so that each is counted once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: int | None = None

    def move(self, count: Callable[[int | None], int]) -> None:
        """Have `count` count what came after the mark (None: there is none); it returns the next.

        Where it raises, the mark stays.
        """
        with self._lock:
            self._seen = count(self._seen)


class SharedMark(Mark):
    """A mark for all workers of a server, in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def move(self, count: Callable[[int | None], int]) -> None:
        """Do as any mark does, while no other worker does."""
        with self._lock, self._path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read()
            seen = count(int(text) if text.isdecimal() else None)
            file.truncate(0)
            file.write(str(seen))


def _folder() -> Path | None:
    """Return the folder of the workers' counters, made if it is missing; raises `ConfigError`."""
    name = os.environ.get(FOLDER)
    if not name:
        return None
    folder = Path(name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "mark").touch()
    except OSError as exc:
        raise ConfigError(
            f"{FOLDER}: {exc.filename or name}: {exc.strerror}; name a folder that the server's "
            "user can write to, empty when the server starts"
        ) from exc
    return folder
