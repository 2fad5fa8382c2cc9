# SPDX-License-Identifier: Apache-2.0
"""Logging in for the status page: Keystone gives a token, which only the browser's cookie holds.

The cookie is HttpOnly and SameSite=Strict, and whatever changes something must also carry a
header that no foreign page can send, so another site cannot make a browser press a button here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

import jsonschema
from flask import Blueprint, Response, jsonify, request
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from oslo_config import cfg

from vmha_remediator.api.problem import Problem, Refused
from vmha_remediator.api.schemas import taken

COOKIE = "vmha_token"
#: Sent by the page with every request; a form or an image of another site cannot send it.
HEADER = "HTTP_X_VMHA_PAGE"
SAFE = frozenset({"GET", "HEAD"})

_WORD = {"type": "string", "minLength": 1, "maxLength": 255}
#: A password, or an application credential (id and secret).
BODY = {
    "oneOf": [
        taken(
            {"user": _WORD, "password": _WORD, "domain": _WORD, "project": _WORD},
            ("user", "password"),
        ),
        taken({"id": _WORD, "secret": _WORD}, ("id", "secret")),
    ]
}
WRONG = Problem(
    401, "login-refused", "Keystone does not accept this login", "check name, secret and project"
)
AWAY = Problem(
    503, "keystone-unavailable", "Keystone cannot be asked now", "try again in a moment"
)
INPUT = Problem(
    400,
    "bad-input",
    "this is no login that is taken",
    'send {"user", "password"} and perhaps "domain" and "project", or {"id", "secret"} of an '
    "application credential, as JSON and with the header X-Vmha-Page",
)

#: Returns a token and the name of whom it belongs to; raises keystoneauth's errors.
Ask = Callable[[Mapping[str, str]], tuple[str, str]]


def asking(conf: cfg.ConfigOpts, auth_url: str) -> Ask:
    """Return the way to ask Keystone, within [cloud] timeout and with its CA."""

    def ask(given: Mapping[str, str]) -> tuple[str, str]:
        if "id" in given:
            auth: Any = v3.ApplicationCredential(
                auth_url,
                application_credential_id=given["id"],
                application_credential_secret=given["secret"],
            )
        else:
            domain = given.get("domain", "Default")
            scope = (
                {"project_name": given["project"], "project_domain_name": domain}
                if "project" in given
                else {"system_scope": "all"}
            )
            auth = v3.Password(
                auth_url,
                username=given["user"],
                password=given["password"],
                user_domain_name=domain,
                **scope,
            )
        verify = conf.cloud.cafile or not conf.cloud.insecure
        session = Session(auth=auth, timeout=conf.cloud.timeout, verify=verify)
        return session.get_token(), auth.get_access(session).username

    return ask


def blueprint(ask: Ask | None) -> Blueprint:
    """Return POST and DELETE /v1/login; `ask` None: nobody has to log in."""
    routes = Blueprint("login", __name__)
    routes.add_url_rule("/v1/login", view_func=_state(ask), methods=["GET"], endpoint="state")
    if ask is not None:
        routes.add_url_rule("/v1/login", view_func=_enter(ask), methods=["POST"], endpoint="in")
        routes.add_url_rule("/v1/login", view_func=_leave, methods=["DELETE"], endpoint="out")
    return routes


def _state(ask: Ask | None) -> Callable[[], Response]:
    return lambda: jsonify(needed=ask is not None)


def _enter(ask: Ask) -> Callable[[], Response]:
    validator = jsonschema.Draft202012Validator(BODY)

    def enter() -> Response:
        if request.environ.get(HEADER) is None:
            raise Refused(INPUT)
        given = request.get_json(force=True, silent=True)
        if not isinstance(given, dict) or not validator.is_valid(given):
            raise Refused(INPUT)
        try:
            token, name = ask(given)
        except (ks_exc.Unauthorized, ks_exc.NotFound, ks_exc.Forbidden) as exc:
            raise Refused(WRONG) from exc
        except ks_exc.ClientException as exc:
            raise Refused(AWAY) from exc
        answer = jsonify(user=name)
        answer.set_cookie(
            COOKIE, token, httponly=True, samesite="Strict", secure=request.is_secure, path="/"
        )
        return answer

    return enter


def _leave() -> Response:
    answer = jsonify(user=None)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
    return answer


def token_of_cookie(environ: dict[str, Any]) -> None:
    """Put the cookie's token where keystonemiddleware looks, if this request may use it."""
    if "HTTP_X_AUTH_TOKEN" in environ or "HTTP_COOKIE" not in environ:
        return
    if environ.get("REQUEST_METHOD") not in SAFE and HEADER not in environ:
        return
    try:
        cookie = SimpleCookie(environ["HTTP_COOKIE"]).get(COOKIE)
    except CookieError:
        return
    if cookie is not None and cookie.value:
        environ["HTTP_X_AUTH_TOKEN"] = cookie.value
