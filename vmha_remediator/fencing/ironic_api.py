# SPDX-License-Identifier: Apache-2.0
"""Requests to Ironic: openstacksdk's session, no request without an end, clear reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import openstack
import requests
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import http_basic, noauth
from keystoneauth1.session import Session
from openstack import exceptions as sdk_exc

from vmha_remediator.errors import FencingError
from vmha_remediator.fencing import settings as kinds
from vmha_remediator.fencing.deadline import Deadline
from vmha_remediator.fencing.poweroff import Hopeless

#: Nodes may be named (1.5), and have all fields that are read here.
MICROVERSION = "1.31"
#: What openstacksdk, keystoneauth and requests can raise; no Ironic at the other end shows as
#: answers of an unexpected shape.
ERRORS = (
    sdk_exc.SDKException,
    ks_exc.ClientException,
    requests.RequestException,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
)
#: HTTP status -> what to look at; no repetition heals these.
_FINAL = {
    401: "it refused the credentials; check the account",
    403: "the account may not do this; it needs the role that may set a node's power state",
    404: "there is no such node; check 'node'",
    406: "it is older than API 1.31; upgrade Ironic",
}
_LOCKED = 409


class Api:
    """Ironic's API for one action."""

    def __init__(self, adapter: Any, call_timeout: float, deadline: Deadline) -> None:
        self._adapter, self._call_timeout, self._deadline = adapter, call_timeout, deadline

    def get(self, path: str) -> dict[str, Any]:
        """Return the body. Raises `FencingError`, `Hopeless` where no repetition helps."""
        answer = self._send("GET", path)
        try:
            body = answer.json()
        except ValueError as exc:
            raise Hopeless("its answer is no JSON; is 'endpoint' an Ironic?") from exc
        if not isinstance(body, dict):
            raise Hopeless("its answer makes no sense; is 'endpoint' an Ironic?")
        return body

    def put(self, path: str, body: Mapping[str, Any]) -> None:
        """Send `body`; raises as `get`."""
        self._send("PUT", path, json=dict(body))

    def _send(self, method: str, path: str, **more: Any) -> Any:
        left = min(self._call_timeout, self._deadline.left)
        if left <= 0:
            raise FencingError("it did not answer in time")
        answer = self._adapter.request(
            path,
            method,
            raise_exc=False,
            connect_retries=0,
            status_code_retries=0,
            retriable_status_codes=(),
            timeout=left,
            headers={"X-OpenStack-Ironic-API-Version": MICROVERSION},
            **more,
        )
        status = int(answer.status_code)
        if status < 400:
            return answer
        if status in _FINAL:
            raise Hopeless(f"{_FINAL[status]} (HTTP {status})")
        if status == _LOCKED:
            raise FencingError("the node is locked by another operation (HTTP 409)")
        raise FencingError(f"it answered HTTP {status}")


@contextmanager
def connect(settings: Mapping[str, Any], where: str, deadline: Deadline) -> Iterator[Api]:
    """Yield the API; every error leaves as a `FencingError` that names the node."""
    try:
        with _connection(settings, deadline) as connection:
            adapter = connection.baremetal
            yield _Told(adapter, float(settings["call_timeout"]), deadline)
    except FencingError as exc:
        said = str(exc)
        prefix = "" if said.startswith(where) else f"{where}: "
        raise type(exc)(f"{prefix}{said}") from None
    except ERRORS as exc:
        raise FencingError(f"{where}: {why(exc)}") from exc


class _Told(Api):
    """Translates what one request raises, so that the loop around it may go on."""

    def _send(self, method: str, path: str, **more: Any) -> Any:
        try:
            return super()._send(method, path, **more)
        except ks_exc.Unauthorized as exc:
            raise Hopeless(why(exc)) from exc
        except ERRORS as exc:
            raise FencingError(why(exc)) from exc


def _connection(settings: Mapping[str, Any], deadline: Deadline) -> Any:
    timeout = min(float(settings["call_timeout"]), max(deadline.left, 0.1))
    verify = settings["verify"]
    if settings["cloud"] is not None:
        files = [settings["clouds_file"]] if settings["clouds_file"] else None
        config = openstack.config.OpenStackConfig(config_files=files)
        given = {"cacert": verify} if isinstance(verify, str) else {"verify": verify}
        region = config.get_one(cloud=settings["cloud"], api_timeout=timeout, **given)
        return openstack.connection.Connection(config=region)
    session = Session(auth=_standalone(settings), verify=verify, timeout=timeout)
    return openstack.connection.Connection(
        session=session, baremetal_endpoint_override=settings["endpoint"]
    )


def _standalone(settings: Mapping[str, Any]) -> Any:
    """Return the login of an Ironic without Keystone."""
    if settings["username"] is None:
        return noauth.NoAuth(endpoint=settings["endpoint"])
    return http_basic.HTTPBasicAuth(
        endpoint=settings["endpoint"],
        username=settings["username"],
        password=kinds.read_secret(settings["password_file"], settings["password_env"]),
    )


def why(exc: BaseException) -> str:
    """Return a clause that ends "Ironic, node X: ..." and holds nothing secret."""
    if isinstance(exc, ks_exc.Unauthorized):
        return "Keystone refused the credentials; check the account in clouds.yaml"
    if isinstance(exc, ks_exc.DiscoveryFailure):
        return "no connection, or no Ironic at its address"
    if isinstance(exc, ks_exc.ConnectTimeout | ks_exc.RetriableConnectionFailure):
        return "no connection, or no answer in time"
    if isinstance(exc, requests.Timeout):
        return "it did not answer in time"
    if isinstance(exc, ks_exc.EndpointNotFound):
        return "the cloud's catalogue has no baremetal service"
    if isinstance(exc, sdk_exc.ConfigException):
        return f"clouds.yaml cannot be used: {_line(exc)}"
    if isinstance(exc, ks_exc.ConnectFailure | requests.RequestException | OSError):
        return f"no connection ({_line(exc)})"
    return f"{type(exc).__name__}: {_line(exc)}"


def _line(exc: BaseException, limit: int = 160) -> str:
    line = " ".join(str(exc).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
