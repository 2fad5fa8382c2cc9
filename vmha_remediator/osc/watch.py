# SPDX-License-Identifier: Apache-2.0
"""Following an incident, also through a short absence of the API."""

from __future__ import annotations

import argparse
import time
from typing import Any

from osc_lib.i18n import _

from vmha_remediator.osc.asking import api, of_incident
from vmha_remediator.osc.careful import WANTED, Command, not_negative, positive
from vmha_remediator.osc.client import Away, Client

#: States in which an incident needs nobody and changes no more, or needs a person to go on.
RESTING = frozenset({"recovered", "readmitted", "cleared", "held", "reported"})


class WatchIncident(Command):
    """Follow an incident: print each step as it happens, until it is over or needs a person.

    When the API goes away meanwhile, it is asked again for --patience seconds.

    Exit status: 0 it is over, or was only reported; 3 it is held and needs a person; 1 it cannot
    be followed, as one line on standard error says.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = of_incident(super().get_parser(prog_name))
        parser.add_argument(
            "--interval",
            metavar="<s>",
            type=positive,
            default=2.0,
            help=_("Seconds between looks (2)"),
        )
        parser.add_argument(
            "--patience",
            metavar="<s>",
            type=not_negative,
            default=120.0,
            help=_("Seconds for which the API may be away (120)"),
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        client, printed = api(self), 0
        found = _look(client, parsed_args)
        while True:
            printed = self._print_steps(found, printed)
            if found["state"] in RESTING:
                return self._print_end(found)
            time.sleep(parsed_args.interval)
            found = self._look_patiently(client, parsed_args)

    def _look_patiently(self, client: Client, args: argparse.Namespace) -> dict[str, Any]:
        """Return the incident; raises `Away` when the API has been away for too long."""
        since = time.monotonic()
        end, noted = since + args.patience, False
        while True:
            try:
                found = _look(client, args)
            except Away as exc:
                if time.monotonic() >= end:
                    raise
                if not noted:
                    self._note(f"{exc}; asking again for {args.patience:g} s")
                    noted = True
                time.sleep(args.interval)
            else:
                if noted:
                    self._note(f"it answers again, after {time.monotonic() - since:.0f} s")
                return found

    def _note(self, text: str) -> None:
        self.app.stderr.write(f"Note: {text}\n")
        self.app.stderr.flush()

    def _print_steps(self, found: dict[str, Any], printed: int) -> int:
        """Print the steps that have ended since `printed` of them were; return how many have."""
        ended = [step for step in found["steps"] if step["ok"] is not None]
        for step in ended[printed:]:
            after = step["time"] - found["opened"]
            mark = "" if step["ok"] else " FAILED:"
            self.app.stdout.write(f"+{after:7.1f} s {step['step']}:{mark} {step['sentence']}\n")
        self.app.stdout.flush()
        return len(ended)

    def _print_end(self, found: dict[str, Any]) -> int:
        """Print what has become of the incident, and return the exit status."""
        self.app.stdout.write(f"{found['state']}: {found['says']}\n")
        if found["state"] != "held":
            return 0
        self.app.stdout.write(f"To do: {found['advice']}\n")
        return WANTED


def _look(client: Client, args: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = client.get("incidents", args.incident)["incident"]
    return found
