# SPDX-License-Identifier: Apache-2.0
"""Whether the next failure would go well: alarms, room, protected VMs."""

from __future__ import annotations

import argparse
import time

from osc_lib.i18n import _

from vmha_remediator.osc import show
from vmha_remediator.osc.asking import api
from vmha_remediator.osc.careful import WANTED, Lister
from vmha_remediator.osc.show import Table

#: So many seconds the room on the hosts may take to be read: three requests a host.
READING = 30


class ListAlarms(Lister):
    """List the alarms that watch the hosts"""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        return show.table(show.ALARMS, api(self).get("alarms")["alarms"])


class ListCapacity(Lister):
    """List what would happen to the protected VMs of each host if it failed: is there room?

    The VMs are packed into what Placement says is free on the other healthy, enabled hosts.
    "may not fit" means that no way was found although there may be one, or that only Nova's
    scheduler can tell.

    Exit status: 0 every host's VMs fit; 3 some do not, may not, or it is not known; 1 there is no
    answer.
    """

    failed = False

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        for _try in range(READING):
            answer = api(self).get("capacity")
            if not answer["reading"]:
                break
            time.sleep(1)
        self.app.stderr.write(f"{answer['says']}\n")
        self.failed = answer["fit"] != "fits"
        return show.table(show.CAPACITY, answer["hosts"])

    def run(self, parsed_args: argparse.Namespace) -> int:
        return super().run(parsed_args) or (WANTED if self.failed else 0)


class ListProtection(Lister):
    """List which VMs are protected, at what priority, and which cannot be and why"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--host", metavar="<host>", help=_("Only on this host"))
        parser.add_argument(
            "--problems", action="store_true", help=_("Only those that cannot be protected")
        )
        parser.add_argument("--all", action="store_true", help=_("Also VMs without protection"))
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        answer = api(self).get("protection", host=parsed_args.host)
        for trouble in answer["trouble"]:
            self.app.stderr.write(f"Note: {trouble}\n")
        servers = [
            server
            for server in answer["servers"]
            if (server["protected"] or parsed_args.all)
            and (server["problem"] or not parsed_args.problems)
        ]
        return show.table(show.PROTECTION, servers)
