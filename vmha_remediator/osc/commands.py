# SPDX-License-Identifier: Apache-2.0
"""The commands. Each one's docstring is its help."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from osc_lib import exceptions
from osc_lib.i18n import _

from vmha_remediator.osc import show
from vmha_remediator.osc.careful import WANTED, Lister, ShowOne, count, positive
from vmha_remediator.osc.client import Client

Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]
One = tuple[tuple[str, ...], tuple[Any, ...]]
#: So many seconds the room on the hosts may take to be read: three requests a host.
READING = 30


def _client(command: Any) -> Client:
    client: Client = command.app.client_manager.vmha
    return client


def _host(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("host", metavar="<host>", help=_("Host, as compute service list names it"))
    return parser


def _incident(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("incident", metavar="<incident>", type=count, help=_("Number of it"))
    return parser


def _sure(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--yes", action="store_true", help=_("Do not ask"))
    return parser


def _demand(args: argparse.Namespace, expected: str, question: str) -> None:
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


class ListHosts(Lister):
    """List hosts: the verdict on each, and what it rests on

    "unknown" is never "well": what nobody measures has no verdict, and nothing is done there.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--unwell", action="store_true", help=_("Only those that are not well")
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        answer = _client(self).get("hosts")
        for trouble in answer["trouble"]:
            self.app.stderr.write(f"Note: {trouble}\n")
        hosts = [h for h in answer["hosts"] if not parsed_args.unwell or h["state"] != "well"]
        return show.table(show.HOSTS, hosts)


class ShowHost(ShowOne):
    """Show one host: every path of the evidence, and the verdict in words"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return _host(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        answer = _client(self).get("hosts", parsed_args.host)
        return show.one(show.HOST, answer["host"])


class ConfirmFenced(ShowOne):
    """Confirm that a host is off, in place of a fencing device

    Only when you have SEEN that it is off and stays off. Its VMs are started elsewhere on your
    word; if the host still runs, two copies of a VM write to one disk.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return _sure(_host(super().get_parser(prog_name)))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        host = parsed_args.host
        _demand(parsed_args, host, f"Type the host's name if you have seen that {host} is off:")
        answer = _client(self).post("hosts", host, "confirm-fenced", body={"host": host})
        return show.one(show.INCIDENT, answer["incident"])


class ReleaseHost(ShowOne):
    """Let the held incident of a host go on

    What holds it is overruled for this incident, in your name. It replaces no proof that the
    host is off.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return _sure(_host(super().get_parser(prog_name)))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        host = parsed_args.host
        _demand(parsed_args, host, "Type the host's name to release its incident:")
        return show.one(show.INCIDENT, _client(self).post("hosts", host, "release")["incident"])


class RecoverHost(ShowOne):
    """Have the failure of a host go on now

    What holds it is released in your name; VMs that are pending are tried again at once. Where no
    failure stands nothing is done: a person's word alone moves no VM.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return _sure(_host(super().get_parser(prog_name)))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        host = parsed_args.host
        _demand(parsed_args, host, "Type the host's name to have it recovered now:")
        return show.one(show.INCIDENT, _client(self).post("hosts", host, "recover")["incident"])


class SetMaintenance(ShowOne):
    """Leave a host alone: it is not fenced and its VMs are not moved, whatever happens to it"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = _host(super().get_parser(prog_name))
        parser.add_argument(
            "--reason", metavar="<text>", required=True, help=_("Why, for everybody else")
        )
        parser.add_argument(
            "--hours", metavar="<n>", type=positive, help=_("It ends by itself after so many")
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        body = {"reason": parsed_args.reason}
        if parsed_args.hours is not None:
            body["hours"] = parsed_args.hours
        answer = _client(self).put("hosts", parsed_args.host, "maintenance", body=body)
        return show.one(show.HOST, answer["host"])


class UnsetMaintenance(ShowOne):
    """Look after a host again; if it has failed meanwhile, that is acted on within seconds"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return _host(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        answer = _client(self).delete("hosts", parsed_args.host, "maintenance")
        return show.one(show.HOST, answer["host"])


class ListIncidents(Lister):
    """List incidents, the latest first: those that are active, or all"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--all", action="store_true", help=_("Also those that are over"))
        parser.add_argument("--host", metavar="<host>", help=_("Only of this host"))
        parser.add_argument("--state", metavar="<state>", help=_("Only in this state"))
        parser.add_argument(
            "--limit", metavar="<n>", type=count, default=50, help=_("At most so many (50)")
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        found = _client(self).incidents(
            parsed_args.limit,
            active=None if parsed_args.all or parsed_args.state else True,
            host=parsed_args.host,
            state=parsed_args.state,
        )
        return show.table(show.INCIDENTS, found)


class ShowIncident(ShowOne):
    """Show one incident: why it is where it is, what to do, the proof, and each VM's way"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return _incident(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        answer = _client(self).get("incidents", parsed_args.incident)
        return show.one(show.INCIDENT, answer["incident"])


class ReleaseIncident(ShowOne):
    """Let a held incident go on, or close one that is only kept open"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return _sure(_incident(super().get_parser(prog_name)))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        client, number = _client(self), parsed_args.incident
        found = client.get("incidents", number)["incident"]
        question = f"{found['reason'] or found['evidence']}\nType the host's name to release it:"
        _demand(parsed_args, found["host"], question)
        return show.one(show.INCIDENT, client.post("incidents", number, "release")["incident"])


class RetryIncident(ShowOne):
    """Try now what an incident would try again later"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return _incident(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        answer = _client(self).post("incidents", parsed_args.incident, "retry")
        return show.one(show.INCIDENT, answer["incident"])


class CancelIncident(ShowOne):
    """Close an incident before its host is fenced

    The host is in maintenance from then on, or its failure would only be opened anew; end that
    with: openstack vmha maintenance unset HOST
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = _sure(_incident(super().get_parser(prog_name)))
        parser.add_argument(
            "--reason", metavar="<text>", required=True, help=_("Why, for everybody else")
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        client, number = _client(self), parsed_args.incident
        found = client.get("incidents", number)["incident"]
        _demand(parsed_args, found["host"], "Type the host's name to cancel its incident:")
        answer = client.post("incidents", number, "cancel", body={"reason": parsed_args.reason})
        return show.one(show.INCIDENT, answer["incident"])


class ListAlarms(Lister):
    """List the alarms that watch the hosts"""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        return show.table(show.ALARMS, _client(self).get("alarms")["alarms"])


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
            answer = _client(self).get("capacity")
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
        answer = _client(self).get("protection", host=parsed_args.host)
        for trouble in answer["trouble"]:
            self.app.stderr.write(f"Note: {trouble}\n")
        servers = [
            server
            for server in answer["servers"]
            if (server["protected"] or parsed_args.all)
            and (server["problem"] or not parsed_args.problems)
        ]
        return show.table(show.PROTECTION, servers)
