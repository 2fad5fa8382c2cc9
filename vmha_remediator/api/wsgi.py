# SPDX-License-Identifier: Apache-2.0
"""For any WSGI server: `vmha_remediator.api.wsgi:application`.

The configuration files are those in VMHA_CONFIG_FILES, separated by colons (default:
/etc/vmha/vmha.conf). Keep the server's access log from writing the query string: it holds the
signature of the address.
"""

from __future__ import annotations

import os

from flask import Flask

from vmha_remediator import conf as config
from vmha_remediator.api.build import build
from vmha_remediator.cmd.startup import setup_log
from vmha_remediator.store import open_store

ENVIRONMENT = "VMHA_CONFIG_FILES"
DEFAULT = "/etc/vmha/vmha.conf"


def make_application() -> Flask:
    """Return the application for the configuration that the environment names."""
    files = os.environ.get(ENVIRONMENT, DEFAULT).split(os.pathsep)
    conf = config.load(prog="vmha-api", config_files=[file for file in files if file])
    setup_log(conf)
    return build(conf, open_store(conf))


application = make_application()
