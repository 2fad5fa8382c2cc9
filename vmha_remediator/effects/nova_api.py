# SPDX-License-Identifier: Apache-2.0
"""Talking to Nova: versions, pages, time-outs, and refusals told from what may pass.

Requests are made plainly, each with the microversion that its body was written for, over
openstacksdk's session, catalogue and version discovery. Every method may raise
`CloudUnavailable` (try again later) or `CloudRefused` (Nova said no, with its message).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from openstack.connection import Connection

from vmha_remediator.effects import nova_parse as parse
from vmha_remediator.effects.asking import Asking
from vmha_remediator.errors import CloudUnavailable, ConfigError

Version = tuple[int, int]

#: PUT /os-services/{uuid} and UUIDs of services begin here (2017, Pike).
MIN_VERSION: Version = (2, 53)
MAX_VERSION: Version = (99, 0)
SERVICES: Version = (2, 69)
PAGE = 500


class NovaApi(Asking):
    """Requests to Nova; safe to use from many threads."""

    def __init__(
        self, connection: Connection, timeout: float = 10.0, cap: Version | None = None
    ) -> None:
        """Use `connection`; `cap` is the highest microversion to ask for, None: no limit."""
        super().__init__(connection, timeout)
        self._cap = cap
        self._lock = threading.Lock()
        self._max: Version | None = None

    def version(self, wanted: Version) -> str:
        """Return the microversion to ask for: `wanted`, or the highest that Nova has."""
        return "{}.{}".format(*min(wanted, self.highest()))

    def highest(self) -> Version:
        """Return the highest microversion that Nova offers and [cloud] allows."""
        with self._lock:
            if self._max is not None:
                return self._max
        with parse.translated("Nova", "asking for its versions"):
            # Even naming the service asks it for its versions, and so may fail.
            data = self._cloud.compute.get_endpoint_data()
        if data is None or not data.max_microversion:
            raise CloudUnavailable(
                "Nova did not say which versions it has; check [cloud] region_name and interface"
            )
        found: Version = min(tuple(data.max_microversion), self._cap or MAX_VERSION)
        if found < MIN_VERSION:
            raise ConfigError(
                "Nova offers (or [cloud] compute_microversion_max allows) microversion {}.{} at "
                "most, at least {}.{} is needed".format(*found, *MIN_VERSION)
            )
        with self._lock:
            self._max = found
        return found

    def _pages(self, path: str, key: str, version: Version) -> Iterator[Mapping[str, Any]]:
        """Yield the items of a list, page after page.

        Nova says itself whether there is more: its own limit ([api] max_limit) may be below ours.
        """
        marker = ""
        while True:
            body = self._json("GET", f"{path}{marker}", version)
            items = body[key]
            yield from items
            more = any(link.get("rel") == "next" for link in body.get(f"{key}_links", ()))
            if not items or not more:
                return
            last = items[-1]
            marker = f"&marker={quote(str(last.get('uuid') or last['id']))}"

    def _json(
        self,
        method: str,
        path: str,
        version: Version,
        *,
        json: Mapping[str, Any] | None = None,
        missing: bool = False,
    ) -> Any:
        """Return the answer's body; None for a 404 that `missing` allows."""
        response = self._request(
            "compute", method, path, microversion=self.version(version), json=json
        )
        if missing and response.status_code == 404:
            return None
        return self._body(response)
