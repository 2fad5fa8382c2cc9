# SPDX-License-Identifier: Apache-2.0
"""One `up` or `down` at a time on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab import layout
from tests.lab.errors import LabError


@contextmanager
def exclusive(verb: str) -> Iterator[None]:
    """Hold the lab for the time of `verb`; raises `LabError` while somebody else does.

    An address without a file: it goes with the process, however that ends.
    """
    with socket.socket(socket.AF_UNIX) as holder:
        try:
            holder.bind(f"\0{layout.CGROUP}")
        except OSError as exc:
            raise LabError(
                f"another 'up' or 'down' is at work; wait for it to end before '{verb}'"
            ) from exc
        yield
