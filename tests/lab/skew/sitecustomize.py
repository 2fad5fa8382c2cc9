# SPDX-License-Identifier: Apache-2.0
"""Gives a process a wall clock of its own: Python imports this at start when it is on the path.

The file named in VMHA_LAB_CLOCK holds by how many seconds the clock is ahead; when it changes,
the clock steps. Only the wall clock: monotonic time, sleeping and time-outs are left alone.
"""

from __future__ import annotations

import datetime
import os
import threading
import time
from pathlib import Path

import time_machine

_LOOK = 0.1  # s between two looks at the file


class _Clock:
    """The wall clock of this process; a forked child takes it over as it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ahead = 0.0
        self._travel = time_machine.travel(datetime.datetime.now(datetime.UTC), tick=True).start()

    def follow(self) -> None:
        """Step the clock as the file says, for ever, in a thread."""
        threading.Thread(target=self._work, name="lab-clock", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                wanted = float(self._path.read_text())
            except (FileNotFoundError, ValueError):  # removed, or half written
                wanted = self._ahead
            if wanted != self._ahead:
                self._travel.shift(wanted - self._ahead)
                self._ahead = wanted
            time.sleep(_LOOK)


if "VMHA_LAB_CLOCK" in os.environ:
    _clock = _Clock(Path(os.environ["VMHA_LAB_CLOCK"]))
    _clock.follow()
    os.register_at_fork(after_in_child=_clock.follow)  # threads stay behind in the parent
