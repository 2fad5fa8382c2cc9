# SPDX-License-Identifier: Apache-2.0
"""Verbs for the hosts: VMs, faults of every kind, and the check of what must hold."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.lab import acts, guests, hosts, layout, redfish
from tests.lab.errors import LabError
from tests.lab.gather import violations

__all__ = ["add_verbs", "violations"]

Handler = Callable[[argparse.Namespace], int | None]
_PROGRAM = "python -m tests.lab"


@dataclass(frozen=True)
class Verb:
    """One verb: its line in the list, its help, what it does, and how it is typed."""

    name: str
    summary: str
    text: str
    run: Handler
    examples: tuple[str, ...]
    arguments: Callable[[argparse.ArgumentParser], object] = lambda parser: None
    takes_host: bool = False


def _boot_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", metavar="N", type=int, help="how many VMs")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--tag",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"give them the server tag '{guests.TAG}', which asks for protection (default)",
    )
    which.add_argument(
        "--mix", action="store_true", help="leave out every third VM of a host (8 of 12 tagged)"
    )
    parser.add_argument("--host", metavar="HOST", help="all on this host (default: spread)")
    parser.add_argument("--name-prefix", metavar="NAME", default="vm", help="default: vm")


def _json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _revive_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--restart-guests",
        action="store_true",
        help="then have Nova restart the VMs that died with the host and are still there",
    )


def _cut_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", action="store_true", help="the management network")
    parser.add_argument("--storage", action="store_true", help="the shared storage (I/O errors)")
    parser.add_argument("--in", dest="inward", action="store_true", help="only what comes in")
    parser.add_argument("--out", dest="outward", action="store_true", help="only what goes out")


def _stall_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--under", metavar="PATH", default="/", help="only below this folder, such as /vmha"
    )


_VERDICTS = "failure, isolation, partition, agent-down, storage-lost, well, none"

VERBS = (
    Verb(
        "boot",
        "boot VMs through Nova",
        "Boot N VMs through Nova's API, spread over the hosts in turn, and wait until each is\n"
        "ACTIVE and its guest writes to its disk. Names go on from those there are.",
        acts.boot_vms,
        (
            "boot 12 --mix",
            "boot 2 --host h1 --no-tag --name-prefix plain",
        ),
        _boot_arguments,
    ),
    Verb(
        "guests",
        "who really runs where",
        "Show every VM: what Nova says, on which hosts a process of it really lives, and who\n"
        "wrote last to its disk. A VM with two hosts under 'runs on' runs twice.",
        acts.show_guests,
        (
            "guests",
            "guests --json",
        ),
        _json_argument,
    ),
    Verb(
        "kill",
        "power loss",
        "Take a host's power away: every process of it dies at once, writes that were under way\n"
        "are lost, its network is gone. 'revive' boots it again.",
        acts.kill,
        ("kill h1",),
        takes_host=True,
    ),
    Verb(
        "revive",
        "boot a host that is off",
        "Power a host on: a new boot id, a network without faults, its services; wait until its\n"
        "nova-compute reports to Nova. A host that is on gets the services that it misses.\n"
        "It starts no VM by itself (Nova's default).",
        acts.revive,
        (
            "revive h1",
            "revive h1 --restart-guests",
        ),
        _revive_arguments,
        takes_host=True,
    ),
    Verb(
        "freeze",
        "stop a host where it stands",
        "Stop every process of a host in the middle of what it does; it answers nothing, not\n"
        "even ping. 'thaw' lets it run on as if no time had passed, guests included: the case in\n"
        "which a VM would run twice if it had been evacuated without proof.",
        acts.freeze,
        ("freeze h3",),
        takes_host=True,
    ),
    Verb(
        "thaw",
        "let a frozen host run on",
        "Undo 'freeze'.",
        acts.thaw,
        ("thaw h3",),
        takes_host=True,
    ),
    Verb(
        "cut",
        "cut a host off the network or the storage",
        "--network drops all packets of the host's management network: heartbeats, telemetry,\n"
        "Nova's RPC. With --in or --out only one way. --storage lets every request to the shared\n"
        "storage fail with an I/O error (see 'stall' for one that hangs). Undo: heal HOST.",
        acts.cut,
        (
            "cut h2 --network",
            "cut h2 --network --out",
            "cut h2 --network --storage",
        ),
        _cut_arguments,
        takes_host=True,
    ),
    Verb(
        "stall",
        "let a host's storage hang",
        "Requests of this host to the shared storage wait until 'heal', and are then done; if\n"
        "the host loses power meanwhile they are not done. Other hosts are not concerned.",
        acts.stall,
        (
            "stall h2",
            "stall h2 --under /vmha",
        ),
        _stall_arguments,
        takes_host=True,
    ),
    Verb(
        "slow",
        "slow a host's storage down",
        "Delay each request of this host to the shared storage by MS milliseconds. Undo: heal.",
        acts.slow,
        ("slow h2 500",),
        lambda parser: parser.add_argument("ms", metavar="MS", type=float),
        takes_host=True,
    ),
    Verb(
        "loss",
        "lose packets of a host",
        "Lose PCT percent of the packets at random, of those that come in and of those that go\n"
        "out. 0 loses none. Undo: heal HOST.",
        acts.loss,
        ("loss h2 30",),
        lambda parser: parser.add_argument("percent", metavar="PCT", type=int),
        takes_host=True,
    ),
    Verb(
        "partition",
        "split the management network",
        "Hosts of different groups no longer reach each other. The first group keeps the\n"
        "controller and the gateway; the others lose them as well. Undo: heal.",
        acts.partition,
        ("partition h1,h2 h3,h4",),
        lambda parser: parser.add_argument("groups", metavar="HOSTS", nargs="+"),
    ),
    Verb(
        "gateway",
        "let the gateway fall silent",
        "The gateway is what a host asks when it hears nobody. 'down' silences it alone.",
        acts.gateway,
        ("gateway down",),
        lambda parser: parser.add_argument("state", choices=["up", "down"]),
    ),
    Verb(
        "starve",
        "leave a host next to no CPU",
        "Let all processes of a host together have PCT percent of one core, by the kernel's\n"
        "quota. 100 gives it all that it wants again.",
        acts.starve_host,
        (
            "starve h1 5",
            "starve h1 100",
        ),
        lambda parser: parser.add_argument("percent", metavar="PCT", type=_share),
        takes_host=True,
    ),
    Verb(
        "clock",
        "set a host's clock wrong",
        "Step the wall clock of a host's agent and ceilometer-polling, so that it is SECONDS\n"
        "ahead of the true time (negative: behind). The first time they are restarted, with a\n"
        "clock of their own. Other processes of the host keep the machine's clock.",
        acts.clock,
        (
            "clock h1 3600",
            "clock h1 -- -3600",
            "clock h1 0",
        ),
        lambda parser: parser.add_argument("seconds", metavar="SECONDS", type=float),
        takes_host=True,
    ),
    Verb(
        "heal",
        "undo faults of network and storage",
        "Take the faults of network and storage off a host, or off all of them. It neither\n"
        "revives, nor thaws, nor starts what was stopped.",
        acts.heal,
        (
            "heal",
            "heal h2",
        ),
        lambda parser: parser.add_argument("host", metavar="HOST", nargs="?"),
    ),
    Verb(
        "agent",
        "stop, start or kill a host's vmha-agent",
        "stop holds the process where it stands (SIGSTOP) and start lets it run on; term ends it\n"
        "(SIGTERM), kill ends it without warning (SIGKILL), and start starts it anew.",
        acts.agent,
        (
            "agent stop h1",
            "agent start h1",
        ),
        lambda parser: parser.add_argument("what", choices=["stop", "start", "kill", "term"]),
        takes_host=True,
    ),
    Verb(
        "redfish",
        "let a host's BMC fail",
        "refuse: 503 to every request. hang: no answer until it is set to something else.\n"
        "lie: it says that the power is off, and leaves it on. ok: it works.",
        acts.set_redfish,
        ("redfish h1 refuse",),
        lambda parser: parser.add_argument("mode", choices=redfish.MODES),
        takes_host=True,
    ),
    Verb(
        "wait",
        "wait for a verdict on a host",
        f"Judge what Gnocchi says of a host by the rule files until the verdict is as wanted:\n"
        f"{_VERDICTS} (no verdict). Exit status 1 if it is not in time.",
        acts.wait,
        (
            "wait h1 failure --timeout 30",
            "wait h1 well",
        ),
        lambda parser: (
            parser.add_argument("verdict", metavar="VERDICT"),
            parser.add_argument("--timeout", metavar="S", type=float, default=60.0),
        ),
        takes_host=True,
    ),
    Verb(
        "invariants",
        "check that nothing ran twice, and more",
        "Check what must hold whatever was done: one writer a disk, each VM where Nova says and\n"
        "once, every evacuation after stored proof and from a host without power, at most once a\n"
        "failure, none from a verdict that only reports. Exit status 1 with each violation.",
        acts.check_invariants,
        (
            "invariants",
            "invariants --json",
        ),
        _json_argument,
    ),
)


def add_verbs(subparsers: Any) -> None:
    """Add every verb of the table."""
    for verb in VERBS:
        parser = subparsers.add_parser(
            verb.name,
            help=verb.summary,
            description=_teach(verb),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        first = verb.name == "agent"  # agent stop HOST
        if first:
            verb.arguments(parser)
        if verb.takes_host:
            parser.add_argument("host", metavar="HOST", type=_host, help=", ".join(layout.HOSTS))
        if not first:
            verb.arguments(parser)
        parser.set_defaults(func=_on_a_lab(verb.run))


def _on_a_lab(run: Handler) -> Handler:
    """Refuse while no lab is up: a verb would leave files for the next one to trip over."""

    def checked(args: argparse.Namespace) -> int | None:
        if not any(layout.RUN.glob("*.json")):
            raise LabError("no lab is up here: python -m tests.lab up")
        return run(args)

    return checked


def _share(text: str) -> float:
    """Return a percentage above 0."""
    percent = float(text)
    if percent <= 0:
        raise argparse.ArgumentTypeError("a host without any CPU is frozen: see 'freeze'")
    return percent


def _host(name: str) -> str:
    try:
        return hosts.check(name)
    except LabError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _teach(verb: Verb) -> str:
    lines = "\n".join(f"  {_PROGRAM} {example}" for example in verb.examples)
    return f"{verb.text}\n\nexamples:\n{lines}"
