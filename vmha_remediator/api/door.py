# SPDX-License-Identifier: Apache-2.0
"""The short way in: ordinary webhooks are answered before the framework and Keystone are asked.

A storm of alarms is hundreds of equal requests a second, and forged ones cost a stranger nothing.
Whatever is unusual about a request takes the long way, where the same `Receiver` answers it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable
from typing import Any

from oslo_log import log

from vmha_remediator.api import problem
from vmha_remediator.api.caller import CREDENTIALS, is_webhook
from vmha_remediator.api.problem import Problem, Refused
from vmha_remediator.api.webhook import Call, Receiver

LOG = log.getLogger(__name__)

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

#: The query as `alarms sync` makes it.
SIGNED = re.compile(r"sig=([0-9a-f]{64})")
REASONS = {
    202: "202 ACCEPTED",
    400: "400 BAD REQUEST",
    401: "401 UNAUTHORIZED",
    403: "403 FORBIDDEN",
    404: "404 NOT FOUND",
    500: "500 INTERNAL SERVER ERROR",
    503: "503 SERVICE UNAVAILABLE",
}


def is_quick(method: str, path: str, query: str, headers: Container[str]) -> bool:
    """Tell whether a request is a webhook that waits for nobody, on the short way or the long.

    `headers` has names as in a WSGI environment.
    """
    if not is_webhook(method, path):
        return False
    return "sig=" in query or not any(name in headers for name in CREDENTIALS)


class Door:
    """A WSGI application before another one."""

    def __init__(
        self, inside: Wsgi, receiver: Receiver, max_body: int, count: Callable[[int], None]
    ) -> None:
        """`count` is told the status of every answer to a webhook, on the long way, too."""
        self._inside = inside
        self._receiver = receiver
        self._max_body = max_body
        self._count = count

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a webhook, or let the request go on."""
        path: str = environ.get("PATH_INFO", "")
        if not is_webhook(environ.get("REQUEST_METHOD"), path):
            return self._inside(environ, start_response)
        names, call = path.split("/")[2:], self._call(environ)
        if call is None or not path.isascii() or not all(names):
            return self._inside(environ, self._counted(start_response))
        try:
            match names:
                case ["alarms", rule, host]:
                    return self._say(start_response, 202, self._receiver.receive(rule, host, call))
                case ["vms", server]:
                    return self._say(start_response, 202, self._receiver.receive_vm(server, call))
        except Refused as refused:
            problem.note(refused.problem, "POST", path, environ.get("REMOTE_ADDR"))
            return self._refuse(start_response, refused.problem)
        except Exception:
            # The rim: whatever a webhook brings, the next one is to be answered.
            LOG.exception("Failed POST %s", problem.shown(path))
            return self._refuse(start_response, problem.INTERNAL)
        return self._inside(environ, self._counted(start_response))

    def _call(self, environ: dict[str, Any]) -> Call | None:
        """Return what a webhook of the ordinary shape brings; None: it has another one."""
        length = environ.get("CONTENT_LENGTH") or ""
        if not length.isdecimal() or int(length) > self._max_body:
            return None
        query = environ.get("QUERY_STRING", "")
        signed = SIGNED.fullmatch(query)
        if signed is None and (query or any(name in environ for name in CREDENTIALS)):
            return None
        signature = signed.group(1) if signed else None
        return Call(signature, False, lambda: environ["wsgi.input"].read(int(length)))

    def _refuse(self, start_response: Any, refusal: Problem) -> Iterable[bytes]:
        return self._say(
            start_response,
            refusal.status,
            problem.body(refusal.code, refusal.reason, refusal.way_out),
            list(refusal.headers.items()),
        )

    def _say(
        self,
        start_response: Any,
        status: int,
        answer: Any,
        headers: Iterable[tuple[str, str]] = (),
    ) -> Iterable[bytes]:
        data = json.dumps(answer).encode() + b"\n"
        self._count(status)
        start_response(
            REASONS[status],
            [("Content-Type", "application/json"), ("Content-Length", str(len(data))), *headers],
        )
        return [data]

    def _counted(self, start_response: Any) -> Any:
        def start(status: str, headers: Any, exc_info: Any = None) -> Any:
            self._count(int(status.split(" ", 1)[0]))
            return start_response(status, headers, exc_info)

        return start
