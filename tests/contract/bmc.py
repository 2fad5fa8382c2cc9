# SPDX-License-Identifier: Apache-2.0
"""BMCs for tests: real sushy-emulator processes on loopback, and sockets that misbehave."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import bcrypt
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER = "operator"
PASSWORD = "correct horse battery staple"

#: The emulator's fake systems take up to 11 s to change state; these take up to 1 s.
QUICK = "import random\nrandom.randint = lambda low, high: 1\n"
#: A BMC that answers 204 to every reset and does nothing.
LIAR = (
    "from sushy_tools.emulator.resources.systems.fakedriver import FakeDriver\n"
    "FakeDriver.set_power_state = lambda self, identity, state: None\n"
)
#: A BMC that knows sessions only, as many do, and tells at /open-sessions how many there are.
SESSIONS = f"""
import json
from sushy_tools.emulator.main import app as _app

class _Sessions:
    def __init__(self, inner):
        self.inner, self.open, self.made = inner, set(), 0

    def __call__(self, environ, start_response):
        path, method = environ["PATH_INFO"].rstrip("/"), environ["REQUEST_METHOD"]
        def answer(status, *headers, value=None):
            start_response(status, [("Content-Type", "application/json"), *headers])
            return [json.dumps(value if value is not None else {{}}).encode()]
        if path == "/open-sessions":
            return answer("200 OK", value=[self.made, len(self.open)])
        if path in ("", "/redfish", "/redfish/v1"):
            return self.inner(environ, start_response)
        if path == "/redfish/v1/SessionService/Sessions" and method == "POST":
            length = int(environ["CONTENT_LENGTH"])
            given = json.loads(environ["wsgi.input"].read(length))
            if (given["UserName"], given["Password"]) != ({USER!r}, {PASSWORD!r}):
                return answer("401 Unauthorized")
            self.made += 1
            token = f"token-{{self.made}}"
            self.open.add(token)
            where = f"/redfish/v1/SessionService/Sessions/{{self.made}}"
            return answer("201 Created", ("X-Auth-Token", token), ("Location", where))
        if environ.get("HTTP_X_AUTH_TOKEN") not in self.open:
            return answer("401 Unauthorized")
        if path.startswith("/redfish/v1/SessionService/Sessions/") and method == "DELETE":
            self.open.discard("token-" + path.rpartition("/")[2])
            return answer("200 OK")
        return self.inner(environ, start_response)

_app.wsgi_app = _Sessions(_app.wsgi_app)
"""


@dataclass
class Emulator:
    """A running sushy-emulator; `fresh()` gives a System that no other test has used."""

    url: str
    ca: str | bool = True
    _unused: list[str] = field(default_factory=list)

    def fresh(self) -> str:
        """Return the UUID of a System that is on."""
        return self._unused.pop()

    def power(self, system: str) -> str:
        """Return the System's state as the emulator tells anybody who asks."""
        answer = requests.get(
            f"{self.url}/redfish/v1/Systems/{system}",
            auth=(USER, PASSWORD),
            verify=self.ca,
            timeout=10,
        )
        answer.raise_for_status()
        return str(answer.json()["PowerState"])

    def switch_on(self, system: str) -> None:
        """Switch the System on and wait until it is."""
        path = f"{self.url}/redfish/v1/Systems/{system}/Actions/ComputerSystem.Reset"
        requests.post(
            path,
            json={"ResetType": "On"},
            auth=(USER, PASSWORD),
            verify=self.ca,
            timeout=10,
        ).raise_for_status()
        end = time.monotonic() + 30
        while self.power(system) != "On":
            if time.monotonic() > end:
                raise RuntimeError(f"{system} does not go on")
            time.sleep(0.05)

    def sessions(self) -> tuple[int, int]:
        """Return how many sessions were ever made and how many are open (SESSIONS only)."""
        made, still_open = requests.get(f"{self.url}/open-sessions", timeout=10).json()
        return made, still_open


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_udp_port() -> int:
    """Return a loopback UDP port that nobody has at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def emulator(
    folder: Path, *, extra: str = "", systems: int = 8, tls: bool = False
) -> Iterator[Emulator]:
    """Run a sushy-emulator with fake systems until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = [str(uuid.uuid4()) for _ in range(systems)]
    port = free_port()
    argv = [str(Path(sys.executable).parent / "sushy-emulator"), "--fake"]
    argv += ["--interface", "127.0.0.1", "--port", str(port)]
    argv += ["--config", str(_config(folder, ids, extra))]
    scheme, ca = "http", None
    if tls:
        scheme, ca = "https", _certificate(folder)
        argv += ["--ssl-certificate", str(ca), "--ssl-key", str(folder / "key.pem")]
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
        try:
            _await_port(process, port, folder / "log")
            yield Emulator(f"{scheme}://127.0.0.1:{port}", str(ca) if ca else True, ids)
        finally:
            process.terminate()
            process.wait(timeout=10)


def _config(folder: Path, ids: list[str], extra: str) -> Path:
    users = folder / "users"
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds=4)).decode()
    users.write_text(f"{USER}:{hashed}\n")
    fakes = [
        {"uuid": id_, "name": f"fake-{n}", "power_state": "On", "nics": []}
        for n, id_ in enumerate(ids)
    ]
    path = folder / "emulator.py"
    path.write_text(
        f"{QUICK}{extra}"
        f"SUSHY_EMULATOR_FAKE_SYSTEMS = {fakes!r}\n"
        + ("" if extra == SESSIONS else f"SUSHY_EMULATOR_AUTH_FILE = {str(users)!r}\n")
        + f"SUSHY_EMULATOR_STATE_DIR = {str(folder)!r}\n"
    )
    return path


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"sushy-emulator ended: {log.read_text()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"sushy-emulator does not listen: {log.read_text()}")


def _certificate(folder: Path) -> Path:
    """Write a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bmc.test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "cert.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@contextmanager
def silent_bmc() -> Iterator[str]:
    """Yield the address of a socket that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class _Babbler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<html>It works!</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def web_server_that_is_no_bmc() -> Iterator[str]:
    """Yield the address of a web server that answers everything with a page."""
    with HTTPServer(("127.0.0.1", 0), _Babbler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
