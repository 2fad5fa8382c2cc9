# SPDX-License-Identifier: Apache-2.0
"""vmha-manage doctor: checks a cloud for every known pitfall, before the first failure does."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vmha_remediator.cmd import output
from vmha_remediator.errors import AgentUnavailable
from vmha_remediator.verb import add_verb

if TYPE_CHECKING:
    from oslo_config import cfg

    from vmha_remediator.doctor.finding import Finding

#: The areas and the files, as `doctor.examine` and `doctor.settings` have them; a test compares.
AREAS = ("services", "hosts", "settings")
CONFIGS = ("nova", "gnocchi", "aodh", "ceilometer")
SOCKET = "/run/vmha/agent.sock"

DOCTOR = """\
Look at the real cloud and say of every known pitfall whether it waits here: ok, wrong, or can't
tell, with the exact thing to change. Nothing is changed.

What no API tells (Gnocchi's delay, Aodh's interval, Ceilometer's retries, Nova's guests at a
reboot) is read from the services' own files where they are given.

examples:
  vmha-manage doctor
  vmha-manage doctor --wrong
  vmha-manage doctor --aodh-config /etc/aodh/aodh.conf --gnocchi-config /etc/gnocchi/gnocchi.conf
  vmha-manage doctor --area hosts --json

exit status, for monitoring: 0 nothing is wrong; 1 something is, or the doctor could not work.
"""
SIGNS = {"ok": "ok", "wrong": "WRONG", "can't tell": "can't tell"}


def add_commands(subparsers: Any) -> None:
    """Add `doctor`."""
    parser = add_verb(
        subparsers, "doctor", "find what would go wrong at the first failure", DOCTOR
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--wrong", action="store_true", help="print only what is wrong")
    parser.add_argument(
        "--area", action="append", choices=AREAS, help="check only this area; repeatable"
    )
    for service in CONFIGS:
        parser.add_argument(
            f"--{service}-config", metavar="FILE", help=f"compare {service}'s settings, too"
        )
    parser.add_argument(
        "--agent-socket", default=SOCKET, metavar="PATH", help=f"the local agent's ({SOCKET})"
    )
    parser.set_defaults(func=_doctor)


def _doctor(args: argparse.Namespace, conf: cfg.ConfigOpts) -> int:
    from vmha_remediator.doctor.examine import examine
    from vmha_remediator.doctor.finding import State
    from vmha_remediator.effects.examine import Gatherer

    configs = {
        name: path for name in CONFIGS if (path := getattr(args, f"{name}_config")) is not None
    }
    gatherer = Gatherer(conf, configs, lambda: _agent(args.agent_socket))
    findings = examine(gatherer.gather(_say), args.area or AREAS)
    shown = [f for f in findings if f.state is State.WRONG or not args.wrong]
    if args.json:
        output.print_json([dataclasses.asdict(finding) for finding in shown])
    else:
        _print(shown)
        count = {state: sum(f.state is state for f in findings) for state in State}
        print(", ".join(f"{number} {SIGNS[state]}" for state, number in count.items()))
    return 1 if any(f.state is State.WRONG for f in findings) else 0


def _say(what: str) -> None:
    """Say what is being looked at, to a person only."""
    if sys.stderr.isatty():
        print(f"looking at {what} ...", file=sys.stderr)


def _agent(path: str) -> Mapping[str, Any]:
    try:
        from vmha_pollsters.ask import ask
    except ImportError as exc:
        raise AgentUnavailable("vmha_pollsters is not installed here") from exc
    status: Mapping[str, Any] = ask(path, "status")
    return status


def _print(findings: list[Finding]) -> None:
    area = ""
    for finding in findings:
        if finding.area != area:
            area = finding.area
            print(f"{area}")
        print(f"  {SIGNS[finding.state]:11} {finding.check}: {finding.says}")
        if finding.fix:
            print(f"{'':14}-> {finding.fix}")
