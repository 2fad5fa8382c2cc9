# SPDX-License-Identifier: Apache-2.0
"""A small HTTP server that answers what a test tells it, and remembers what was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """One request as it came in."""

    method: str
    path: str
    body: Any
    version: str | None = None  # the microversion asked for


@dataclass
class Server:
    """Answers by (method, path without its query); `decide` looks at the request first."""

    url: str = ""
    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    decide: dict[tuple[str, str], Callable[[Request], tuple[int, Any]]] = field(
        default_factory=dict
    )
    requests: list[Request] = field(default_factory=list)
    hang: threading.Event | None = None  # set it, and no answer comes before the event

    def say(self, method: str, path: str, status: int, body: Any) -> None:
        self.answers[method, path] = (status, body)


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server on a free port of the loopback for the length of a test."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            server.requests.append(
                Request(
                    self.command,
                    self.path,
                    json.loads(raw) if raw else None,
                    self.headers.get("OpenStack-API-Version"),
                )
            )
            if server.hang is not None:
                server.hang.wait()
            key = (self.command, path)
            if key in server.decide:
                status, body = server.decide[key](server.requests[-1])
            else:
                status, body = server.answers.get(key, (404, {"description": path}))
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            kind = "text/html" if isinstance(body, bytes) else "application/json"
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                return  # the client has gone, as it should when nothing came in time

        do_GET = do_POST = do_PUT = do_DELETE = _answer

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        if server.hang is not None:
            server.hang.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join()
