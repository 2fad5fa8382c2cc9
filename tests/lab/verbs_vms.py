# SPDX-License-Identifier: Apache-2.0
"""Verbs about single VMs: their alarms, the death of one, a start that fails."""

from __future__ import annotations

import argparse
from typing import Any

from tests.lab import guests, hosts, layout, power, process
from tests.lab.errors import LabError
from tests.lab.services import vmha
from tests.lab.services.databases import run_tool
from tests.lab.verbs_cloud import verb

_ALARMS = """\
Have Ceilometer's compute agent poll the power state of the VMs on every host, and give each
protected VM its alarm, as 'vmha-manage alarms sync --vms' does. 'off' takes both away. Not on
from the start: it is one more process a host.

examples:
  python -m tests.lab vm-alarms on
  python -m tests.lab vm-alarms off
"""
_KILL = """\
Kill the process of one VM, as a crash of its hypervisor process would; nothing else is touched.

examples:
  python -m tests.lab kill-vm vm-3
"""
_SPOIL = """\
Let the next attempt of a nova-compute to spawn a VM fail, on whichever host that is: an
evacuation then fails half-way, at its destination. The attempt after that succeeds.

examples:
  python -m tests.lab spoil-vm vm-3 && python -m tests.lab kill h1
"""


def add_verbs(subparsers: Any) -> None:
    """Add vm-alarms, kill-vm and spoil-vm."""
    alarms = verb(subparsers, "vm-alarms", "alarms on single VMs", _ALARMS, _alarms)
    alarms.add_argument("what", choices=["on", "off"])
    kill = verb(subparsers, "kill-vm", "let one VM die", _KILL, _kill)
    kill.add_argument("name", metavar="VM", help="its name or its id")
    spoil = verb(subparsers, "spoil-vm", "let a VM's next spawn fail", _SPOIL, _spoil)
    spoil.add_argument("name", metavar="VM", help="its name or its id")


def alarms_on() -> str:
    """Poll and make alarms; return what the sync did."""
    if power.enable():
        config = layout.ETC / "ceilometer/notification.conf"
        run_tool(["ceilometer-upgrade", f"--config-file={config}", "--retry=3"])
    for host in layout.HOSTS:
        if hosts.power_state(host) == "on":
            hosts.start_services(host, [power.NAME])
    return _last_line(vmha.manage("alarms", "sync", "--vms"))


def alarms_off() -> str:
    """Take the alarms and the compute agents away; return what was deleted."""
    power.disable()
    for host in layout.HOSTS:
        process.stop(hosts.process_name(host, power.NAME))
    return _last_line(vmha.manage("alarms", "delete", "--vms"))


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def _alarms(args: argparse.Namespace) -> None:
    print(alarms_on() if args.what == "on" else alarms_off())


def _kill(args: argparse.Namespace) -> None:
    where = guests.kill(_vm(args.name))
    print(f"{args.name} was killed on {', '.join(where) or 'no host'}")


def _spoil(args: argparse.Namespace) -> None:
    guests.spoil(_vm(args.name))
    print(f"the next spawn of {args.name} fails")


def _vm(name: str) -> str:
    """Return the id of the VM of that name or id; raises `LabError`."""
    found = [g.vm for g in guests.guests() if name in (g.name, g.vm)]
    if len(found) != 1:
        raise LabError(f"{len(found)} VMs are called {name!r}; 'guests' lists them")
    return found[0]
