# SPDX-License-Identifier: Apache-2.0
"""Putting the application together with the store, the doorbell and the list of hosts."""

from __future__ import annotations

import threading
import time

from flask import Flask
from oslo_config import cfg
from oslo_log import log

from vmha_remediator.api.app import create_app
from vmha_remediator.api.backend import Backend
from vmha_remediator.api.known_hosts import KnownHosts
from vmha_remediator.api.ringer import Ringer
from vmha_remediator.conf import evacuation as evacuation_conf
from vmha_remediator.conf.rules import load_rules, thresholds
from vmha_remediator.effects.view import CloudView
from vmha_remediator.store import Store

LOG = log.getLogger(__name__)


def build(
    conf: cfg.ConfigOpts, store: Store, ringer: Ringer, doorbell: threading.Event | None = None
) -> Flask:
    """Return the application; raises `ConfigError` or `RuleError` when it cannot work.

    Whoever ends it in order has the `ringer` finish before the store is closed. With an engine in
    the same process, `doorbell` wakes it; elsewhere it finds the row.
    """
    view = _view(conf)
    if view is None:
        return create_app(conf, ringer)
    backend = Backend(
        store=store,
        view=view,
        clock=time.time,
        limits=lambda agents: thresholds(conf, agents),
        policy=evacuation_conf.policy(conf),
        doorbell=doorbell.set if doorbell is not None else lambda: None,
    )
    return create_app(conf, ringer, known_host=KnownHosts(view.hosts), backend=backend)


def _view(conf: cfg.ConfigOpts) -> CloudView | None:
    """Return the cloud as it is shown to people; None: there is no login to look with."""
    if conf.cloud.auth_type is None and conf.cloud.auth_section is None:
        LOG.warning(
            "[cloud] has no login, so only webhooks are served and not the REST API, and their "
            "signature alone decides: hosts are not looked up"
        )
        return None
    return CloudView(conf, load_rules(conf))
