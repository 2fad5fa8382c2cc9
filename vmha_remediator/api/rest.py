# SPDX-License-Identifier: Apache-2.0
"""Serving the routes: know the caller, ask the policy, check the input, answer in JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jsonschema
from flask import Flask, Response, jsonify, request
from oslo_policy import policy

from vmha_remediator.api.backend import Backend
from vmha_remediator.api.caller import Authenticate
from vmha_remediator.api.problem import Problem, Refused
from vmha_remediator.api.route import Call, Route, Schema
from vmha_remediator.errors import (
    IncidentChanged,
    IncidentError,
    NoSuchHost,
    NoSuchIncident,
    ServiceUnavailable,
    StoreUnavailable,
    VmhaError,
)

EMPTY: Schema = {"type": "object", "properties": {}, "additionalProperties": False}
INTEGER = re.compile(r"-?[0-9]{1,18}")
BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
MAX_TEXT = 200

#: The first class that fits says which status; the error's own text is fit for an operator.
REFUSALS: tuple[tuple[type[VmhaError], int, str, str], ...] = (
    (NoSuchIncident, 404, "no-such-incident", "list them: GET /v1/incidents"),
    (NoSuchHost, 404, "no-such-host", "list them: GET /v1/hosts"),
    (IncidentChanged, 409, "incident-changed", "read the incident again, then decide anew"),
    (IncidentError, 409, "not-possible-now", "read the incident: GET /v1/incidents/{id}"),
    (StoreUnavailable, 503, "store-unavailable", "look at [database] and at its server"),
    (ServiceUnavailable, 503, "service-unavailable", "try again; the log says what is away"),
    (VmhaError, 500, "failed", "the log of the API says more"),
)


def register(
    app: Flask,
    routes: Iterable[Route],
    backend: Backend,
    authenticate: Authenticate,
    enforcer: policy.Enforcer,
) -> None:
    """Add every route to `app`."""
    for route in routes:
        app.add_url_rule(
            route.path,
            endpoint=route.name,
            view_func=_view(route, backend, authenticate, enforcer),
            methods=[route.method],
            provide_automatic_options=False,
        )


def _view(
    route: Route, backend: Backend, authenticate: Authenticate, enforcer: policy.Enforcer
) -> Callable[..., Response]:
    query = jsonschema.Draft202012Validator(route.query or EMPTY)
    body = jsonschema.Draft202012Validator(route.body or EMPTY)

    def view(**path: Any) -> Response:
        caller = authenticate(request.environ)
        if not enforcer.enforce(route.policy, {}, dict(caller.credentials)):
            raise Refused(_forbidden(route.policy))
        call = Call(backend, caller, path, _query(query), _body(route, body))
        try:
            answer = jsonify(route.handler(call))
        except VmhaError as exc:
            raise Refused(problem_of(exc)) from exc
        answer.status_code = route.status
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return view


def problem_of(exc: VmhaError) -> Problem:
    """Return how an error is told to a caller."""
    for kind, status, code, way_out in REFUSALS:
        if isinstance(exc, kind):
            return Problem(status, code, str(exc), way_out)
    raise AssertionError("unreachable")


def _forbidden(rule: str) -> Problem:
    return Problem(
        403,
        "forbidden",
        f"the policy {rule} does not let you in",
        "ask for the role that it wants, or for a change of [oslo_policy] policy_file",
    )


def _query(validator: jsonschema.Draft202012Validator) -> Mapping[str, Any]:
    """Return the query with the schema's types; a name given twice is refused."""
    values: dict[str, Any] = {}
    for name, given in request.args.lists():
        if len(given) > 1:
            raise Refused(_wrong(f"{_short(name)} is given {len(given)} times"))
        kind = validator.schema["properties"].get(name, {}).get("type")
        values[name] = _typed(given[0], kind)
    _check(validator, values, "the query")
    return values


def _typed(text: str, kind: Any) -> Any:
    if kind == "integer" and INTEGER.fullmatch(text):
        return int(text)
    if kind == "boolean":
        return BOOLEANS.get(text.lower(), text)
    return text


def _body(route: Route, validator: jsonschema.Draft202012Validator) -> Mapping[str, Any]:
    """Return the body; none at all is an empty object."""
    raw = request.get_data()
    if not raw:
        values: Any = {}
    elif route.body is None:
        raise Refused(_wrong("this request takes no body"))
    else:
        values = request.get_json(force=True, silent=True)
        if values is None:
            raise Refused(_wrong("the body is no JSON"))
    _check(validator, values, "the body")
    assert isinstance(values, dict)
    return values


def _check(validator: jsonschema.Draft202012Validator, values: Any, what: str) -> None:
    error = jsonschema.exceptions.best_match(validator.iter_errors(values))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path)
        raise Refused(_wrong(f"{what}{': ' + where if where else ''}: {_short(error.message)}"))


def _wrong(reason: str) -> Problem:
    return Problem(400, "bad-input", reason, "see /v1/openapi.json for what is taken")


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."
