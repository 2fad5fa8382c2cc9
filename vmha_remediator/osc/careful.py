# SPDX-License-Identifier: Apache-2.0
"""What all commands have in common: every failure is a sentence, never a traceback.

Each one's docstring is its help.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

from osc_lib import exceptions
from osc_lib.command import command

from vmha_remediator.errors import MALFORMED

#: Exit status of a command that was answered, when somebody has to do something. 1 is every
#: failure, openstackclient's own included, and 2 a command line that was not understood.
WANTED = 3
ODD = (
    "the vmha API answers something that this client does not understand ({}); is the address the "
    "vmha API's, and is this client of the same release?"
)


class _Careful:
    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command; raises `CommandError` for an answer of another shape."""
        try:
            run: Any = super().run  # type: ignore[misc]
            return int(run(parsed_args) or 0)
        except MALFORMED as exc:
            what = f"{type(exc).__name__}: {exc}"
            raise exceptions.CommandError(ODD.format(what)) from exc


class Lister(_Careful, command.Lister):  # type: ignore[misc]
    """A command that prints a table."""


class ShowOne(_Careful, command.ShowOne):  # type: ignore[misc]
    """A command that prints one thing."""


class Command(_Careful, command.Command):  # type: ignore[misc]
    """A command that prints as it likes."""


def positive(text: str) -> float:
    """Return a number above 0; raises argparse's own error for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def not_negative(text: str) -> float:
    """Return 0 or a number above it; raises argparse's own error for anything else."""
    return 0.0 if text == "0" else positive(text)


def count(text: str) -> int:
    """Return a whole number above 0; raises argparse's own error for anything else."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
