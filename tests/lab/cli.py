# SPDX-License-Identifier: Apache-2.0
"""The command line of the lab, put together from modules that each add some verbs.

A module listed in VERBS defines `add_verbs(subparsers)`. A verb sets `func(args) -> int | None`
as its default, and `needs_root=False` if it only looks.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from tests.lab.errors import LabError
from tests.lab.services.cloudapi import FAILURES

VERBS = (
    "tests.lab.verbs_cloud",
    "tests.lab.verbs_hosts",
    "tests.lab.verbs_show",
    "tests.lab.verbs_vms",
    "tests.lab.verbs_soak",
)

DESCRIPTION = """\
A real OpenStack cloud on this machine, to try host failures on.

Keystone, Placement, Glance, Neutron, Nova, Gnocchi, Aodh and Ceilometer run as themselves;
each compute "host" is a network namespace and a control group with a nova-compute, a
ceilometer-polling and a vmha-agent. Everything the lab has is in one folder, .lab in the
checkout (VMHA_LAB_DIR moves it), and on one bridge; 'down' leaves nothing behind.
"""

EPILOG = """\
a first round:
  python -m tests.lab packages --install   Debian packages (database, broker, ...)
  python -m tests.lab up                   the cloud, its hosts and the remediator
  python -m tests.lab status               what runs, and whether it answers
  python -m tests.lab down                 stop and remove everything

Every verb explains itself: python -m tests.lab VERB --help
"""


def parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    top = argparse.ArgumentParser(
        prog="python -m tests.lab",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name in VERBS:
        if find_spec(name) is not None:
            importlib.import_module(name).add_verbs(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return its exit status (1 with one line on stderr when it cannot)."""
    args = parser().parse_args(argv)
    try:
        if getattr(args, "needs_root", True) and os.geteuid() != 0:
            raise LabError(
                "the lab makes network namespaces, control groups and mounts: run it as root "
                "(sudo .venv/bin/python -m tests.lab ...)"
            )
        return int(args.func(args) or 0)
    except (LabError, *FAILURES) as exc:
        print(f"lab: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; 'up' goes on where it stopped, 'down' cleans", file=sys.stderr)
        return 130
    except BrokenPipeError:  # ... | head
        sys.stderr.close()
        return 0
