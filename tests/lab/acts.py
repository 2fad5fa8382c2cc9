# SPDX-License-Identifier: Apache-2.0
"""What the hosts' verbs do; each takes the parsed command line and prints a sentence."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.lab import (
    boot,
    clocks,
    faults,
    gather,
    guests,
    hosts,
    layout,
    net,
    process,
    redfish,
    starve,
    storage,
    waiting,
)
from tests.lab.errors import LabError


def boot_vms(args: argparse.Namespace) -> None:
    tagged = boot.mixed if args.mix else lambda turn: args.tag
    plans = boot.plan(
        args.number, boot.hosts_for(args.host), tagged, args.name_prefix, boot.names()
    )
    boot.boot(plans)


def show_guests(args: argparse.Namespace) -> None:
    found = guests.guests()
    if args.json:
        print(json.dumps([asdict(guest) for guest in found], indent=1))
        return
    table = Table(box=None, header_style="bold")
    columns = ("VM", "tag", "Nova", "Nova's host", "runs on", "last writer", "last write")
    for column in columns:
        table.add_column(column)
    for g in found:
        status = f"{g.status} ({g.task})" if g.task else g.status
        where = ", ".join(g.running_on) or "nowhere"
        colour = "green" if g.running_on == (g.nova_host,) else "yellow"
        colour = "bold red" if len(g.running_on) > 1 else colour
        age = "never" if g.last_write_age is None else f"{g.last_write_age:.1f} s ago"
        told = (g.nova_host or "-", f"[{colour}]{where}[/]", g.last_writer or "-", age)
        table.add_row(g.name, "vmha" if g.tagged else "", status, *told)
    Console().print(table)


def kill(args: argparse.Namespace) -> None:
    hosts.kill(args.host)
    print(f"{args.host} has lost power")


def revive(args: argparse.Namespace) -> None:
    if hosts.frozen(args.host):
        raise LabError(f"{args.host} is frozen, not off: 'thaw {args.host}' or 'kill' it first")
    begun = faults.record("revive", args.host)["t"]
    started = hosts.boot_host(args.host)
    if "compute" in started:
        hosts.wait_reporting({args.host: begun})
    print(f"{args.host} is on and its nova-compute reports to Nova")
    if args.restart_guests and (names := boot.restart_dead(args.host)):
        print(f"Nova restarts {', '.join(names)}")


def freeze(args: argparse.Namespace) -> None:
    hosts.freeze(args.host)
    print(f"{args.host} stands still")


def thaw(args: argparse.Namespace) -> None:
    hosts.thaw(args.host)
    print(f"{args.host} runs on")


def cut(args: argparse.Namespace) -> None:
    if not (args.network or args.storage):
        raise LabError("say what to cut: --network and/or --storage")
    if args.network:
        both = args.inward == args.outward
        net.cut(args.host, inbound=both or args.inward, outbound=both or args.outward)
        ways = "both ways" if both else "inbound" if args.inward else "outbound"
        faults.record("cut-network", args.host, ways=ways)
        print(f"{args.host}: management network cut ({ways})")
    if args.storage:
        _storage(args.host, "error", "cut-storage")
        print(f"{args.host}: every request to the shared storage fails")


def stall(args: argparse.Namespace) -> None:
    _storage(args.host, "stall", "stall-storage", under=args.under)
    print(f"{args.host}: requests to the shared storage hang")


def slow(args: argparse.Namespace) -> None:
    _storage(args.host, "slow", "slow-storage", ms=args.ms)
    print(f"{args.host}: each request to the shared storage takes {args.ms:g} ms longer")


def _storage(host: str, mode: str, kind: str, **detail: Any) -> None:
    storage.set_mode(host, mode, **detail)
    faults.record(kind, host, **detail)


def loss(args: argparse.Namespace) -> None:
    net.loss(args.host, args.percent)
    faults.record("loss", args.host, percent=args.percent)
    print(f"{args.host} loses {args.percent} % of its packets, each way")


def partition(args: argparse.Namespace) -> None:
    groups = [[hosts.check(h) for h in group.split(",") if h] for group in args.groups]
    if len(groups) < 2:
        raise LabError("a partition has two sides or more: partition h1,h2 h3,h4")
    net.partition(groups)
    for number, group in enumerate(groups):
        for host in group:
            faults.record("partition", host, side=number, groups=groups)
    print(f"apart: {' | '.join(', '.join(group) for group in groups)}")
    print(f"the controller and the gateway are with {', '.join(groups[0])}")


def gateway(args: argparse.Namespace) -> None:
    net.gateway(args.state == "up")
    faults.record("gateway", None, state=args.state)
    print(f"the gateway is {args.state}")


def heal(args: argparse.Namespace) -> None:
    if args.host is None:
        net.gateway(True)
    for host in layout.HOSTS if args.host is None else (hosts.check(args.host),):
        net.heal(host)
        if storage.mounted(host):
            storage.set_mode(host, "ok")
        faults.record("heal", host)
        if hosts.frozen(host):
            print(f"{host} is still frozen: thaw {host}")
        elif hosts.power_state(host) == "off":
            print(f"{host} is still off: revive {host}")
    print("network and storage are well")


def starve_host(args: argparse.Namespace) -> None:
    if args.percent >= 100:
        starve.feed(args.host)
        faults.record("feed", args.host)
        print(f"{args.host} gets all the CPU it wants")
        return
    starve.starve(args.host, args.percent)
    faults.record("starve", args.host, percent=args.percent)
    print(f"all processes of {args.host} together get {args.percent:g} % of one core")


def clock(args: argparse.Namespace) -> None:
    if not clocks.own(args.host):
        clocks.set_ahead(args.host, 0.0)
        hosts.restart_services(args.host, clocks.SERVICES)
    clocks.set_ahead(args.host, args.seconds)
    faults.record("clock", args.host, seconds=args.seconds)
    print(f"the clock of {args.host} is {args.seconds:+g} s off")


def agent(args: argparse.Namespace) -> None:
    name = hosts.process_name(args.host, "agent")
    found = process.find(name)
    if args.what == "start":
        if found is not None:
            os.kill(found.pid, signal.SIGCONT)
        elif not hosts.start_services(args.host, ["agent"]):
            raise LabError("vmha-agent is not installed")
    elif found is None:
        raise LabError(f"{name} does not run")
    elif args.what == "term":
        process.stop(name)
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGSTOP if args.what == "stop" else signal.SIGKILL)
    faults.record(f"agent-{args.what}", args.host)
    print(f"{name}: {args.what}")


def set_redfish(args: argparse.Namespace) -> None:
    redfish.set_mode(args.host, args.mode)
    faults.record("redfish-mode", args.host, mode=args.mode)
    print(f"the BMC of {args.host}: {args.mode}")


def wait(args: argparse.Namespace) -> None:
    evidence, took = waiting.wait(args.host, args.verdict, args.timeout)
    print(f"{args.host} is {args.verdict} after {took:.1f} s: {evidence}")


def check_invariants(args: argparse.Namespace) -> int:
    found = gather.violations()
    if args.json:
        print(json.dumps({"held": not found, "violations": found}, indent=1))
    elif found:
        print("\n".join(found))
    else:
        print("every invariant holds")
    return 1 if found else 0
