# SPDX-License-Identifier: Apache-2.0
"""The WSGI application: a doorbell for alarms and a sign of life."""

from __future__ import annotations

from collections.abc import Callable, Collection

from flask import Flask, Response, jsonify
from oslo_config import cfg

from vmha_remediator.api import problem
from vmha_remediator.api.webhook import Receiver
from vmha_remediator.conf.rules import load_rules
from vmha_remediator.conf.webhook import read_key


def create_app(
    conf: cfg.ConfigOpts,
    ring: Callable[[str, str], None],
    *,
    known_host: Callable[[str], bool] = lambda host: True,
    rules: Collection[str] | None = None,
) -> Flask:
    """Return the application; `ring(rule, host)` is called for every webhook that is genuine.

    `ring` must be quick and raise a `VmhaError` when it could not store the call. Without
    `rules` the names of the rule files are taken. Raises `ConfigError` for a key file that
    cannot be used and `RuleError` for rules that cannot be trusted.
    """
    app = Flask("vmha", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = conf.api.max_body
    receiver = Receiver(
        keys=_keys(conf),
        rules=frozenset(rules if rules is not None else (t.name for t in load_rules(conf))),
        known_host=known_host,
        ring=ring,
    )
    app.register_blueprint(receiver.blueprint())
    app.add_url_rule(
        "/healthcheck", view_func=_healthcheck, methods=["GET"], provide_automatic_options=False
    )
    problem.register(app)
    return app


def _keys(conf: cfg.ConfigOpts) -> tuple[bytes, ...]:
    paths = (conf.webhook.key_file, conf.webhook.previous_key_file)
    return tuple(read_key(path) for path in paths if path)


def _healthcheck() -> Response:
    """Say that requests are answered; what the engine does is told elsewhere."""
    return jsonify(status="ok")
