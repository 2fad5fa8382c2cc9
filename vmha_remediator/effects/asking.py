# SPDX-License-Identifier: Apache-2.0
"""Plain requests to a service of the catalogue; every failure is one of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from openstack.connection import Connection

from vmha_remediator.effects import nova_parse as parse
from vmha_remediator.errors import MALFORMED, CloudRefused, CloudUnavailable

P = ParamSpec("P")
R = TypeVar("R")

#: Who is asked, by the name of its client.
NAMES: Mapping[str, str] = {
    "compute": "Nova", "image": "Glance", "network": "Neutron", "placement": "Placement",
}  # fmt: skip

#: Placement's providers have parents from here on (2018, Queens).
PLACEMENT_VERSION = "1.14"


def understood(read: Callable[P, R]) -> Callable[P, R]:
    """Turn an answer of another shape into `CloudUnavailable`: something else answers there."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return read(*args, **kwargs)
        except MALFORMED as exc:
            raise CloudUnavailable(
                f"{type(args[0]).__name__} answered something unexpected "
                f"({read.__name__}): {type(exc).__name__}: {exc}"
            ) from exc

    return reading


class Asking:
    """Asks services over openstacksdk's session, catalogue and version discovery."""

    def __init__(self, connection: Connection, timeout: float) -> None:
        self._cloud = connection
        self._timeout = timeout

    def _request(self, service: str, method: str, path: str, **options: Any) -> Any:
        """Return the answer of `service`, whatever its status; raises `CloudUnavailable`."""
        what = f"{method} {path.split('?')[0]}"
        with parse.translated(NAMES[service], what):
            return getattr(self._cloud, service).request(
                path,
                method,
                raise_exc=False,
                timeout=self._timeout,
                # The engine's next cycle is the retry. openstacksdk asks a Glance that
                # answers 503 six times, over 15 s, for each image.
                status_code_retries=0,
                headers={"Accept": "application/json"},
                **options,
            )

    def _body(self, response: Any, service: str = "compute") -> Any:
        """Return what a good answer holds; raises `CloudRefused` or `CloudUnavailable`."""
        status, text = response.status_code, parse.message(response)
        what = f"{response.request.method} {response.request.path_url.split('?')[0]}"
        if status >= 500 or status in (401, 408, 413, 429):
            raise CloudUnavailable(f"{NAMES[service]} failed ({what}): {status} {text}")
        if status >= 400:
            raise CloudRefused(f"{what}: {status} {text}")
        if not response.content:
            return {}
        try:
            return response.json()
        except ValueError as exc:
            if status == 202:
                return {}
            raise CloudUnavailable(
                f"{NAMES[service]} answered something unexpected ({what}): it is not JSON"
            ) from exc
