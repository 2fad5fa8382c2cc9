# SPDX-License-Identifier: Apache-2.0
"""For any WSGI server: `vmha_remediator.api.wsgi:application`.

The configuration files are those in VMHA_CONFIG_FILES, separated by colons (default:
/etc/vmha/vmha.conf). Keep the server's access log from writing the query string: it holds the
signature of the address. Several workers count together for /metrics in the folder that
PROMETHEUS_MULTIPROC_DIR names. Import it in each worker, not before they are forked: connections
to the database must not be shared.
"""

from __future__ import annotations

import atexit
import os
import sys

from flask import Flask

from vmha_remediator import conf as config
from vmha_remediator.api.build import build
from vmha_remediator.api.ringer import Ringer
from vmha_remediator.cmd.startup import setup_log
from vmha_remediator.errors import VmhaError
from vmha_remediator.store import open_store

ENVIRONMENT = "VMHA_CONFIG_FILES"
DEFAULT = "/etc/vmha/vmha.conf"

#: What a worker ends with that will never come up; gunicorn's arbiter then gives up and does not
#: start it again and again (gunicorn.arbiter.Arbiter.WORKER_BOOT_ERROR).
CANNOT_START = 3


def make_application() -> Flask:
    """Return the application for the configuration that the environment names.

    Ends the process, with one line on standard error, for what an operator can put right.
    """
    files = os.environ.get(ENVIRONMENT, DEFAULT).split(os.pathsep)
    try:
        conf = config.load(prog="vmha-api", config_files=[file for file in files if file])
        setup_log(conf)
        store = open_store(conf)
        ringer = Ringer(store.ring_all)
        atexit.register(ringer.finish)
        return build(conf, store, ringer)
    except VmhaError as exc:
        print(f"vmha-api: {exc}", file=sys.stderr, flush=True)
        raise SystemExit(CANNOT_START) from None


application = make_application()
