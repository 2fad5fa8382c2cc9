# SPDX-License-Identifier: Apache-2.0
"""Ringing: callers leave word and go; one thread writes what has gathered, each word once.

A webhook is answered before its row is written. Were each to wait for a commit, a storm of alarms
would queue up behind the disk, forged calls and all, and Aodh's notifier, which serves all
tenants, with them. What a crash loses in between the engine finds by listing alarms.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from oslo_log import log

from vmha_remediator.api.webhook import RETRY_AFTER
from vmha_remediator.errors import StoreUnavailable

LOG = log.getLogger(__name__)

#: (rule, host).
Word = tuple[str, str]
#: Writes rows for these words in one transaction. Raises `StoreUnavailable`.
Write = Callable[[Collection[Word], str], None]

SOURCE = "webhook"
#: Seconds from one transaction to the next, in which further words gather: a storm costs the
#: database 20 transactions a second, whatever its size. The first word never waits.
GATHER = 0.05
#: Words kept at most while the database is away; every signed (rule, host) is one.
MAX_WORDS = 20_000


class Ringer:
    """Keeps words until they are written, and wakes the engine, also when they cannot be.

    While the database is away callers are refused at once, which tells them that it is; their
    words are kept all the same and written when it is back.
    """

    def __init__(
        self,
        write: Write,
        doorbell: threading.Event | None = None,
        begin: Callable[[Callable[[], None]], threading.Thread] | None = None,
    ) -> None:
        """`begin` starts the writing thread, at the first word: a server may fork before."""
        self._write = write
        self._doorbell = doorbell
        self._begin = begin or _begin
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._some = threading.Event()
        self._words: dict[Word, None] = {}
        self._away = False
        self._thread: threading.Thread | None = None

    def __call__(self, rule: str, host: str) -> None:
        """Leave word that `host` should be looked at; raises `StoreUnavailable`."""
        with self._lock:
            if len(self._words) < MAX_WORDS:
                self._words[rule, host] = None
            if self._thread is None or not self._thread.is_alive():
                self._thread = self._begin(self._run)
            away = self._away
        self._some.set()
        if away:
            self._wake()
            raise StoreUnavailable("the database has just failed; it is tried again soon")

    def flush(self) -> bool:
        """Write what has gathered, in one transaction, and tell whether that went well."""
        with self._writing:
            with self._lock:
                words, self._words = self._words, {}
            try:
                if words:
                    self._write(words, SOURCE)
                self._away = False
            except StoreUnavailable as exc:
                with self._lock:
                    self._words = {**words, **self._words}
                if not self._away:
                    LOG.warning("Calls of alarms cannot be written now, and are kept: %s", exc)
                self._away = True
            finally:
                self._wake()
            return not self._away

    def finish(self) -> None:
        """Wait for what is being written, and write the rest: nobody calls any more."""
        if not self.flush():
            LOG.warning("Calls of alarms are lost; the engine finds them by listing alarms")

    def _run(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            try:
                well = self.flush()
            except Exception:
                # The rim: whatever a database does, the next storm must be written.
                LOG.exception("Calls of alarms could not be written")
                well = False
            if well:
                threading.Event().wait(GATHER)
            else:
                threading.Event().wait(RETRY_AFTER)
                self._some.set()  # what was kept is tried again, also when nobody calls

    def _wake(self) -> None:
        if self._doorbell is not None:
            self._doorbell.set()


def _begin(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name="ringer", daemon=True)
    thread.start()
    return thread
