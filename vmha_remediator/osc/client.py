# SPDX-License-Identifier: Apache-2.0
"""The REST API as calls; every failure is one sentence with the way out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from keystoneauth1 import exceptions as ks_exc
from keystoneauth1.adapter import Adapter
from osc_lib import exceptions

from vmha_remediator.errors import in_short
from vmha_remediator.osc.careful import ODD

SERVICE = "vmha"
TIMEOUT = 30.0  # s; an answer takes as long as Nova's slowest list
NO_ENDPOINT = (
    "the catalogue has no service of type 'vmha'; register it (openstack service create --name "
    "vmha vmha; openstack endpoint create vmha public http://CONTROLLER:8778) or give "
    "--os-vmha-endpoint"
)


class Away(exceptions.CommandError):  # type: ignore[misc]
    """The API cannot be reached, or what is before it cannot; a moment later it may be there."""


class Client:
    """Talks to one vmha API; raises `osc_lib.exceptions.CommandError` with a sentence."""

    def __init__(
        self,
        session: Any,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        interface: str | None = None,
    ) -> None:
        self._adapter = Adapter(
            session,
            service_type=SERVICE,
            region_name=region,
            interface=interface,
            endpoint_override=endpoint.rstrip("/") if endpoint else None,
        )

    def get(self, *path: object, **query: Any) -> Any:
        """Return the answer to GET; a query's value of None is left out."""
        return self._call("GET", path, query)

    def post(self, *path: object, body: Mapping[str, Any] | None = None) -> Any:
        """Return the answer to POST."""
        return self._call("POST", path, {}, body)

    def put(self, *path: object, body: Mapping[str, Any] | None = None) -> Any:
        """Return the answer to PUT."""
        return self._call("PUT", path, {}, body)

    def delete(self, *path: object) -> Any:
        """Return the answer to DELETE."""
        return self._call("DELETE", path, {})

    def incidents(self, limit: int, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield at most `limit` incidents, the latest first, page by page."""
        marker = None
        while limit > 0:
            page = self.get("incidents", limit=min(limit, 500), marker=marker, **query)
            yield from page["incidents"]
            limit -= len(page["incidents"])
            marker = page["next"]
            if marker is None:
                return

    def _call(
        self,
        method: str,
        path: tuple[object, ...],
        query: Mapping[str, Any],
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        where = "/v1/" + "/".join(quote(str(part), safe="") for part in path)
        given = {name: _text(value) for name, value in query.items() if value is not None}
        if given:
            where += "?" + urlencode(given)
        try:
            answer = self._adapter.request(
                where, method, json=body, raise_exc=False, timeout=TIMEOUT, headers=JSON
            )
        except ks_exc.EndpointNotFound as exc:
            raise exceptions.CommandError(NO_ENDPOINT) from exc
        except ks_exc.Unauthorized as exc:
            raise exceptions.CommandError("Keystone refused the login") from exc
        except ks_exc.ClientException as exc:
            raise Away(f"the vmha API cannot be reached: {in_short(exc)}") from exc
        return _read(answer)


JSON = {"Accept": "application/json"}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(answer: Any) -> Any:
    """Return the body of a good answer; raises `CommandError` with the refusal's sentence."""
    refused = Away if answer.status_code >= 500 else exceptions.CommandError
    try:
        body = answer.json()
    except ValueError as exc:
        raise refused(
            f"{answer.url.split('?')[0]} answers {answer.status_code} without JSON: is that "
            "address the vmha API's?"
        ) from exc
    if answer.status_code < 400:
        if not isinstance(body, Mapping):
            raise exceptions.CommandError(ODD.format(f"no object, but {type(body).__name__}"))
        return body
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        raise refused(f"the vmha API answers {answer.status_code}")
    raise refused(f"{error.get('reason')}; {error.get('way_out')}")
