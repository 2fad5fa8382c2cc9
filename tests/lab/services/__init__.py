# SPDX-License-Identifier: Apache-2.0
"""Every service of the controller, in the order in which a person would start them."""

from __future__ import annotations

from tests.lab.errors import LabError
from tests.lab.services import infra, openstack
from tests.lab.services.base import Service

CLOUD: tuple[Service, ...] = infra.SERVICES + openstack.SERVICES


def find(name: str) -> Service:
    """Return a service of the controller; raises `LabError` listing those there are."""
    known = {service.name: service for service in CLOUD}
    if name not in known:
        raise LabError(f"no service {name!r} on the controller; there are: {', '.join(known)}")
    return known[name]
