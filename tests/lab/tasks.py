# SPDX-License-Identifier: Apache-2.0
"""Run tasks that need one another, several at a time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from tests.lab.errors import LabError
from tests.lab.services.cloudapi import FAILURES

#: More than two: most tasks wait for a process that starts, and the kernel shares the cores.
WORKERS = 6


@dataclass(frozen=True)
class Task:
    """Something to do once all of `needs` are done; returns what to tell the person."""

    name: str
    action: Callable[[], str | None]
    needs: tuple[str, ...] = ()


#: Told of every change: task, "running" | "done" | "failed", note, seconds it took.
Report = Callable[[str, str, str, float], None]


def run(tasks: Iterable[Task], report: Report, *, workers: int = WORKERS) -> None:
    """Run all tasks, each as soon as what it needs is done.

    After a failure nothing new is begun; what runs is awaited, and the first failure is
    raised as `LabError`.
    """
    waiting = {task.name: task for task in tasks}
    _check(waiting)
    done: set[str] = set()
    running: dict[Future[None], Task] = {}
    failures: list[BaseException] = []
    with ThreadPoolExecutor(workers) as pool:
        while waiting or running:
            for task in [t for t in waiting.values() if done.issuperset(t.needs)]:
                del waiting[task.name]
                running[pool.submit(_run_one, task, report)] = task
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                if error := future.exception():
                    failures.append(error)
                    waiting.clear()
                else:
                    done.add(task.name)
    if failures:
        raise failures[0]


def _run_one(task: Task, report: Report) -> None:
    begun = time.monotonic()
    report(task.name, "running", "", 0.0)
    try:
        note = task.action() or ""
    except (LabError, OSError, subprocess.SubprocessError, *FAILURES) as exc:
        report(task.name, "failed", str(exc), time.monotonic() - begun)
        raise LabError(f"{task.name}: {exc}") from exc
    report(task.name, "done", note, time.monotonic() - begun)


def _check(tasks: dict[str, Task]) -> None:
    """Raise `LabError` for tasks that can never run."""
    reached: set[str] = set()
    while ready := [t for t in tasks.values() if reached.issuperset(t.needs)]:
        if reached.issuperset(t.name for t in ready):
            break
        reached |= {t.name for t in ready}
    if stuck := sorted(tasks.keys() - reached):
        raise LabError(f"tasks that wait for each other or for nothing there is: {stuck}")
