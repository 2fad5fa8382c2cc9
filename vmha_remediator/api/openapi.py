# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document, made from the table of routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from vmha_remediator.api.route import Route
from vmha_remediator.api.schemas import ANSWERS, Schema, ref

PARAMETER = re.compile(r"<(?:(?P<kind>\w+)(?:\([^)]*\))?:)?(?P<name>\w+)>")
#: Largest id that every supported database takes.
MAX_ID = 2**31 - 1
KINDS: Mapping[str, Schema] = {
    "int": {"type": "integer", "minimum": 1, "maximum": MAX_ID},
    "": {"type": "string", "minLength": 1, "maxLength": 255},
}
REASONS = {
    400: "The input is not as described here.",
    401: "There is no token, or Keystone does not accept it.",
    403: "The policy does not let the caller do this.",
    404: "There is no such thing.",
    409: "Not possible as things are; the reason says why, way_out what to do.",
    503: "The database or a service is away.",
}


def document(routes: Iterable[Route], version: str, *, tokens: bool = True) -> dict[str, Any]:
    """Return the document (OpenAPI 3.1) of all `routes`; `tokens`: callers need one."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        where = PARAMETER.sub(r"{\g<name>}", route.path)
        paths.setdefault(where, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "VM high availability",
            "version": version,
            "description": "Hosts, incidents and what protects which VM. Every refusal has the "
            "shape of Error: a code for programs, a reason and a way out for people.",
        },
        "security": [{"token": []}] if tokens else [],
        "paths": paths,
        "components": {
            "schemas": ANSWERS,
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "x-policy": route.policy,
        "parameters": [*_in_path(route.path), *_in_query(route.query)],
        "responses": {
            str(route.status): _response("As asked.", ref(route.answer)),
            **{
                str(status): _response(REASONS[status], ref("Error"))
                for status in (400, 401, 403, *route.refusals, 503)
            },
        },
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": bool(route.body.get("required")),
            "content": {"application/json": {"schema": route.body}},
        }
    return operation


def _response(text: str, schema: Schema) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _in_path(path: str) -> list[dict[str, Any]]:
    return [
        {"name": m["name"], "in": "path", "required": True, "schema": KINDS[m["kind"] or ""]}
        for m in PARAMETER.finditer(path)
    ]


def _in_query(schema: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    properties = (schema or {}).get("properties", {})
    return [{"name": name, "in": "query", "schema": part} for name, part in properties.items()]
