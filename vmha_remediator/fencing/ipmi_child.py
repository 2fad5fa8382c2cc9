# SPDX-License-Identifier: Apache-2.0
"""One IPMI session in a process of its own, driven by lines of JSON.

pyghmi keeps its sessions and sockets in one table for the whole process, served by whichever
thread happens to wait: a BMC that hangs would delay another host's fencing. As a process, a
session that takes too long can be ended for certain. The first line on standard input logs in,
each further one is a number and what to do; every line is answered with one, which bears that
number (0 for the login). Imports nothing of this project, so that it starts quickly.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

from pyghmi.exceptions import IpmiException
from pyghmi.ipmi.command import Command

#: (network function, command, data) of the IPMI specification 2.0, tables G-1.
CHASSIS_STATUS = (0x00, 0x01, ())
CHASSIS_CONTROL = (0x00, 0x02)
GET_SYSTEM_GUID = (0x06, 0x37, ())
POWER_DOWN, POWER_UP = 0, 1


class _Refused(Exception):
    """The BMC answered with a completion code that is not 0."""


def _raw(session: Command, netfn: int, command: int, data: tuple[int, ...] = ()) -> bytes:
    answer = session.raw_command(netfn=netfn, command=command, data=data)
    if answer.get("code"):
        said = answer.get("error") or f"completion code {answer['code']:#04x}"
        raise IpmiException(said) if said == "timeout" else _Refused(said)
    return bytes(answer["data"])


def _power(session: Command) -> str:
    return "on" if _raw(session, *CHASSIS_STATUS)[0] & 1 else "off"


def _control(action: int) -> Callable[[Command], str]:
    def run(session: Command) -> str:
        _raw(session, *CHASSIS_CONTROL, (action,))
        return "accepted"

    return run


def _guid(session: Command) -> str:
    return _raw(session, *GET_SYSTEM_GUID)[:16].hex()


ACTIONS: dict[str, Callable[[Command], str]] = {
    "power": _power,
    "off": _control(POWER_DOWN),
    "on": _control(POWER_UP),
    "guid": _guid,
}


def _attempt(call: Callable[[], Any]) -> tuple[dict[str, str], Any]:
    """Return the line that answers, and what `call` returned."""
    try:
        value = call()
    except _Refused as exc:
        return {"refused": str(exc)}, None
    except IpmiException as exc:
        return {"failed": str(exc)}, None
    except socket.gaierror:
        return {"failed": "unable to transmit to that name"}, None
    except Exception as exc:
        # The rim of this process: whatever a strange packet does to pyghmi is one answer.
        logging.getLogger(__name__).exception("unexpected")
        return {"failed": f"its answer makes no sense ({type(exc).__name__})"}, None
    return {"value": value if isinstance(value, str) else ""}, value


def main() -> None:
    """Log in as the first line says, answer the others, log out at the end of them."""
    login = json.loads(sys.stdin.readline())
    answers, sys.stdout = sys.stdout, sys.stderr  # pyghmi prints now and then

    def say(number: int, line: dict[str, str]) -> None:
        print(json.dumps({"number": number, **line}), file=answers, flush=True)

    line, session = _attempt(lambda: Command(**login))
    say(0, line)
    if session is None:
        return
    for request in sys.stdin:
        number, name = request.split()
        action = ACTIONS[name]
        say(int(number), _attempt(lambda action=action: action(session))[0])  # type: ignore[misc]
    _attempt(session.ipmi_session.logout)


if __name__ == "__main__":
    main()
