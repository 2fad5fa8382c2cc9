# SPDX-License-Identifier: Apache-2.0
"""vmha-manage vm: what was done for single VMs."""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import TYPE_CHECKING, Any

from vmha_remediator.cmd import output, stores
from vmha_remediator.verb import add_verb

if TYPE_CHECKING:
    from oslo_config import cfg

HOUR = 3600.0
RESTARTS = """\
List the VMs that were started again on their own host, because they were off though they should
run; the latest first. One that was restarted too often is an incident ('vmha-manage incident
list').

examples:
  vmha-manage vm restarts
  vmha-manage vm restarts --hours 168 --json
"""


def add_commands(subparsers: Any) -> None:
    """Add `vm restarts`."""
    area = subparsers.add_parser("vm", help="what was done for single VMs")
    verbs = area.add_subparsers(metavar="COMMAND", required=True)
    listing = add_verb(verbs, "restarts", "VMs that were restarted in place", RESTARTS)
    listing.add_argument("--hours", type=_hours, default=24.0, metavar="N", help="default: 24")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(func=_restarts)


def _hours(text: str) -> float:
    hours = float(text)
    if not 0 < hours < float("inf"):
        raise argparse.ArgumentTypeError(f"must be more than 0, not {text}")
    return hours


def _restarts(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    found = stores.to_read(conf).all_restarts(time.time() - args.hours * HOUR)
    if args.json:
        output.print_json([dataclasses.asdict(restart) for restart in found])
    elif found:
        headers = ("TIME", "VM", "HOST", "NOVA", "SERVER", "WHY")
        answers = {True: "accepted", False: "refused", None: "unknown"}
        output.print_table(
            headers,
            [
                (output.moment(r.time), r.name, r.host, answers[r.ok], r.server_id, r.sentence)
                for r in found
            ],
        )
    else:
        print(f"No VM was restarted in place within {args.hours:g} hours.")
    return 0
