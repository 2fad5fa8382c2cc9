# SPDX-License-Identifier: Apache-2.0
"""What is known of the hosts, and what a person says of one."""

from __future__ import annotations

import argparse

from osc_lib.i18n import _

from vmha_remediator.osc import show
from vmha_remediator.osc.asking import api, demand, of_host, sure
from vmha_remediator.osc.careful import Lister, ShowOne, positive
from vmha_remediator.osc.show import One, Table


class ListHosts(Lister):
    """List hosts: the verdict on each, and what it rests on.

    "unknown" is never "well": what nobody measures has no verdict, and nothing is done there.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--unwell", action="store_true", help=_("Only those that are not well")
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        answer = api(self).get("hosts")
        for trouble in answer["trouble"]:
            self.app.stderr.write(f"Note: {trouble}\n")
        hosts = [h for h in answer["hosts"] if not parsed_args.unwell or h["state"] != "well"]
        return show.table(show.HOSTS, hosts)


class ShowHost(ShowOne):
    """Show one host: every path of the evidence, and the verdict in words"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return of_host(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        answer = api(self).get("hosts", parsed_args.host)
        return show.one(show.HOST, answer["host"])


class ConfirmFenced(ShowOne):
    """Confirm that a host is off, in place of a fencing device.

    Only when you have SEEN that it is off and stays off. Its VMs are started elsewhere on your
    word; if the host still runs, two copies of a VM write to one disk.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return sure(of_host(super().get_parser(prog_name)))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        host = parsed_args.host
        demand(parsed_args, host, f"Type the host's name if you have seen that {host} is off:")
        answer = api(self).post("hosts", host, "confirm-fenced", body={"host": host})
        return show.one(show.INCIDENT, answer["incident"])


class ReleaseHost(ShowOne):
    """Let the held incident of a host go on.

    What holds it is overruled for this incident, in your name. It replaces no proof that the
    host is off.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return sure(of_host(super().get_parser(prog_name)))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        host = parsed_args.host
        demand(parsed_args, host, "Type the host's name to release its incident:")
        return show.one(show.INCIDENT, api(self).post("hosts", host, "release")["incident"])


class RecoverHost(ShowOne):
    """Have the failure of a host go on now.

    What holds it is released in your name; VMs that are pending are tried again at once. Where no
    failure stands nothing is done: a person's word alone moves no VM.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return sure(of_host(super().get_parser(prog_name)))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        host = parsed_args.host
        demand(parsed_args, host, "Type the host's name to have it recovered now:")
        return show.one(show.INCIDENT, api(self).post("hosts", host, "recover")["incident"])


class SetMaintenance(ShowOne):
    """Leave a host alone: it is not fenced and its VMs are not moved, whatever happens to it"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = of_host(super().get_parser(prog_name))
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
        answer = api(self).put("hosts", parsed_args.host, "maintenance", body=body)
        return show.one(show.HOST, answer["host"])


class UnsetMaintenance(ShowOne):
    """Look after a host again; if it has failed meanwhile, that is acted on within seconds"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return of_host(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        answer = api(self).delete("hosts", parsed_args.host, "maintenance")
        return show.one(show.HOST, answer["host"])
