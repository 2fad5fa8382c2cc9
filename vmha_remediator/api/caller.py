# SPDX-License-Identifier: Apache-2.0
"""Who calls: a token that keystonemiddleware has checked, or anybody on loopback."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from keystoneauth1 import exceptions as ks_exc
from keystonemiddleware import auth_token, opts
from oslo_config import cfg
from oslo_context.context import RequestContext

from vmha_remediator.api import login
from vmha_remediator.api.problem import Problem, Refused
from vmha_remediator.conf import cloud
from vmha_remediator.errors import ConfigError

GROUP = "keystone_authtoken"
#: What keystonemiddleware puts into the environment once it has checked a token.
STATUS = "HTTP_X_IDENTITY_STATUS"
CONFIRMED = "Confirmed"
PATH = "PATH_INFO"
#: What alarms call. With a signature they need no Keystone; by trust they bring a token instead.
WEBHOOKS = ("/v1/alarms/", "/v1/vms/")
#: Headers about which Keystone would be asked, as a WSGI environment has them.
CREDENTIALS = ("HTTP_X_AUTH_TOKEN", "HTTP_X_SERVICE_TOKEN", "HTTP_COOKIE")


def is_webhook(method: object, path: str) -> bool:
    """Tell whether a request is what an alarm sends."""
    return method == "POST" and path.startswith(WEBHOOKS)


@dataclass(frozen=True)
class Caller:
    """Who makes a request: a name for the records, and what policy looks at."""

    name: str
    credentials: Mapping[str, Any] = field(default_factory=dict)


Authenticate = Callable[[Mapping[str, Any]], Caller]


def make(app: Flask, conf: cfg.ConfigOpts) -> Authenticate:
    """Return how callers of `app` are known; raises `ConfigError` when it cannot be safe."""
    if conf.api.auth_strategy == "noauth":
        _demand_loopback(conf.api.host)
        return lambda environ: Caller("anybody on this machine", {"roles": ["admin"]})
    _check_tokens(app, conf)
    return _by_token(_authenticate_header(conf))


def _demand_loopback(host: str) -> None:
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local:
        raise ConfigError(
            f"[api] auth_strategy = noauth would let everybody who reaches {host} command hosts "
            "off; set host = 127.0.0.1, or auth_strategy = keystone"
        )


def _check_tokens(app: Flask, conf: cfg.ConfigOpts) -> None:
    """Put keystonemiddleware before `app`; signed webhooks must not wait for Keystone."""
    opts_of_group = [opt for group, found in opts.list_auth_token_opts() for opt in found]
    conf.register_opts(opts_of_group, group=GROUP)
    own = conf[GROUP]
    if own.auth_type is None and own.auth_section is None:
        conf.set_default("auth_section", cloud.GROUP, group=GROUP)
        for name, value in _of_cloud(conf).items():
            conf.set_default(name, value, group=GROUP)
    if own.www_authenticate_uri is None:
        conf.set_default("www_authenticate_uri", auth_url(conf), group=GROUP)
    plain = app.wsgi_app
    options = {"oslo_config_config": conf, "delay_auth_decision": True}
    try:
        checked = auth_token.AuthProtocol(plain, options)
    except (ks_exc.ClientException, cfg.Error) as exc:
        raise ConfigError(f"[{GROUP}]: {exc}; without that section [cloud] holds") from exc

    def choose(environ: dict[str, Any], start_response: Any) -> Any:
        path = str(environ.get(PATH))
        signed = "sig=" in str(environ.get("QUERY_STRING"))
        webhook = signed and is_webhook(environ.get("REQUEST_METHOD"), path)
        public = path == "/healthcheck"
        if webhook or public:
            environ.pop(STATUS, None)  # only keystonemiddleware may say so, and it is passed by
        login.token_of_cookie(environ)
        return (plain if webhook or public else checked)(environ, start_response)

    app.wsgi_app = choose  # type: ignore[method-assign]


def _of_cloud(conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Return how [cloud] reaches Keystone; keystonemiddleware takes only the login from there."""
    names = ("interface", "region_name", "cafile", "certfile", "keyfile", "insecure")
    ours = {name: conf.cloud[name] for name in names}
    # Without one a Keystone that hangs would keep the request, and its thread, for ever.
    return ours | {"http_connect_timeout": math.ceil(conf.cloud.timeout)}


def auth_url(conf: cfg.ConfigOpts) -> str | None:
    """Return [cloud]'s Keystone; None when its plugin has no such option."""
    from keystoneauth1 import loading

    if conf.cloud.auth_type is None:
        return None
    loading.load_auth_from_conf_options(conf, cloud.GROUP)  # registers the plugin's options
    found: str | None = getattr(conf.cloud, "auth_url", None)
    return found


def _authenticate_header(conf: cfg.ConfigOpts) -> str:
    return f'Keystone uri="{conf[GROUP].www_authenticate_uri or ""}"'


def _by_token(header: str) -> Authenticate:
    def authenticate(environ: Mapping[str, Any]) -> Caller:
        if environ.get(STATUS) != CONFIRMED:
            raise Refused(_not_known(environ, header))
        context = RequestContext.from_environ(environ)
        where = context.project_name or context.system_scope or context.domain_name or "no scope"
        who = environ.get("HTTP_X_USER_NAME") or context.user_id or "somebody"
        return Caller(f"{who} ({where})", context.to_policy_values())

    return authenticate


def _not_known(environ: Mapping[str, Any], header: str) -> Problem:
    given = bool(environ.get("HTTP_X_AUTH_TOKEN"))
    reason = "Keystone does not accept the token" if given else "the request has no token"
    return Problem(
        401,
        "not-authenticated",
        reason,
        "send a token from Keystone in the header X-Auth-Token",
        {"WWW-Authenticate": header},
    )
