# SPDX-License-Identifier: Apache-2.0
"""The WSGI application: a doorbell for alarms and a sign of life."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from flask import Flask, Response, jsonify
from oslo_config import cfg
from oslo_middleware import RequestId

from vmha_remediator import version, web
from vmha_remediator.api import caller, login, metrics, openapi, policies, problem, rest
from vmha_remediator.api.backend import Backend
from vmha_remediator.api.counts import Counts
from vmha_remediator.api.door import Door
from vmha_remediator.api.routes import ROUTES
from vmha_remediator.api.webhook import Receiver
from vmha_remediator.conf.rules import load_rules
from vmha_remediator.conf.webhook import read_key

VERSIONS = {"versions": [{"id": "v1", "status": "CURRENT", "href": "/v1/openapi.json"}]}


def create_app(
    conf: cfg.ConfigOpts,
    ring: Callable[[str, str], None],
    *,
    known_host: Callable[[str], bool] = lambda host: True,
    rules: Collection[str] | None = None,
    backend: Backend | None = None,
) -> Flask:
    """Return the application; `ring(rule, host)` is called for every webhook that is genuine.

    `ring` must be quick and raise a `VmhaError` when it could not store the call. Without
    `rules` the names of the rule files are taken; without a `backend` only webhooks are
    received. Raises `ConfigError` for a key file or a folder that
    cannot be used and `RuleError` for rules that cannot be trusted.
    """
    app = Flask("vmha", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = conf.api.max_body
    receiver = Receiver(
        keys=_keys(conf),
        rules=frozenset(rules if rules is not None else (t.name for t in load_rules(conf))),
        known_host=known_host,
        ring=ring,
        tokens=backend is not None and conf.api.auth_strategy == "keystone",
    )
    app.register_blueprint(receiver.blueprint())
    app.add_url_rule(
        "/healthcheck", view_func=_healthcheck, methods=["GET"], provide_automatic_options=False
    )
    problem.register(app)
    counts = Counts()
    if backend is not None:
        _serve_people(app, conf, backend, counts)
    app.wsgi_app = Door(  # type: ignore[method-assign]
        app.wsgi_app, receiver, conf.api.max_body, metrics.webhook_counter(counts)
    )
    return app


def _serve_people(app: Flask, conf: cfg.ConfigOpts, backend: Backend, counts: Counts) -> None:
    """Add the REST API and what describes it."""
    rest.register(app, ROUTES, backend, caller.make(app, conf), policies.make_enforcer(conf))
    document = openapi.document(
        ROUTES, version.installed(), tokens=conf.api.auth_strategy == "keystone"
    )
    for path, name, answer in (
        ("/", "versions", VERSIONS),
        ("/v1", "version", VERSIONS),
        ("/v1/openapi.json", "openapi", document),
    ):
        app.add_url_rule(
            path,
            endpoint=name,
            view_func=_constant(answer),
            methods=["GET"],
            provide_automatic_options=False,
        )
    app.register_blueprint(login.blueprint(_keystone(conf)))
    app.register_blueprint(web.blueprint())
    app.register_blueprint(metrics.blueprint(conf, backend, counts))
    app.wsgi_app = RequestId(app.wsgi_app)  # type: ignore[method-assign]


def _keystone(conf: cfg.ConfigOpts) -> login.Ask | None:
    """Return the way to log in with Keystone; None: nobody has to, or [cloud] names none."""
    url = caller.auth_url(conf) if conf.api.auth_strategy == "keystone" else None
    return login.asking(conf, url) if url else None


def _constant(answer: Mapping[str, Any]) -> Callable[[], Response]:
    return lambda: jsonify(answer)


def _keys(conf: cfg.ConfigOpts) -> tuple[bytes, ...]:
    paths = (conf.webhook.key_file, conf.webhook.previous_key_file)
    return tuple(read_key(path) for path in paths if path)


def _healthcheck() -> Response:
    """Say that requests are answered; what the engine does is told elsewhere."""
    return jsonify(status="ok")
