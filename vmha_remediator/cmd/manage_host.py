# SPDX-License-Identifier: Apache-2.0
"""vmha-manage host: which hosts are to be left alone for now."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import time
from typing import TYPE_CHECKING, Any

from vmha_remediator.cmd import output, stores
from vmha_remediator.errors import VmhaError
from vmha_remediator.verb import add_verb

if TYPE_CHECKING:
    from oslo_config import cfg


SET = """\
Leave a host alone: while the flag stands, nothing of the host is reported, it is not fenced and
its VMs are not moved, whatever happens to it. Use it before work on the host, after its VMs have
been moved away. It does not keep Nova from placing VMs there: disable its compute service, too.

A recovery that had begun before goes on; the host is not taken back until the flag is gone.

examples:
  vmha-manage host maintenance set compute-1 --reason "new memory"
  vmha-manage host maintenance set compute-1 --reason "kernel" --hours 2
"""
UNSET = """\
Look after a host again. If it has failed meanwhile, that is acted on within seconds.

examples:
  vmha-manage host maintenance unset compute-1
"""
LIST = """\
List the hosts in maintenance: since when, until when, who said so and why. Times are UTC.

examples:
  vmha-manage host maintenance list
  vmha-manage host maintenance list --json
"""
HOUR = 3600.0


def add_commands(subparsers: Any) -> None:
    """Add `host maintenance set`, `unset` and `list`."""
    area = subparsers.add_parser("host", help="leave hosts alone while people work on them")
    things = area.add_subparsers(metavar="THING", required=True)
    maintenance = things.add_parser("maintenance", help="hosts that are to be left alone")
    verbs = maintenance.add_subparsers(metavar="COMMAND", required=True)

    setting = add_verb(verbs, "set", "leave a host alone", SET)
    setting.add_argument("host", help="service host")
    setting.add_argument("--reason", required=True, type=_reason, help="why, for everybody else")
    setting.add_argument(
        "--hours", type=_hours, metavar="N", help="the flag ends by itself after so many hours"
    )
    setting.add_argument(
        "--unknown", action="store_true", help="set it although no such host has measures"
    )
    setting.set_defaults(func=_set)

    unset = add_verb(verbs, "unset", "look after a host again", UNSET)
    unset.add_argument("host", help="service host")
    unset.set_defaults(func=_unset)

    listing = add_verb(verbs, "list", "list hosts in maintenance", LIST)
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(func=_list)


def _reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("say why, for those who come after you")
    return " ".join(text.split())


def _hours(text: str) -> float:
    hours = float(text)
    if not (math.isfinite(hours) and hours > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number of hours above 0")
    return hours


def _set(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    store = stores.to_write(conf)
    if not args.unknown:
        _refuse_unknown(args.host, conf)
    until = None if args.hours is None else time.time() + args.hours * HOUR
    store.set_maintenance(args.host, args.reason, output.operator(), until)
    end = f"until {output.moment(until)}" if until else "until it is unset"
    print(f"{args.host} is left alone {end}. Nova may still place VMs there; to keep it from it:")
    print(f"  openstack compute service set --disable {args.host} nova-compute")
    return 0


def _refuse_unknown(host: str, conf: cfg.ConfigOpts) -> None:
    """Refuse a host that nobody has ever measured: a flag on a misspelt name protects nobody."""
    from vmha_remediator.effects.gnocchi import Gnocchi
    from vmha_remediator.effects.session import make_session

    try:
        hosts = Gnocchi(make_session(conf), conf).hosts()
    except VmhaError as exc:
        print(f"Whether {host} is a host's name could not be checked: {exc}", file=sys.stderr)
        return
    if host not in hosts:
        known = ", ".join(hosts) or "none"
        raise VmhaError(
            f"no host named {host} has measures; known: {known}. If the name is right all the "
            f"same, add --unknown"
        )


def _unset(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    if not stores.to_write(conf).unset_maintenance(args.host):
        raise VmhaError(f"{args.host} is not in maintenance")
    print(f"{args.host} is looked after again.")
    return 0


def _list(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    flags = stores.to_read(conf).maintenance().values()
    if args.json:
        output.print_json([dataclasses.asdict(flag) for flag in flags])
    elif flags:
        headers = ("HOST", "SINCE", "UNTIL", "WHO", "WHY")
        output.print_table(
            headers,
            [
                (f.host, output.moment(f.since), output.moment(f.until), f.who, f.reason)
                for f in flags
            ],
        )
    else:
        print("No host is in maintenance.")
    return 0
