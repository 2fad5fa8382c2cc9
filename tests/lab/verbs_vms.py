# SPDX-License-Identifier: Apache-2.0
"""Verbs about single VMs: their alarms, and the death of one."""

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


def add_verbs(subparsers: Any) -> None:
    """Add vm-alarms and kill-vm."""
    alarms = verb(subparsers, "vm-alarms", "alarms on single VMs", _ALARMS, _alarms)
    alarms.add_argument("what", choices=["on", "off"])
    kill = verb(subparsers, "kill-vm", "let one VM die", _KILL, _kill)
    kill.add_argument("name", metavar="VM", help="its name or its id")


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
    found = [g.vm for g in guests.guests() if args.name in (g.name, g.vm)]
    if len(found) != 1:
        raise LabError(f"{len(found)} VMs are called {args.name!r}; 'guests' lists them")
    print(f"{args.name} was killed on {', '.join(guests.kill(found[0])) or 'no host'}")
