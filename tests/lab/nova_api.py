# SPDX-License-Identifier: Apache-2.0
"""Ask Nova as an administrator; what goes wrong becomes a sentence for the terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from keystoneauth1 import exceptions as ks_exc
from openstack import exceptions as sdk_exc

from tests.lab.errors import Busy, LabError
from tests.lab.services import cloudapi

#: Before 2.95, from which an evacuated server stays stopped: one version for all the lab asks.
MICROVERSION = "2.90"


def get(path: str) -> dict[str, Any]:
    """Return the JSON answer of a GET; raises `LabError`."""
    return request("GET", path)


def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON answer of a POST (empty if there is none); raises `LabError`."""
    return request("POST", path, json=body)


def request(method: str, path: str, **kwargs: Any) -> dict[str, Any]:
    """Send one request to the compute API; raises `LabError` with Nova's own reason."""
    try:
        compute = cloudapi.connect().compute
        answer = compute.request(
            path, method, microversion=MICROVERSION, raise_exc=False, **kwargs
        )
    except (ks_exc.ClientException, sdk_exc.SDKException) as exc:
        raise LabError(f"Nova cannot be asked: {exc}; see 'status'") from exc
    if answer.status_code >= 400:
        error = Busy if answer.status_code == HTTPStatus.CONFLICT else LabError
        raise error(f"Nova refused: {_reason(answer)}")
    found: dict[str, Any] = answer.json() if answer.content else {}
    return found


def service(host: str) -> dict[str, Any]:
    """Return what Nova says of a host's nova-compute; raises `LabError`."""
    (found,) = get(f"/os-services?binary=nova-compute&host={host}")["services"]
    return dict(found)


def set_service(host: str, **fields: Any) -> None:
    """Change a host's nova-compute service, as its operator does; raises `LabError`."""
    request("PUT", f"/os-services/{service(host)['id']}", json=fields)


def epoch(naive_utc: str) -> float:
    """Return Nova's time stamp ("2026-11-22T07:13:06.000000", UTC) as seconds."""
    return datetime.fromisoformat(naive_utc).replace(tzinfo=UTC).timestamp()


def _reason(answer: Any) -> str:
    try:
        (fault,) = answer.json().values()
        return str(fault["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"HTTP {answer.status_code}"
