# SPDX-License-Identifier: Apache-2.0
"""Show how tasks get on: a live list on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

_MARK = {"running": "[yellow]…[/]", "done": "[green]✓[/]", "failed": "[red]✗[/]"}
_SHOWN = 18  # lines of the live list; what is done scrolls away above it


class Progress:
    """Usable as `tasks.Report`, from any thread; a context manager around the run."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stdout, highlight=False)
        self._began = time.monotonic()
        self._running: dict[str, float] = {}
        self._lock = threading.Lock()
        self._live = (
            Live(console=self._console, get_renderable=self._table, refresh_per_second=8)
            if self._console.is_terminal
            else None
        )

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, task: str, state: str, note: str, seconds: float) -> None:
        with self._lock:
            if state == "running":
                self._running[task] = time.monotonic()
                return
            self._running.pop(task, None)
        at = time.monotonic() - self._began
        if self._live:
            self._live.console.print(f"{_MARK[state]} {task:32} {seconds:6.1f} s  {note}")
        else:
            print(f"[{at:6.1f} s] {task}: {state} ({seconds:.1f} s) {note}".rstrip(), flush=True)

    def elapsed(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._began

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        with self._lock:
            running = sorted(self._running.items(), key=lambda item: item[1])[:_SHOWN]
        for task, since in running:
            table.add_row(_MARK["running"], f"{task:32}", f"{time.monotonic() - since:6.1f} s")
        return table
