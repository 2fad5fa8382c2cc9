# SPDX-License-Identifier: Apache-2.0
"""What several commands ask: the API, the command line, and a person before it counts."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from osc_lib import exceptions
from osc_lib.i18n import _

from vmha_remediator.osc.careful import count
from vmha_remediator.osc.client import Client


def api(command: Any) -> Client:
    """Return the client that openstackclient has made for us."""
    client: Client = command.app.client_manager.vmha
    return client


def of_host(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Have a command take a host."""
    parser.add_argument("host", metavar="<host>", help=_("Host, as compute service list names it"))
    return parser


def of_incident(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Have a command take an incident."""
    parser.add_argument("incident", metavar="<incident>", type=count, help=_("Number of it"))
    return parser


def sure(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Have a command ask before it does something, unless it is told not to; see `demand`."""
    parser.add_argument("--yes", action="store_true", help=_("Do not ask"))
    return parser


def demand(args: argparse.Namespace, expected: str, question: str) -> None:
    """Return when the person repeats `expected`; raises `CommandError` otherwise."""
    if args.yes:
        return
    if not sys.stdin.isatty():
        raise exceptions.CommandError(
            "nobody can be asked here (no terminal); add --yes; nothing was done"
        )
    try:
        given = input(f"{question} ").strip()
    except EOFError:
        given = ""
    if given != expected:
        raise exceptions.CommandError(f"{given!r} is not {expected!r}; nothing was done")
