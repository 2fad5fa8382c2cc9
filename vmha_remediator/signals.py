# SPDX-License-Identifier: Apache-2.0
"""What a process does at a signal: a thread of its own does it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue


def on_signals(deeds: Mapping[signal.Signals, Callable[[], None]], *, once: bool = False) -> None:
    """Do these deeds whenever their signals arrive; `once`: a second signal ends the process.

    Python runs a handler between two steps of the main thread, which may hold the lock of the
    very event that the handler would set: it is in the middle of waiting for it. Neither would
    ever go on. `SimpleQueue.put` is made for handlers, and the deed is left to another thread.
    Call it from the main thread (ValueError elsewhere).
    """
    arrived: SimpleQueue[signal.Signals] = SimpleQueue()

    def handle(number: int, _frame: object) -> None:
        if once:
            for each in deeds:
                signal.signal(each, signal.SIG_DFL)
        arrived.put(signal.Signals(number))

    def heed() -> None:
        while True:
            deeds[arrived.get()]()

    for number in deeds:
        signal.signal(number, handle)
    threading.Thread(target=heed, name="signals", daemon=True).start()
