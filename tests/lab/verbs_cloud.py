# SPDX-License-Identifier: Apache-2.0
"""Verbs that bring the lab up and down and look after the controller's services."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.lab import cloud, layout, packages, process, services, tasks, teardown
from tests.lab.errors import LabError
from tests.lab.lock import exclusive
from tests.lab.progress import Progress
from tests.lab.services import base

_UP = """\
Bring the lab up: bridge, database, broker, Keystone, Placement, Glance, Neutron, Nova, Gnocchi,
Aodh, Ceilometer; then the hosts; then the remediator. What runs already is left alone, so
running it again repairs what is missing, and a broken-off 'up' goes on where it stopped.

The first time the databases' schemas are made (about 20 s); an empty copy of them is kept for
the next lab.

examples:
  python -m tests.lab up
  python -m tests.lab up --only cloud     the control plane, no hosts
"""
_DOWN = """\
Stop and remove everything: processes, mounts, namespaces, the bridge, control groups, files.
Works on half a lab too. Kept: .lab/cache (empty database schemas), unless --purge.

examples:
  python -m tests.lab down
  python -m tests.lab down --keep-logs    to read .lab/log afterwards
"""
_STATUS = """\
Ask every service of the controller whether it can be used, and say what runs on the hosts.
Exit status 1 if anything is not well.

examples:
  python -m tests.lab status
  python -m tests.lab status --json
"""
_SERVICE = """\
Stop or start one service: of the controller (see 'status' for the names) or of a host, written
HOST-SERVICE. 'stop' ends it as an administrator would; 'start' waits until it answers.

examples:
  python -m tests.lab service stop rabbitmq
  python -m tests.lab service start rabbitmq
  python -m tests.lab service stop h1-compute
"""
_PACKAGES = """\
List the Debian packages that the lab needs; --install gets those that are missing, and keeps
Debian from starting its own database, broker or cache beside the lab's.

examples:
  python -m tests.lab packages
  python -m tests.lab packages --install
"""


def add_verbs(subparsers: Any) -> None:
    """Add up, down, status, service and packages."""
    up = verb(subparsers, "up", "bring the lab up, or complete it", _UP, _up)
    up.add_argument("--only", choices=["cloud"], help="stop after the control plane")
    down = verb(subparsers, "down", "remove the lab and all it left", _DOWN, _down)
    down.add_argument("--keep-logs", action="store_true", help="leave .lab/log")
    down.add_argument("--purge", action="store_true", help="remove .lab/cache too")
    status = verb(subparsers, "status", "what runs, and whether it answers", _STATUS, _status)
    status.add_argument("--json", action="store_true", help="for programs")
    service = verb(subparsers, "service", "stop or start one service", _SERVICE, _service)
    service.add_argument("what", choices=["stop", "start"])
    service.add_argument("name", metavar="NAME", help="see 'status'")
    debian = verb(subparsers, "packages", "Debian packages it needs", _PACKAGES, _packages)
    debian.add_argument("--install", action="store_true", help="get what is missing (apt-get)")
    debian.set_defaults(needs_root=False)


def verb(
    subparsers: Any, name: str, summary: str, text: str, func: Any
) -> argparse.ArgumentParser:
    """Add one verb with help that keeps its line breaks; return its parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(func=func)
    return parser


def _up(args: argparse.Namespace) -> int:
    packages.check()
    todo = cloud.tasks() if args.only == "cloud" else cloud.tasks() + cloud.beyond()
    with exclusive("up"), Progress() as progress:
        tasks.run(todo, progress)
    what = "The control plane" if args.only == "cloud" else "The lab"
    print(f"{what} is up after {progress.elapsed():.0f} s.")
    print(
        f"  export OS_CLIENT_CONFIG_FILE={layout.ETC / 'clouds.yaml'} OS_CLOUD=lab-admin\n"
        "  openstack server list --all-projects"
    )
    return 0


def ensure_up() -> bool:
    """Bring the lab up; return whether it was not there before."""
    fresh = not any(p.alive() for p in process.recorded())
    packages.check()
    with Progress() as progress:
        tasks.run(cloud.tasks() + cloud.beyond(), progress)
    return fresh


def _down(args: argparse.Namespace) -> int:
    with exclusive("down"):
        teardown.down(print, keep_logs=args.keep_logs, purge=args.purge)
    return 0


def _status(args: argparse.Namespace) -> int:
    rows = [_look(service) for service in services.ALL]
    hosts = [_look_host(p) for p in process.recorded() if p.cgroup != base.CGROUP]
    rows += hosts
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        Console().print(_table(rows))
    return 0 if all(row["state"] == "well" for row in rows) else 1


def _look(service: base.Service) -> dict[str, object]:
    found = process.find(service.name)
    state = "down" if found is None else "well" if base.healthy(service) else "no answer"
    where = ", ".join(f"{layout.CONTROLLER}:{layout.PORTS[p]}" for p in service.ports)
    return {
        "name": service.name,
        "state": state,
        "pid": found.pid if found else None,
        "where": where,
    }


def _look_host(known: process.Process) -> dict[str, object]:
    alive = known.alive()
    return {
        "name": known.name,
        "state": "well" if alive else "down",
        "pid": known.pid if alive else None,
        "where": known.netns or known.cgroup,
    }


def _table(rows: list[dict[str, object]]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("service", "state", "pid", "where"):
        table.add_column(column)
    colour = {"well": "green", "down": "red", "no answer": "yellow"}
    for row in rows:
        state = str(row["state"])
        pid = str(row["pid"] or "")
        table.add_row(str(row["name"]), f"[{colour[state]}]{state}[/]", pid, str(row["where"]))
    return table


def _service(args: argparse.Namespace) -> int:
    if (service := services.lookup(args.name)) is not None:
        if args.what == "stop":
            base.stop(service)
            print(f"{args.name} is stopped")
        else:
            print(f"{args.name} {base.start(service)}")
        return 0
    host, _, part = args.name.partition("-")
    if host not in layout.HOSTS or not part:
        raise LabError(f"no service {args.name!r}; 'status' lists them all")
    from tests.lab import hosts

    if args.what == "stop":
        process.stop(args.name)
    else:
        hosts.start_services(host, [part])
    print(f"{args.name} is {'stopped' if args.what == 'stop' else 'started'}")
    return 0


def _packages(args: argparse.Namespace) -> int:
    if args.install:
        packages.install()
    absent = packages.missing()
    for name in packages.wanted():
        print(f"{name:24} {'MISSING' if name in absent else 'installed'}")
    return 1 if absent else 0
