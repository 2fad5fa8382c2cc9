# SPDX-License-Identifier: Apache-2.0
"""Incidents: looked at, let go on, closed."""

from __future__ import annotations

import argparse

from osc_lib.i18n import _

from vmha_remediator.osc import show
from vmha_remediator.osc.asking import api, demand, of_incident, sure
from vmha_remediator.osc.careful import Lister, ShowOne, count
from vmha_remediator.osc.show import One, Table


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
        found = api(self).incidents(
            parsed_args.limit,
            active=None if parsed_args.all or parsed_args.state else True,
            host=parsed_args.host,
            state=parsed_args.state,
        )
        return show.table(show.INCIDENTS, found)


class ShowIncident(ShowOne):
    """Show one incident: why it is where it is, what to do, the proof, and each VM's way"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return of_incident(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        answer = api(self).get("incidents", parsed_args.incident)
        return show.one(show.INCIDENT, answer["incident"])


class ReleaseIncident(ShowOne):
    """Let a held incident go on, or close one that is only kept open"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return sure(of_incident(super().get_parser(prog_name)))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        client, number = api(self), parsed_args.incident
        found = client.get("incidents", number)["incident"]
        question = f"{found['reason'] or found['evidence']}\nType the host's name to release it:"
        demand(parsed_args, found["host"], question)
        return show.one(show.INCIDENT, client.post("incidents", number, "release")["incident"])


class RetryIncident(ShowOne):
    """Try now what an incident would try again later"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        return of_incident(super().get_parser(prog_name))

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        answer = api(self).post("incidents", parsed_args.incident, "retry")
        return show.one(show.INCIDENT, answer["incident"])


class CancelIncident(ShowOne):
    """Close an incident before its host is fenced.

    The host is in maintenance from then on, or its failure would only be opened anew; end that
    with: openstack vmha maintenance unset HOST
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = sure(of_incident(super().get_parser(prog_name)))
        parser.add_argument(
            "--reason", metavar="<text>", required=True, help=_("Why, for everybody else")
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> One:
        client, number = api(self), parsed_args.incident
        found = client.get("incidents", number)["incident"]
        demand(parsed_args, found["host"], "Type the host's name to cancel its incident:")
        answer = client.post("incidents", number, "cancel", body={"reason": parsed_args.reason})
        return show.one(show.INCIDENT, answer["incident"])
