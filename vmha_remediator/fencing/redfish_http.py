# SPDX-License-Identifier: Apache-2.0
"""HTTP to a BMC: no request without a time-out, none after the deadline, clear reasons.

sushy's connector knows a time-out a request but no end of the whole: by default it repeats
a request three times and sleeps in between, so one hung BMC would take minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import requests
import sushy
from requests.adapters import HTTPAdapter
from sushy import exceptions as bmc
from sushy.connector import Connector

from vmha_remediator.fencing.deadline import Deadline

# sushy logs what it then raises, and a login by session that falls back to basic as an error.
# `why` says it once, to whom it concerns; [DEFAULT] default_log_levels brings it back.
if logging.getLogger("sushy").level == logging.NOTSET:
    logging.getLogger("sushy").setLevel(logging.CRITICAL)

#: What talking to a BMC can raise. Beside sushy's own errors, answers that are no JSON or
#: JSON of an unexpected shape surface as Python's plain ones.
BMC_ERRORS = (
    bmc.SushyError,
    requests.RequestException,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


class _BoundedAdapter(HTTPAdapter):  # type: ignore[misc,unused-ignore]
    """Caps every request's time-out at what is left, and sends nothing after the end."""

    def __init__(self, call_timeout: float, deadline: Deadline) -> None:
        super().__init__(max_retries=0)
        self._call_timeout = call_timeout
        self._deadline = deadline

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override,unused-ignore]
        left = self._deadline.left
        if left <= 0:
            raise requests.Timeout(f"the {self._deadline.seconds:g} s for this BMC are over")
        kwargs["timeout"] = min(self._call_timeout, left)
        return super().send(request, **kwargs)


def connector(
    url: str, *, verify: bool | str, call_timeout: float, deadline: Deadline
) -> Connector:
    """Return a sushy connector that respects `call_timeout` and `deadline` (s)."""
    made = Connector(
        url,
        verify=verify,
        # One try a request, and one more after an error of the server's: the driver's own
        # loop repeats what is worth repeating.
        server_side_retries=1,
        server_side_retries_delay=0.5,
        default_request_timeout=call_timeout,
    )
    session = made._session
    # Neither a proxy nor a .netrc of the environment belongs between a host and its BMC.
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, _BoundedAdapter(call_timeout, deadline))
    return made


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and what caused it, outermost first, also inside urllib3's wrapping."""
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        inner = getattr(exc, "reason", None)
        exc = inner if isinstance(inner, BaseException) else exc.__cause__ or exc.__context__


def _one_line(value: object, limit: int = 160) -> str:
    """Return text fit for a sentence: one line, printable, not long."""
    line = " ".join(str(value).split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= limit else line[: limit - 3] + "..."


def _why_http(exc: bmc.HTTPError) -> str:
    if isinstance(exc, bmc.AccessError):
        return (
            f"it refused the credentials (HTTP {exc.status_code}); check username, password "
            "and the account's privileges"
        )
    if isinstance(exc, bmc.ResourceNotFoundError):
        return f"HTTP 404, {_one_line(exc.message)}; check 'url' and 'system'"
    return f"it answered HTTP {exc.status_code}: {_one_line(exc.detail or 'no details')}"


def _why_connection(exc: BaseException) -> str:
    links = list(_chain(exc))
    for link in links:
        if isinstance(link, requests.exceptions.SSLError):
            return f"its TLS certificate was not accepted ({_one_line(link)}); check 'verify'"
        if isinstance(link, requests.Timeout):
            return "it did not answer in time"
    for link in links:
        if isinstance(link, OSError) and link.strerror:
            return f"no connection ({link.strerror})"
    return f"no connection ({_one_line(exc)})"


def why(exc: BaseException) -> str:
    """Return a clause that ends "the BMC at X: ..." and holds nothing secret."""
    if isinstance(exc, bmc.HTTPError):
        return _why_http(exc)
    if isinstance(exc, ValueError):  # before RequestException: requests' JSON error is both
        return f"its answer makes no sense ({_one_line(exc)})"
    if isinstance(exc, bmc.ConnectionError | requests.RequestException | OSError):
        return _why_connection(exc)
    if isinstance(exc, sushy.exceptions.InvalidParameterValueError | bmc.MissingActionError):
        return f"it does not offer ForceOff ({_one_line(exc)})"
    if isinstance(exc, bmc.SushyError):
        return _one_line(exc)
    return f"its answer makes no sense ({type(exc).__name__})"
