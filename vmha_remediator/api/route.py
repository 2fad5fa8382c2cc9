# SPDX-License-Identifier: Apache-2.0
"""A route as data: from one table come the paths, the checks and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vmha_remediator.api.backend import Backend
from vmha_remediator.api.caller import Caller

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One request that has been let in: its caller and its checked input."""

    backend: Backend
    caller: Caller
    path: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)


Handler = Callable[[Call], Mapping[str, Any]]


@dataclass(frozen=True)
class Route:
    """One operation; `policy` empty: anybody may call it.

    `query` and `body` are JSON schemas of objects; text from the query is turned into the type
    that its property names. `refusals` are the HTTP statuses beside 400, 401, 403 and 503.
    """

    method: str
    path: str  # in Flask's notation
    name: str
    policy: str
    summary: str
    handler: Handler
    answer: str  # name of the schema of a good answer
    query: Schema | None = None
    body: Schema | None = None
    status: int = 200
    refusals: tuple[int, ...] = ()
