# SPDX-License-Identifier: Apache-2.0
"""Putting the application together with the store, the doorbell and the list of hosts."""

from __future__ import annotations

import threading
from collections.abc import Callable

from flask import Flask
from oslo_config import cfg
from oslo_log import log

from vmha_remediator.api.app import create_app
from vmha_remediator.api.known_hosts import KnownHosts
from vmha_remediator.api.ringer import Ringer
from vmha_remediator.effects.gnocchi import Gnocchi
from vmha_remediator.effects.session import make_session
from vmha_remediator.errors import ConfigError
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)


def build(conf: cfg.ConfigOpts, store: Store, doorbell: threading.Event | None = None) -> Flask:
    """Return the application; raises `ConfigError` or `RuleError` when it cannot work.

    With an engine in the same process, `doorbell` wakes it; elsewhere it finds the row.
    """
    return create_app(conf, Ringer(store.ring, doorbell), known_host=_known_host(conf))


def _known_host(conf: cfg.ConfigOpts) -> Callable[[str], bool]:
    try:
        gnocchi = Gnocchi(make_session(conf), conf)
    except ConfigError as exc:
        LOG.info("Hosts are not looked up (%s); the signature alone decides", exc)
        return lambda host: True
    return KnownHosts(gnocchi.hosts)
