# SPDX-License-Identifier: Apache-2.0
"""Tokens that end while the engine works: it logs in again, and no request is lost or doubled.

Keystone and the services are stand-ins that know one thing: which tokens are good now. Login,
catalogue and clients are the real ones, put together as the engine does.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.session import Session

from vmha_remediator import conf as config
from vmha_remediator.effects.aodh import Aodh
from vmha_remediator.effects.gnocchi import Gnocchi
from vmha_remediator.effects.nova import Nova, make_nova
from vmha_remediator.effects.session import make_connection, make_session
from vmha_remediator.errors import CloudUnavailable, TelemetryUnavailable

SERVERS = [f"s-{number}" for number in range(40)]


@dataclass
class World:
    """Which tokens are good, and what was accepted with one of them."""

    url: str = ""
    good: set[str] = field(default_factory=set)
    logins: int = 0
    refused: int = 0
    keystone_away: bool = False
    ends_after: int = 0  # requests, after which every token ends, once; 0: never
    done: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def revoke(self) -> None:
        """Let every token that was given out be worth nothing."""
        with self.lock:
            self.good.clear()

    def log_in(self) -> str:
        with self.lock:
            token = uuid.uuid4().hex
            self.good.add(token)
            self.logins += 1
            return token

    def take(self, token: str | None, what: str) -> bool:
        """Tell whether the token is good; then `what` is done."""
        with self.lock:
            if token not in self.good:
                self.refused += 1
                return False
            self.done[what] += 1
            if self.done.total() == self.ends_after:
                self.good.clear()
            return True

    def token(self) -> dict[str, Any]:
        """Return what Keystone tells of a token: it is good for an hour, as far as it knows."""
        now, written = datetime.now(UTC), "%Y-%m-%dT%H:%M:%S.%fZ"
        return {
            "methods": ["password"],
            "catalog": self.catalogue(),
            "issued_at": now.strftime(written),
            "expires_at": (now + timedelta(hours=1)).strftime(written),
            "user": {"id": "u", "name": "vmha", "domain": {"id": "d", "name": "D"}},
        }

    def catalogue(self) -> list[dict[str, Any]]:
        services = (("compute", "nova"), ("metric", "gnocchi"), ("alarming", "aodh"))
        return [
            {
                "type": kind,
                "name": name,
                "id": name,
                "endpoints": [
                    {"interface": "public", "region": "here", "region_id": "here", "id": name,
                     "url": f"{self.url}/{name}"}
                ],
            }
            for kind, name in services
        ]  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """Answers as Keystone and as every service; the server's `world` knows the tokens."""

    protocol_version = "HTTP/1.1"
    server: Any

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        world, path = self.server.world, self.path.partition("?")[0].rstrip("/")
        if path.startswith("/identity"):
            self._keystone(world)
        elif path == "/nova" and self.command == "GET":
            self._version("v2.1", f"{world.url}/nova", version="2.100", min_version="2.1")
        elif not world.take(self.headers.get("X-Auth-Token"), f"{self.command} {path}"):
            self._say(401, {"error": {"code": 401, "message": "it requires authentication"}})
        elif path.endswith("/action"):
            self._say(202, None)
        else:
            self._say(200, {"services": []} if path == "/nova/os-services" else [])

    def _keystone(self, world: World) -> None:
        if self.command == "GET":
            self._version("v3.14", f"{world.url}/identity/v3")
        elif world.keystone_away:
            self._say(503, {"error": {"code": 503, "message": "away"}})
        else:
            self._say(201, {"token": world.token()}, {"X-Subject-Token": world.log_in()})

    def _version(self, name: str, url: str, **more: str) -> None:
        links = [{"rel": "self", "href": url}]
        self._say(200, {"version": {"id": name, "status": "CURRENT", "links": links, **more}})

    def _say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.world = world  # type: ignore[attr-defined]
    world.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield world
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Engine:
    """The clients of one engine, over one login."""

    nova: Nova
    gnocchi: Gnocchi
    aodh: Aodh

    def look(self) -> None:
        self.nova.services()
        self.gnocchi.hosts()
        self.aodh.alarming()


@pytest.fixture
def engine(world: World, tmp_path: Path) -> Engine:
    file = tmp_path / "vmha.conf"
    file.write_text(
        f"[cloud]\nauth_type = password\nauth_url = {world.url}/identity/v3\nusername = vmha\n"
        "password = secret\nuser_domain_name = Default\nproject_name = service\n"
        "project_domain_name = Default\nregion_name = here\ninterface = public\n"
    )
    conf = config.load(config_files=[str(file)])
    session: Session = make_session(conf)
    return Engine(
        make_nova(conf, make_connection(conf, session)),
        Gnocchi(session, conf),
        Aodh(session, conf),
    )


def test_one_login_serves_every_service(world: World, engine: Engine) -> None:
    engine.look()
    engine.look()

    assert (world.logins, world.refused) == (1, 0)


CALLS: dict[str, Callable[[Engine], object]] = {
    "nova": lambda engine: engine.nova.services(),
    "gnocchi": lambda engine: engine.gnocchi.hosts(),
    "aodh": lambda engine: engine.aodh.alarming(),
    "evacuate": lambda engine: engine.nova.evacuate("s-1"),
    "act": lambda engine: engine.nova.act("s-1", "start"),
    "force-down": lambda engine: engine.nova.force_down("c-1", True),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_token_that_ended_is_replaced_within_the_request(
    world: World, engine: Engine, call: Callable[[Engine], object]
) -> None:
    engine.look()
    world.revoke()
    world.done.clear()

    call(engine)

    assert (world.logins, world.refused) == (2, 1)
    assert list(world.done.values()) == [1], "it was done, and once"


def test_a_recovery_whose_token_ends_in_the_middle_asks_for_each_vm_once(
    world: World, engine: Engine
) -> None:
    """As many requests are under way as the engine ever has."""
    engine.look()
    world.done.clear()
    world.ends_after = len(SERVERS) // 2

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(engine.nova.evacuate, SERVERS))
    engine.look()

    asked = {path: times for path, times in world.done.items() if path.endswith("/action")}
    assert asked == {f"POST /nova/servers/{server}/action": 1 for server in SERVERS}
    assert world.refused >= 1
    assert world.logins >= 2


def test_while_keystone_is_away_too_it_is_a_wait_and_no_end(world: World, engine: Engine) -> None:
    engine.look()
    world.revoke()
    world.keystone_away = True

    with pytest.raises(CloudUnavailable):
        engine.nova.evacuate("s-1")
    with pytest.raises(TelemetryUnavailable):
        engine.gnocchi.hosts()
    with pytest.raises(TelemetryUnavailable):
        engine.aodh.alarming()

    world.keystone_away = False
    world.done.clear()
    engine.nova.evacuate("s-1")
    engine.look()
    assert world.done["POST /nova/servers/s-1/action"] == 1
