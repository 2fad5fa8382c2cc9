# SPDX-License-Identifier: Apache-2.0
"""vmha-api: the webhook receiver alone, beside engines that run elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from oslo_config import cfg

from vmha_remediator.api.build import build
from vmha_remediator.api.ringer import Ringer
from vmha_remediator.api.server import ApiServer
from vmha_remediator.cmd import startup
from vmha_remediator.store import open_store

PROG = "vmha-api"
DESCRIPTION = """\
Receive the webhooks of alarms: check the signature, write one row, answer at once. It decides
nothing and powers nothing off; a vmha-engine that uses the same database does the rest.

Run it on every controller, behind a load balancer or not. 'vmha-remediator' is this and the
engine in one process, and enough for most clouds.
"""
EPILOG = """\
what it needs:
  [api] host, port        where to listen (and [webhook] base_url: how Aodh gets there)
  [webhook] key_file      the secret that signs the addresses; the same on every controller
  [database] connection   shared with the engine; 'vmha-manage db upgrade' prepares it

under another WSGI server:
  VMHA_CONFIG_FILES=/etc/vmha/vmha.conf gunicorn vmha_remediator.api.wsgi:application

is it there?
  curl http://ADDRESS:8778/healthcheck

SIGTERM lets requests under way end. Exit status: 0 asked to stop; 1 it could not go on, one
line on standard error says why.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop."""
    return startup.run(startup.make_parser(PROG, DESCRIPTION, EPILOG), _serve, argv)


def _serve(conf: cfg.ConfigOpts) -> int:
    stop = threading.Event()
    store = open_store(conf)
    ringer = Ringer(store.ring_all)
    server = ApiServer(build(conf, store, ringer), conf, ended=stop.set)
    startup.stop_on_signals(stop)
    startup.settle()
    server.start()
    while not stop.wait(1.0):  # a signal is only handled between two waits
        pass
    failed = not server.alive
    server.stop()
    ringer.finish()
    store.close()
    return startup.FAILED if failed else startup.DONE


if __name__ == "__main__":
    sys.exit(main())
