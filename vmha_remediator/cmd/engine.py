# SPDX-License-Identifier: Apache-2.0
"""vmha-engine: the engine alone, beside receivers that run elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from oslo_config import cfg

from vmha_remediator.cmd import startup
from vmha_remediator.engine.loop import make_engine
from vmha_remediator.store import open_store

PROG = "vmha-engine"
DESCRIPTION = """\
Look after failed hosts: judge the evidence, power the host off and prove it, then have Nova start
its protected VMs elsewhere. When in doubt it holds, says why, and says what a person can do.

It hears no alarms itself: a vmha-api that uses the same database wakes it, and without one it
finds them by listing. Several may run; one leads. 'vmha-remediator' is this and the receiver in
one process, and enough for most clouds.
"""
EPILOG = """\
what it needs:
  [cloud]                    credentials of an account that may evacuate (admin)
  [database] connection      shared with vmha-api; 'vmha-manage db upgrade' prepares it
  [engine] coordination_url  where engines on several machines find their leader
  [fencing] hosts_file       how each host is powered off; 'vmha-manage fence test HOST' tries it

what is going on?
  vmha-manage incident list

SIGTERM lets the step under way end. Exit status: 0 asked to stop; 1 it could not go on, one line
on standard error says why.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Look until told to stop."""
    return startup.run(startup.make_parser(PROG, DESCRIPTION, EPILOG), _look, argv)


def _look(conf: cfg.ConfigOpts) -> int:
    stop, doorbell = threading.Event(), threading.Event()
    store = open_store(conf)
    engine = make_engine(conf, store)
    startup.stop_on_signals(stop, doorbell)
    try:
        engine.run(stop, doorbell)
    finally:
        store.close()
    return startup.DONE


if __name__ == "__main__":
    sys.exit(main())
