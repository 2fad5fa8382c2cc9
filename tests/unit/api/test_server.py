# SPDX-License-Identifier: Apache-2.0
"""The real server on a real port: bounds, storms, and a clean end."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from oslo_config import cfg

from tests.unit.api.conftest import Bell, path
from vmha_remediator.api.app import create_app
from vmha_remediator.api.server import ApiServer
from vmha_remediator.errors import ConfigError

BODY = b'{"current": "alarm"}'
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def server(conf: cfg.ConfigOpts, bell: Bell) -> Iterator[ApiServer]:
    running = ApiServer(create_app(conf, bell.ring), conf)
    running.start()
    yield running
    running.stop()
    assert not running.alive


def post(port: int, url: str, body: bytes = BODY) -> tuple[int, dict[str, dict[str, str]]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", url, body=body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


def test_a_storm_of_genuine_and_forged_alarms_is_answered_right(
    server: ApiServer, bell: Bell
) -> None:
    hosts = [f"h{n}" for n in range(1, 6)]
    requests = []
    for n in range(100):
        host = hosts[n % 5]
        requests += [
            (202, path("failure", host), BODY),
            (403, path("failure", host, key=b"a forger's secret"), BODY),
            (401, f"/v1/alarms/failure/{host}", BODY),
            (400, path("failure", host), b"{"),
            (404, path("no-rule", host), BODY),
        ]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda r: post(server.port, r[1], r[2])[0], requests))

    assert answers == [expected for expected, _, _ in requests]
    assert Counter(bell.rung) == {("failure", host): 20 for host in hosts}


def test_a_body_beyond_every_limit_is_refused_in_the_same_shape(
    server: ApiServer, bell: Bell
) -> None:
    head = f"POST {path('failure', 'h1')} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"

    answer = raw(server.port, head.encode())

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]) == {
        "code",
        "reason",
        "way_out",
    }
    assert bell.rung == []


def test_what_is_no_http_is_refused_in_the_same_shape(
    server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    answer = raw(server.port, b"POST /v1/alarms HTTP/1.1\r\nno header at all\r\n\r\n")

    assert answer.startswith(b"HTTP/1.0 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["way_out"]
    assert len([r for r in caplog.records if r.name.startswith("vmha_remediator")]) == 1


def test_a_taken_port_is_named_with_the_way_out(server: ApiServer, conf: cfg.ConfigOpts) -> None:
    conf.set_override("port", server.port, group="api")

    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{server.port}: Address already in use"):
        ApiServer(create_app(conf, lambda rule, host: None), conf)


def test_an_impossible_address_is_named(conf: cfg.ConfigOpts) -> None:
    conf.set_override("host", "192.0.2.1", group="api")

    with pytest.raises(ConfigError, match=r"\[api\] cannot listen on 192\.0\.2\.1"):
        ApiServer(create_app(conf, lambda rule, host: None), conf)


def test_a_request_under_way_is_answered_before_the_server_ends(conf: cfg.ConfigOpts) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def slow(rule: str, host: str) -> None:
        arrived.set()
        assert go_on.wait(30)

    server = ApiServer(create_app(conf, slow), conf)
    server.start()
    with ThreadPoolExecutor(2) as pool:
        request = pool.submit(post, server.port, path("failure", "h1"))
        assert arrived.wait(30)
        stopped = pool.submit(server.stop)
        assert server._stopping.wait(30)
        go_on.set()
        assert request.result(timeout=30)[0] == 202
        stopped.result(timeout=30)
    assert not server.alive


def test_a_webhook_is_answered_while_every_thread_waits(conf: cfg.ConfigOpts, bell: Bell) -> None:
    arrived, go_on = threading.Semaphore(0), threading.Event()
    app = create_app(conf, bell.ring)

    def slow() -> str:
        arrived.release()
        assert go_on.wait(30)
        return "done"

    app.add_url_rule("/slow", view_func=slow)
    server = ApiServer(app, conf)
    server.start()
    with ThreadPoolExecutor(conf.api.threads) as pool:
        asked = [pool.submit(raw, server.port, SLOW) for _ in range(conf.api.threads)]
        assert all(arrived.acquire(timeout=30) for _ in asked)
        assert post(server.port, path("failure", "h1"))[0] == 202
        go_on.set()
        assert all(each.result(30).endswith(b"done") for each in asked)
    server.stop()
    assert bell.rung == [("failure", "h1")]


def test_requests_on_one_connection_are_answered_in_their_order(server: ApiServer) -> None:
    """The loop answers webhooks and the threads all else, also of one connection."""
    called = path("failure", "h1").encode()
    genuine = b"POST " + called + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    health = b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n"
    last = health.replace(b"Host", b"Connection: close\r\nHost")

    answers = raw(server.port, genuine + health + genuine + genuine + last)

    found = [line.split()[1] for line in answers.splitlines() if line.startswith(b"HTTP/1.1")]
    assert found == [b"202", b"200", b"202", b"202", b"200"]


def test_every_address_of_a_name_is_listened_on(
    conf: cfg.ConfigOpts,
    bell: Bell,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As localhost has two on many machines; other names are looked up as ever."""
    caplog.set_level("INFO")
    addresses, ask = ("127.0.0.1", "127.0.0.2"), socket.getaddrinfo

    def two(host: str, *more: Any) -> list[Any]:
        return [each for a in (addresses if host == "localhost" else (host,))
                for each in ask(a, *more)]  # fmt: skip

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf.set_override("host", "localhost", group="api")
    conf.set_override("port", port, group="api")
    monkeypatch.setattr(socket, "getaddrinfo", two)
    server = ApiServer(create_app(conf, bell.ring), conf)
    server.start()
    for address in addresses:
        assert f"Listening for alarms on {address}:{port}" in caplog.messages

    for address in addresses:
        with socket.create_connection((address, server.port), timeout=30) as connection:
            connection.sendall(b"GET /healthcheck HTTP/1.0\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.0 200")
    assert post(server.port, path("failure", "h1"))[0] == 202

    server.stop()
    assert not server.alive


def test_an_idle_connection_does_not_keep_the_server_from_ending(server: ApiServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as idle:
        idle.sendall(b"POST /v1")
        server.stop()

    assert not server.alive


def test_stopping_twice_is_as_good_as_once(server: ApiServer) -> None:
    server.stop()
    server.stop()

    assert not server.alive
