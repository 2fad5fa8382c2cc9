# SPDX-License-Identifier: Apache-2.0
"""Serving the API from threads of this process, with bounds, until told to stop."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from oslo_config import cfg
from oslo_log import log
from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer
from waitress.task import ErrorTask

from vmha_remediator.api import problem
from vmha_remediator.api.dispatch import Dispatcher
from vmha_remediator.errors import ConfigError

LOG = log.getLogger(__name__)

# waitress warns of every request that waits for a thread: in a storm that is one line a request,
# and costs more than the request. [DEFAULT] default_log_levels brings it back.
if logging.getLogger("waitress.queue").level == logging.NOTSET:
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)

#: Seconds that requests under way get to end when the server stops; they take milliseconds.
DRAIN = 5.0
#: Bytes of a body that waitress takes in before the application sees the request; above
#: [api] max_body, so that the usual refusal is the application's.
SPARE = 65536
#: Bytes of an answer that are gathered before they are sent.
ANSWER = 65536


class _JsonErrorTask(ErrorTask):  # type: ignore[misc]
    """Answers a request that is refused before it reaches the application, in our shape."""

    def execute(self) -> None:
        error = self.request.error
        code = str(error.reason).lower().replace(" ", "-")
        reason = str(error.body).strip() or str(error.reason)
        LOG.warning(
            "Refused a request from %s: %d %s: %s",
            self.channel.addr[0],
            error.code,
            code,
            problem.shown(reason),
        )
        answer = problem.body(code, reason, "send an HTTP request within the documented limits")
        data = json.dumps(answer).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(data)
        self.write(data)


class _Channel(HTTPChannel):  # type: ignore[misc]
    error_task_class = _JsonErrorTask


class ApiServer:
    """A waitress server in a thread of its own."""

    def __init__(
        self, app: Flask, conf: cfg.ConfigOpts, ended: Callable[[], None] = lambda: None
    ) -> None:
        """Bind the port, so that requests queue from now on; raises `ConfigError`.

        `ended` is called when the server is no more, however that came about.
        """
        self._ended = ended
        self._map: dict[int, Any] = {}
        self._dispatcher = Dispatcher(conf.api.threads)
        where = f"{conf.api.host}:{conf.api.port}"
        try:
            create_server(
                app,
                map=self._map,
                _dispatcher=self._dispatcher,
                host=conf.api.host,
                port=conf.api.port,
                connection_limit=conf.api.connection_limit,
                backlog=conf.api.connection_limit,
                channel_timeout=conf.api.connection_timeout,
                cleanup_interval=max(1, conf.api.connection_timeout // 2),
                max_request_body_size=conf.api.max_body + SPARE,
                max_request_header_size=16384,
                asyncore_use_poll=True,
                ident="vmha",
            )
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise ConfigError(
                f"[api] cannot listen on {where}: {reason}; stop whoever holds the port, or "
                "change host and port in [api] (and [webhook] base_url)"
            ) from exc
        # A name may have several addresses, and each is a server of its own in the map.
        self._servers = [s for s in self._map.values() if isinstance(s, BaseWSGIServer)]
        for server in self._servers:
            server.channel_class = _Channel
            # Head and body leave in one packet: the loop sends when an answer is complete.
            server.adj.send_bytes = ANSWER
            server.pull_trigger = self._wake_if_asleep
        self.port = int(self._servers[0].effective_port)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="api", daemon=True)

    @property
    def alive(self) -> bool:
        """Tell whether requests are being answered."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()
        for server in self._servers:
            LOG.info("Listening for alarms on %s:%s", server.effective_host, server.effective_port)

    def stop(self) -> None:
        """Take no new requests, let those under way end, and return."""
        if self._thread.is_alive() and not self._stopping.is_set():
            self._stopping.set()
            self._wake()
        self._thread.join(DRAIN + 5)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the server has ended, at most `timeout` seconds."""
        self._thread.join(timeout)

    def _serve(self) -> None:
        try:
            self._loop()
        except Exception:
            # The rim: whoever started the server is told that it is gone.
            LOG.exception("The receiver failed")
        finally:
            self._ended()

    def _loop(self) -> None:
        """Answer until told to stop; everything is closed here, in the loop's own thread."""
        while not self._stopping.is_set():
            self._once(1.0)
        for server in self._servers:
            wasyncore.dispatcher.close(server)
        end = time.monotonic() + DRAIN
        while self._busy() and time.monotonic() < end:
            self._once(0.05)
        self._dispatcher.shutdown()
        for server in self._servers:
            server.trigger.close()
        wasyncore.close_all(self._map, ignore_all=True)

    def _once(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, map=self._map, use_poll=True, count=1)
        self._dispatcher.answer_quick()

    def _wake(self) -> None:
        self._servers[0].trigger.pull_trigger()

    def _wake_if_asleep(self) -> None:
        """Make the loop look again; it need not be told what it does itself."""
        if threading.get_ident() != self._thread.ident:
            self._wake()

    def _busy(self) -> bool:
        return any(
            channel.requests or channel.total_outbufs_len
            for server in self._servers
            for channel in list(server.active_channels.values())
        )
