# SPDX-License-Identifier: Apache-2.0
"""vmha-remediator: the webhook receiver and the engine in one process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from oslo_config import cfg
from oslo_log import log

from vmha_remediator.api.build import build
from vmha_remediator.api.ringer import Ringer
from vmha_remediator.api.server import ApiServer
from vmha_remediator.cmd import startup
from vmha_remediator.engine.loop import make_engine
from vmha_remediator.store import open_store

LOG = log.getLogger(__name__)

PROG = "vmha-remediator"
DESCRIPTION = """\
Look after failed hosts: hear alarms, judge the evidence again, power the host off and prove it,
then have Nova start its protected VMs elsewhere. When in doubt it holds, says why, and says
what a person can do.

Run it on every controller: one leads, the others take over when it is gone.
"""
EPILOG = """\
what it needs:
  [cloud]                 credentials of an account that may evacuate (admin)
  [api] host, port        where alarms are received (and [webhook] base_url)
  [webhook] key_file      the secret that signs the addresses
  [database] connection   'vmha-manage db upgrade' prepares it
  [fencing] hosts_file    how each host is powered off; 'vmha-manage fence test HOST' tries it

the way to the first start:
  vmha-manage db upgrade
  vmha-manage telemetry setup
  vmha-manage alarms sync
  vmha-remediator --config-file /etc/vmha/vmha.conf

what is going on?
  vmha-manage incident list

'vmha-api' and 'vmha-engine' are its two halves, for those who want them apart. SIGTERM lets
requests and the step under way end. Exit status: 0 asked to stop; 1 it could not go on, one
line on standard error says why.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve and look until told to stop."""
    return startup.run(startup.make_parser(PROG, DESCRIPTION, EPILOG), _serve, argv)


def _serve(conf: cfg.ConfigOpts) -> int:
    """Run the engine in this thread and the receiver beside it; one ends the other."""
    stop, doorbell, deaf = threading.Event(), threading.Event(), threading.Event()

    def receiver_ended() -> None:
        if not stop.is_set():
            deaf.set()
            LOG.error("The receiver has ended; stopping, so that both are started again")
        stop.set()
        doorbell.set()

    store = open_store(conf)
    ringer = Ringer(store.ring_all, doorbell)
    server = ApiServer(build(conf, store, ringer, doorbell), conf, ended=receiver_ended)
    engine = make_engine(conf, store)
    startup.stop_on_signals(stop, doorbell)
    startup.settle()
    server.start()
    try:
        engine.run(stop, doorbell)
    finally:
        stop.set()
        server.stop()
        ringer.finish()
        store.close()
    return startup.FAILED if deaf.is_set() else startup.DONE


if __name__ == "__main__":
    sys.exit(main())
