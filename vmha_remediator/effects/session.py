# SPDX-License-Identifier: Apache-2.0
"""Keystone sessions from the [cloud] group."""

from __future__ import annotations

import threading
from typing import Any

import openstack
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import loading
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session
from oslo_config import cfg

from vmha_remediator.errors import ConfigError


class RenewingSession(Session):  # type: ignore[misc]
    """A session that logs in again for every request which a token's end has caught.

    With many requests under way keystoneauth repeats only the one that is the first to notice; it
    takes "somebody else has dropped the token" for "there is nothing to be done".
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._mine = threading.local()

    def get_auth_headers(
        self, auth: BaseAuthPlugin | None = None, **options: Any
    ) -> dict[str, str] | None:
        """Return the headers that log a request in; this thread's request uses them."""
        headers: dict[str, str] | None = super().get_auth_headers(auth, **options)
        self._mine.headers = headers or {}
        return headers

    def invalidate(self, auth: BaseAuthPlugin | None = None) -> bool:
        """Drop the token that this thread's request was refused with; it is sent once more.

        A newer one, for which another thread has logged in meanwhile, is kept.
        """
        access = getattr(auth or self.auth, "auth_ref", None)
        used = getattr(self._mine, "headers", {}).get("X-Auth-Token")
        if access is None or access.auth_token == used:
            super().invalidate(auth)
        return True


class _Loader(loading.session.Session):  # type: ignore[misc]
    @property
    def plugin_class(self) -> type[Session]:
        return RenewingSession


def make_session(conf: cfg.ConfigOpts) -> Session:
    """Return a keystoneauth session whose every request has a time-out ([cloud] timeout, s).

    Raises `ConfigError` when the authentication options are missing or do not fit together.
    """
    try:
        auth = loading.load_auth_from_conf_options(conf, "cloud")
    except (ks_exc.ClientException, cfg.Error) as exc:
        raise ConfigError(f"[cloud]: {exc}; set auth_type, auth_url and credentials") from exc
    if auth is None:
        raise ConfigError(
            "[cloud] auth_type is not set; set it to 'password' and give credentials"
        )
    return _Loader().load_from_conf_options(conf, "cloud", auth=auth)


def make_connection(
    conf: cfg.ConfigOpts, session: Session | None = None
) -> openstack.connection.Connection:
    """Return an openstacksdk connection over `session`, or over one of its own."""
    return openstack.connection.Connection(
        session=session or make_session(conf),
        region_name=conf.cloud.region_name,
        interface=conf.cloud.interface,
    )
