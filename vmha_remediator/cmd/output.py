# SPDX-License-Identifier: Apache-2.0
"""What commands print: tables for people, JSON for programs, questions for persons."""

from __future__ import annotations

import datetime
import getpass
import json
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from vmha_remediator.errors import VmhaError


class NotConfirmed(VmhaError):
    """A person did not confirm; nothing was done."""


def print_json(value: Any) -> None:
    """Print `value` for programs."""
    print(json.dumps(value, indent=2, sort_keys=False, default=str))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: framed on a terminal, plain columns in a pipe."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(headers, cells)
    else:
        _print_plain(headers, cells)


def _print_rich(headers: Sequence[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*headers)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console().print(table)


def _print_plain(headers: Sequence[str], rows: list[list[str]]) -> None:
    lines = [list(headers), *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(headers))]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def moment(seconds: float | None) -> str:
    """Return a time (s since the epoch) in UTC, readable and sortable; empty for None."""
    if seconds is None:
        return ""
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}Z"


def after(seconds: float | None, start: float) -> str:
    """Return how long after `start` something was, such as "+3.2 s"; empty for None."""
    return "" if seconds is None else f"+{seconds - start:.1f} s"


def operator() -> str:
    """Return who runs the command, as the record shall name them: user@machine."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # no such user: a bare uid in a container
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def demand(expected: str, question: str) -> None:
    """Return when the person types `expected`; raises `NotConfirmed` otherwise."""
    if not sys.stdin.isatty():
        raise NotConfirmed("nobody can be asked here (no terminal); add --yes; nothing was done")
    try:
        given = input(f"{question} ").strip()
    except EOFError:
        given = ""
    if given != expected:
        raise NotConfirmed(f"{given!r} is not {expected!r}; nothing was done")
