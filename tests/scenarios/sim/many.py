# SPDX-License-Identifier: Apache-2.0
"""Running many scenarios at a time, one process a core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def spread(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Yield the results in order; `work` must be a module's function."""
    with ProcessPoolExecutor(os.cpu_count() or 1, get_context("fork")) as pool:
        yield from pool.map(work, list(items))
