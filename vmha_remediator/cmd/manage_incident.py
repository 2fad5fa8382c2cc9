# SPDX-License-Identifier: Apache-2.0
"""vmha-manage incident: what happened, how far its recovery is, and letting it go on."""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import TYPE_CHECKING, Any

from vmha_remediator.cmd import output, stores
from vmha_remediator.verb import add_verb

if TYPE_CHECKING:
    from oslo_config import cfg

    from vmha_remediator.remedy.incident import Incident

LIST = """\
List incidents, the latest first: those that are active, or all.

examples:
  vmha-manage incident list
  vmha-manage incident list --all --limit 50 --json
"""
SHOW = """\
Show one incident: why it is where it is, what a person can do, the proof of fencing, every
step with its time, and each VM's way. Times are UTC; "+3.2 s" counts from its beginning.

examples:
  vmha-manage incident show 7
"""
RELEASE = """\
Let a held incident go on. What holds it now is overruled for this incident, and your name goes
into its record. It does not replace a proof: a host that could not be fenced is confirmed with
'vmha-manage fence confirm HOST'.

examples:
  vmha-manage incident release 7
"""
PURGE = """\
Remove incidents that have been over for DAYS days, with their journals. Incidents that are
active, or of which somebody is still to be told, stay. It may run while the service runs.

examples:
  vmha-manage incident purge --older-than 90 --dry-run
  vmha-manage incident purge --older-than 90
"""
DAY = 86400.0  # s


def add_commands(subparsers: Any) -> None:
    """Add `incident list`, `show`, `release` and `purge`."""
    area = subparsers.add_parser("incident", help="see incidents and let held ones go on")
    verbs = area.add_subparsers(metavar="COMMAND", required=True)

    listing = _verb(verbs, "list", "list incidents", LIST, _list)
    listing.add_argument("--all", action="store_true", help="also those that are over")
    listing.add_argument("--limit", type=int, metavar="N", help="at most N, the latest")

    show = _verb(verbs, "show", "show one with its journal and VMs", SHOW, _show)
    show.add_argument("id", type=int, help="the incident's number")

    release = _verb(verbs, "release", "let a held one go on", RELEASE, _release)
    release.add_argument("id", type=int, help="the incident's number")
    release.add_argument("--yes", action="store_true", help="do not ask")

    purge = _verb(verbs, "purge", "remove what is long over", PURGE, _purge)
    purge.add_argument(
        "--older-than", type=_days, required=True, metavar="DAYS", help="whole days, 1 or more"
    )
    purge.add_argument("--dry-run", action="store_true", help="only count")


def _days(text: str) -> int:
    days = int(text)
    if days < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {days}")
    return days


def _verb(verbs: Any, name: str, summary: str, text: str, func: Any) -> argparse.ArgumentParser:
    parser = add_verb(verbs, name, summary, text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=func)
    return parser


def as_dict(incident: Incident) -> dict[str, Any]:
    """Return an incident for JSON: plain values, times in seconds since the epoch."""
    values = dataclasses.asdict(incident)
    return values | {"waived": sorted(incident.waived), "active": incident.active}


def _list(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    incidents = stores.to_read(conf).incidents(active_only=not args.all, limit=args.limit)
    if args.json:
        output.print_json([as_dict(incident) for incident in incidents])
    elif incidents:
        headers = ("ID", "HOST", "RULE", "STATE", "SINCE", "VMS", "WHY")
        output.print_table(headers, [_summary(incident) for incident in incidents])
    else:
        print("No incidents." if args.all else "No active incidents; --all shows earlier ones.")
    return 0


def _subject(incident: Incident) -> str:
    """Return whom it is about: a host, or what is wrong with most of them at once."""
    from vmha_remediator.remedy.pieces import subject

    return subject(incident)


def _summary(incident: Incident) -> tuple[object, ...]:
    done = sum(1 for vm in incident.vms if vm.status == "done")
    vms = f"{done}/{len(incident.vms)}" if incident.vms else "-"
    why = incident.reason or incident.evidence
    return (
        incident.id,
        _subject(incident),
        incident.rule,
        incident.state,
        output.moment(incident.opened),
        vms,
        why,
    )


def _show(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    incident = stores.to_read(conf).incident(args.id)
    if args.json:
        output.print_json(as_dict(incident))
        return 0
    for label, value in _facts(incident):
        if value:
            print(f"{label + ':':10} {value}")
    if incident.steps:
        print("\nJournal")
        output.print_table(("AFTER", "STEP", "OK", "WHAT HAPPENED"), _journal(incident))
    if incident.vms:
        print("\nVMs")
        output.print_table(
            ("VM", "WAS", "STATUS", "FROM", "TO", "ASKED", "THERE", "WHY"), _vms(incident)
        )
    return 0


def _facts(incident: Incident) -> list[tuple[str, str]]:
    proof = incident.proof
    return [
        ("Incident",
         f"{incident.id}, {incident.rule} of {_subject(incident)} ({incident.severity})"),
        ("State", str(incident.state)),
        ("Held by", incident.held_by if incident.state == "held" else ""),
        ("Why", incident.reason),
        ("To do", incident.advice),
        ("Now", incident.said if incident.active else ""),
        ("Evidence", incident.evidence),
        ("Proof", f"{proof.proves} ({proof.driver}): {proof.evidence}" if proof else ""),
        ("Waived", f"{', '.join(sorted(incident.waived))} by {incident.released_by}"
         if incident.waived else ""),
        ("Opened", output.moment(incident.opened)),
        ("Closed", output.moment(incident.closed)),
    ]  # fmt: skip


def _journal(incident: Incident) -> list[tuple[object, ...]]:
    marks = {True: "yes", False: "NO", None: "..."}
    return [
        (output.after(step.time, incident.opened), step.step, marks[step.ok], step.sentence)
        for step in incident.steps
    ]


def _vms(incident: Incident) -> list[tuple[object, ...]]:
    return [
        (
            vm.name or vm.server_id,
            vm.vm_state,
            vm.status,
            vm.old_host,
            vm.dest,
            output.after(vm.started, incident.opened),
            output.after(vm.finished, incident.opened),
            vm.reason,
        )
        for vm in incident.vms
    ]


def _release(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    store = stores.to_write(conf)
    incident = store.incident(args.id)
    if incident.state == "held" and not args.yes:
        print(f"Incident {incident.id}, {incident.rule} of {_subject(incident)}, is held:")
        print(f"  {incident.reason}")
        print(f"Releasing it overrules '{incident.held_by}' for this incident.")
        output.demand(incident.host, "Type the host's name to release it:")
    released = store.release(args.id, output.operator())
    if args.json:
        output.print_json(as_dict(released))
    else:
        print(f"Released by {output.operator()}; the engine plans it anew in its next cycle.")
    return 0


def _purge(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.store.purge import purge

    before = time.time() - args.older_than * DAY
    found = purge(stores.to_write(conf).database, before, dry_run=args.dry_run)
    if args.json:
        output.print_json(dict(found))
        return 0
    did = "Would remove" if args.dry_run else "Removed"
    parts = ", ".join(f"{count} {name}" for name, count in found.items() if name != "incidents")
    print(f"{did} {found['incidents']} incident(s) over for more than {args.older_than} day(s)")
    print(f"({parts}).")
    return 0
