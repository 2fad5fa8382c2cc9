# SPDX-License-Identifier: Apache-2.0
"""IPMI BMCs for tests: pyghmi's server classes in a process, real RMCP+ packets on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyghmi.ipmi import bmc as server

from tests.contract.bmc import PASSWORD as LONG_PASSWORD
from tests.contract.bmc import USER, free_udp_port

#: IPMI 2.0 allows 20 bytes.
PASSWORD = LONG_PASSWORD[:20].strip()
GUID = uuid.UUID("4c4c4544-0042-3510-8052-b4c04f4d3732")
#: RMCP+ of the IPMI specification 2.0: authentication type and payload type of an open session
#: request (13.6), HMAC-SHA1 (table 13-17), status of an answer (table 13-15).
OPEN_SESSION, SHA1, NO_SUCH_ALGORITHM = b"\x06\x10", 1, b"\x11"
#: What a reading of the power is among the requests; a control is the state it asks for.
READ = "read"
#: How it refuses to power down, by mode: completion codes of table 5-2.
REFUSALS = {"refuses": 0xD4, "not now": 0xD5}


@dataclass
class IpmiBmc:
    """A running BMC with one chassis; `mode` changes how it behaves from now on."""

    port: int
    _process: subprocess.Popen[str]

    def _say(self, **words: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def fresh(self, mode: str = "works") -> IpmiBmc:
        """Switch the chassis on, forget what was asked, and behave as `mode` says."""
        self._say(power="on", mode=mode)
        return self

    def power(self) -> str:
        """Return the chassis' true state."""
        return str(self._say()["power"])

    def asked(self) -> list[str]:
        """Return the chassis controls that arrived since it was fresh."""
        return [request for request in self.heard() if request != READ]

    def heard(self) -> list[str]:
        """Return all of that with the readings of its power, in order."""
        return list(self._say()["heard"])


@contextmanager
def ipmi_bmc() -> Iterator[IpmiBmc]:
    """Run a BMC until the block ends."""
    port = free_udp_port()
    process = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, str(port)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "listening":
            raise RuntimeError("the IPMI BMC does not listen")
        yield IpmiBmc(port, process)
    finally:
        process.kill()
        process.wait(timeout=10)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


class _Lost(Exception):
    """It did as it was told, and nothing is heard of it any more."""


class Chassis(server.Bmc):  # type: ignore[misc]
    """The BMC and its chassis, doing as `mode` says."""

    def __init__(self, port: int) -> None:
        super().__init__({USER: PASSWORD}, port=port, address="127.0.0.1", bmcuuid=GUID)
        self.state, self.mode = "on", "works"
        self.heard: list[str] = []

    def get_system_guid(self) -> uuid.UUID:
        return GUID

    def get_power_state(self) -> str:
        self.heard.append(READ)
        if self.mode == "slow":
            time.sleep(1.2)
        if self.mode == "flaps":
            return "off" if self.heard.count(READ) % 2 else "on"
        return self.state

    def power_off(self) -> int | None:
        self.heard.append("off")
        if self.mode in REFUSALS:
            return REFUSALS[self.mode]
        if self.mode != "lies":
            self.state = "off"
        if self.mode == "mute":
            raise _Lost
        return None

    def power_on(self) -> None:
        self.heard.append("on")
        self.state = "on"

    def sessionless_data(self, data: bytes, address: Any) -> None:
        """Refuse what pyghmi's server would accept and then not do: HMAC-SHA256."""
        if data[4:6] == OPEN_SESSION and len(data) > 28 and data[28] != SHA1:
            tag, session = data[16:17], data[20:24]
            body = tag + NO_SUCH_ALGORITHM + bytes(2) + session
            header = b"\x06\x00\xff\x07\x06\x11" + bytes(8) + len(body).to_bytes(2, "little")
            self.serversocket.sendto(header + body, address)
            return
        super().sessionless_data(data, address)

    def handle_raw_request(self, request: dict[str, Any], session: Any) -> None:
        if self.mode != "silent":
            super().handle_raw_request(request, session)

    def control_chassis(self, request: dict[str, Any], session: Any) -> None:
        try:
            super().control_chassis(request, session)
        except _Lost:
            self.mode = "silent"

    def listen_to_the_test(self) -> None:
        """Take the test's words from standard input and answer with the truth."""
        for line in sys.stdin:
            words = json.loads(line)
            if words:
                self.state, self.mode, self.heard = words["power"], words["mode"], []
            print(json.dumps({"power": self.state, "heard": self.heard}), flush=True)


def _serve(port: int) -> None:
    """Be the BMC: packets on `port`, words of the test on standard input."""
    chassis = Chassis(port)
    threading.Thread(target=chassis.listen_to_the_test, daemon=True).start()
    print("listening", flush=True)
    chassis.listen(timeout=0.2)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
