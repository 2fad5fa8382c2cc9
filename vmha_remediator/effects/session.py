# SPDX-License-Identifier: Apache-2.0
"""Keystone sessions from the [cloud] group."""

from __future__ import annotations

import openstack
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import loading
from keystoneauth1.session import Session
from oslo_config import cfg

from vmha_remediator.errors import ConfigError


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
    return loading.load_session_from_conf_options(conf, "cloud", auth=auth)


def make_connection(
    conf: cfg.ConfigOpts, session: Session | None = None
) -> openstack.connection.Connection:
    """Return an openstacksdk connection over `session`, or over one of its own."""
    return openstack.connection.Connection(
        session=session or make_session(conf),
        region_name=conf.cloud.region_name,
        interface=conf.cloud.interface,
    )
