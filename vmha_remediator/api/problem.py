# SPDX-License-Identifier: Apache-2.0
"""Refusals: one shape for every client, one log line for the operator."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from flask import Flask, Response, jsonify, request
from oslo_log import log
from werkzeug.exceptions import HTTPException

LOG = log.getLogger(__name__)

#: Longest part of a path that a log line repeats: a stranger chooses it.
MAX_LOGGED = 200


@dataclass(frozen=True)
class Problem:
    """An HTTP answer that refuses: `{"error": {"code", "reason", "way_out"}}`."""

    status: int
    code: str
    reason: str
    way_out: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """Return the answer."""
        answer = jsonify(body(self.code, self.reason, self.way_out))
        answer.status_code = self.status
        answer.headers.update(self.headers)
        return answer


class Refused(Exception):
    """Ends a request with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def body(code: str, reason: str, way_out: str) -> dict[str, dict[str, str]]:
    """Return the shape of every refusal."""
    return {"error": {"code": code, "reason": reason, "way_out": way_out}}


#: What the framework refuses by itself.
_STANDARD = {
    404: (
        "not-found",
        "nothing is here",
        "GET /v1/openapi.json lists what is; alarms POST to /v1/alarms/{rule}/{host}?sig=...",
    ),
    405: ("method-not-allowed", "this path takes another method", "see the Allow header"),
    413: ("body-too-large", "the body is longer than [api] max_body", "send a shorter one"),
}
_OTHER = ("refused", "the request cannot be understood", "see /v1/openapi.json")
INTERNAL = Problem(
    500,
    "internal",
    "the receiver failed; its log says how",
    "look whether it was done before you send it again, and report it",
)


def shown(path: str) -> str:
    """Return a path fit for a log line: escaped, short, without the query and its signature."""
    safe = quote(path, safe="/-._~:@+ ")
    return safe if len(safe) <= MAX_LOGGED else safe[:MAX_LOGGED] + "..."


class Quota:
    """Lets so many log lines of a kind pass in a while, and counts the others.

    A flood of forged webhooks would else fill the disk, and cost more than refusing them.
    """

    def __init__(
        self,
        lines: int = 20,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lines, self._seconds, self._clock = lines, seconds, clock
        self._lock = threading.Lock()
        self._kinds: dict[str, tuple[float, int]] = {}  # kind -> (begun, seen)

    def passes(self, kind: str) -> int | None:
        """Return how many lines of this kind were left out before, or None to leave this out."""
        now = self._clock()
        with self._lock:
            begun, seen = self._kinds.get(kind, (now, 0))
            left_out = 0
            if now - begun >= self._seconds:
                left_out, begun, seen = max(0, seen - self._lines), now, 0
            self._kinds[kind] = (begun, seen + 1)
            return left_out if seen < self._lines else None


_QUOTA = Quota()


def note(problem: Problem, method: str, path: str, address: str | None) -> None:
    """Write the one log line of a refused request; in a flood, of some of them."""
    left_out = _QUOTA.passes(problem.code)
    if left_out is None:
        return
    if left_out:
        LOG.warning("Refused %d more requests: %s; not each is logged", left_out, problem.code)
    LOG.warning(
        "Refused %s %s from %s: %d %s: %s",
        shown(method),
        shown(path),
        address,
        problem.status,
        problem.code,
        problem.reason,
    )


def _note(problem: Problem) -> None:
    note(problem, request.method, request.path, request.remote_addr)


def register(app: Flask) -> None:
    """Give every refusal of `app` the one shape and the one line."""

    @app.errorhandler(Refused)
    def refuse(refused: Refused) -> Response:
        _note(refused.problem)
        return refused.problem.response()

    @app.errorhandler(HTTPException)
    def refuse_by_framework(exc: HTTPException) -> Response:
        status = exc.code or 500
        if status < 400:
            return Response(status=status, headers=exc.get_headers())
        headers = {key: value for key, value in exc.get_headers() if key == "Allow"}
        problem = Problem(status, *_STANDARD.get(status, _OTHER), headers=headers)
        _note(problem)
        return problem.response()

    @app.errorhandler(Exception)
    def fail(exc: Exception) -> Response:
        LOG.exception("Failed %s %s", shown(request.method), shown(request.path))
        return INTERNAL.response()
