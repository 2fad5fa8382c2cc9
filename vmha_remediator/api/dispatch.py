# SPDX-License-Identifier: Apache-2.0
"""Who answers a request: the loop itself when nothing is waited for, else one of the threads.

Handing a request to a thread and its answer back costs more than answering a webhook does, and on
a busy machine two turns of the scheduler. A webhook waits for nobody (`ringer`), so it is answered
where it was read.
"""

from __future__ import annotations

from collections import deque

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.task import ThreadedTaskDispatcher

from vmha_remediator.api import door

#: What a WSGI environment puts before the names of headers, and waitress's parser does not.
PREFIX = "HTTP_"


class Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]
    """Threads for requests that may wait, and a queue for the loop."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._quick: deque[HTTPChannel] = deque()
        self.set_thread_count(threads)

    def add_task(self, task: HTTPChannel) -> None:
        """Take a channel whose next request is complete; called by the loop and by threads."""
        request = task.requests[0]
        if request.error is None and door.is_quick(
            request.command,
            request.path,
            request.query,
            {PREFIX + name for name in request.headers},
        ):
            self._quick.append(task)
        else:
            super().add_task(task)

    def answer_quick(self) -> None:
        """Answer what waits for nobody; in the loop's thread, between two polls."""
        while self._quick:
            channel = self._quick.popleft()
            channel.service()
            if channel.connected and channel.writable():
                wasyncore.write(channel)
