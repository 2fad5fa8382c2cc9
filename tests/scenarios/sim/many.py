# SPDX-License-Identifier: Apache-2.0
"""Running many scenarios at a time, one process a core."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def spread(
    work: Callable[[A], B], items: Iterable[A], start: str = "spawn", jobs: int | None = None
) -> Iterator[B]:
    """Yield the results in order; `work` must be a module's function.

    New processes, not forks: a test run has threads, and a fork would copy their locks. A
    command has none yet, and saves what it takes to import everything with `start="fork"`.
    """
    jobs = jobs or os.cpu_count() or 1
    with ProcessPoolExecutor(jobs, get_context(start), initializer=_quiet) as pool:
        yield from pool.map(work, list(items))


def _quiet() -> None:
    warnings.simplefilter("ignore")  # of libraries, once a process
    gc.freeze()  # what is imported by now stays: it need not be looked through again
    gc.set_threshold(20_000, 20, 20)  # a story leaves little behind, and makes a lot of objects
