# SPDX-License-Identifier: Apache-2.0
"""A person's view of the lab's cloud: one logged-in connection a user, shared in a process."""

from __future__ import annotations

from functools import cache
from typing import Any

import openstack
from keystoneauth1 import exceptions as ks_exc

from tests.lab import config
from tests.lab.errors import LabError

#: What a call through `connect` may raise, beside `LabError`.
FAILURES = (ks_exc.ClientException, openstack.exceptions.SDKException)


@cache
def connect(cloud: str = "lab-admin") -> Any:
    """Return an openstacksdk connection for a cloud of the lab's clouds.yaml."""
    known = config.clouds()
    if cloud not in known:
        raise LabError(f"no cloud {cloud!r} in the lab: {', '.join(known)}")
    region = openstack.config.OpenStackConfig(load_yaml_config=False, load_envvars=False).get_one(
        **known[cloud]
    )  # type: ignore[arg-type]
    return openstack.connection.Connection(config=region)


def admin_headers() -> dict[str, str]:
    """Return the headers of an administrator's request; raises `LabError` without Keystone."""
    try:
        return {"X-Auth-Token": connect().auth_token}
    except FAILURES as exc:
        raise LabError(f"Keystone gives no token: {exc}") from exc
