# SPDX-License-Identifier: Apache-2.0
"""Every service of the controller, in the order in which a person would start them."""

from __future__ import annotations

from tests.lab.errors import LabError
from tests.lab.services import heat, infra, openstack, vmha
from tests.lab.services.base import Service

CLOUD: tuple[Service, ...] = infra.SERVICES + openstack.SERVICES
ALL: tuple[Service, ...] = CLOUD + vmha.SERVICES
#: Not started by `up`, and missed by nobody when they do not run.
OPTIONAL: tuple[Service, ...] = (*heat.SERVICES, vmha.SECOND)


def lookup(name: str) -> Service | None:
    """Return a service of the controller, None if there is none of that name."""
    return next((service for service in ALL + OPTIONAL if service.name == name), None)


def find(name: str) -> Service:
    """Return a service of the controller; raises `LabError` listing those there are."""
    if (service := lookup(name)) is None:
        known = ", ".join(service.name for service in ALL + OPTIONAL)
        raise LabError(f"no service {name!r} on the controller; there are: {known}")
    return service
