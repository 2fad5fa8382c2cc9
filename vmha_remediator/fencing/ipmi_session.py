# SPDX-License-Identifier: Apache-2.0
"""The other end of `ipmi_child.py`: a session that ends when its time is over."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vmha_remediator.errors import FencingError
from vmha_remediator.fencing.deadline import Deadline
from vmha_remediator.fencing.poweroff import Hopeless

CHILD = Path(__file__).with_name("ipmi_child.py")
#: Seconds granted for logging out: a BMC holds few sessions, and keeps one that was left for
#: about a minute.
LOGOUT = 2.0
#: Seconds for starting the process; it imports pyghmi, which takes 0.2 s on an idle machine.
START = 5.0

#: What pyghmi and BMCs say when credentials are wrong -> what to look at.
_CREDENTIALS = {
    "incorrect password": "username and password",
    "unauthorized name": "username",
    "unauthorized role": "the account's privilege, or 'privilege'",
    "insufficient privilege": "the account's privilege",
    "privilege level": "the account's privilege, or 'privilege'",
    "privelege level": "the account's privilege, or 'privilege'",  # as pyghmi spells it
    "wrong kg": "'kg_file'",
    "invalid rakp4": "'kg_file'",
}
_SILENT = ("timeout", "no longer connected", "session failed to initialize")


def why(said: str) -> FencingError:
    """Return what the session's words mean, as an error whose text ends "the BMC at X: ..."."""
    words = " ".join(said.split())
    lower = words.lower()
    for sign, look in _CREDENTIALS.items():
        if sign in lower:
            return Hopeless(f"it refused the credentials ({words}); check {look}")
    if not words or lower == "none" or any(sign in lower for sign in _SILENT):
        return FencingError("it did not answer in time")
    if "unable to transmit" in lower:
        return FencingError("its name cannot be resolved; check 'address'")
    return FencingError(words)


class IpmiSession:
    """A logged-in session; every answer is awaited for at most `call_timeout` seconds."""

    def __init__(
        self, process: subprocess.Popen[bytes], call_timeout: float, deadline: Deadline
    ) -> None:
        self._process, self._call_timeout, self._deadline = process, call_timeout, deadline
        self._buffer = b""
        self._number = 0
        #: Whether everything that was asked has been answered.
        self.idle = False

    def log_in(self, login: Mapping[str, Any]) -> None:
        """Log in; raises `FencingError`, `Hopeless` for the credentials."""
        self._exchange(json.dumps(dict(login)), START + self._call_timeout)

    def ask(self, action: str) -> str:
        """Return the BMC's answer; raises `FencingError`."""
        self._number += 1
        return self._exchange(f"{self._number} {action}", self._call_timeout)

    def _exchange(self, line: str, seconds: float) -> str:
        assert self._process.stdin is not None
        self.idle = False
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise FencingError("its session has ended") from None
        wait = Deadline(min(seconds, self._deadline.left))
        while True:
            answer = json.loads(self._line(wait))
            if answer["number"] == self._number:
                break  # one with an older number was given up: it says nothing about now
        self.idle = True
        if "value" in answer:
            return str(answer["value"])
        if "refused" in answer:
            raise _refusal(str(answer["refused"]))
        raise why(str(answer["failed"]))

    def _line(self, wait: Deadline) -> bytes:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if wait.left <= 0 or not selector.select(wait.left):
                    raise FencingError("it did not answer in time")
                got = os.read(self._process.stdout.fileno(), 65536)
                if not got:
                    raise FencingError("its session has ended")
                self._buffer += got
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def _refusal(said: str) -> FencingError:
    known = why(said)
    return known if isinstance(known, Hopeless) else FencingError(f"it refused ({said})")


@contextmanager
def logged_in(
    login: Mapping[str, Any], *, call_timeout: float, deadline: Deadline, hide: str | None
) -> Iterator[IpmiSession]:
    """Yield a session for pyghmi's `login` arguments; they travel over a pipe only.

    `hide` names the environment variable that the process must not inherit: it holds the
    password. Raises `FencingError`.
    """
    environment = {key: value for key, value in os.environ.items() if key != hide}
    process = subprocess.Popen(
        [sys.executable, "-I", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    session = IpmiSession(process, call_timeout, deadline)
    try:
        session.log_in(login)
        yield session
    finally:
        _end(process, LOGOUT if session.idle else 0.0)


def _end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Let the session log out, where it can, then make sure that the process is gone."""
    assert process.stdin is not None and process.stdout is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
