# SPDX-License-Identifier: Apache-2.0
"""What the lab's cloud holds from the start: users, catalogue, image, flavors."""

from __future__ import annotations

from typing import Any

from tests.lab import layout, settings
from tests.lab.credentials import SERVICE_USERS, passwords
from tests.lab.services import cloudapi
from tests.lab.services.databases import run_tool

#: Service name -> (type, path of its endpoint).
CATALOGUE = {
    "placement": ("placement", ""),
    "glance": ("image", ""),
    "neutron": ("network", ""),
    "nova": ("compute", "/v2.1"),
    "gnocchi": ("metric", ""),
    "aodh": ("alarming", ""),
    "vmha": ("vmha", ""),
}
INTERFACES = ("public", "internal", "admin")

IMAGE = "tiny"
#: Name -> (MiB of memory, VCPUs, GiB of disk).
FLAVORS = {"m1.tiny": (64, 1, 1), "m1.small": (256, 1, 1)}


def bootstrap() -> str:
    """Make Keystone's administrator, roles and its own endpoints."""
    stamp = layout.STATE / "keystone/bootstrapped"
    if stamp.exists():
        return "is there"
    url = f"{layout.url('keystone')}/v3"
    run_tool(
        ["keystone-manage", f"--config-file={layout.ETC / 'keystone/keystone.conf'}", "bootstrap"],
        env={
            "OS_BOOTSTRAP_PASSWORD": passwords()["admin"],
            "OS_BOOTSTRAP_REGION_ID": settings.REGION,
            **{f"OS_BOOTSTRAP_{interface.upper()}_URL": url for interface in INTERFACES},
        },
    )
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.touch()
    return "made"


def identity() -> str:
    """Make the projects, the users with their roles, and the catalogue."""
    cloud = cloudapi.connect().identity
    roles = {role.name: role.id for role in cloud.roles()}
    domain = cloud.find_domain("Default", ignore_missing=False).id
    projects = {name: _project(cloud, domain, name) for name in ("service", "demo")}
    users = {user.name: user.id for user in cloud.users()}
    for name in SERVICE_USERS:
        user = users.get(name) or _user(cloud, domain, name)
        # admin: evacuate, os-services and reset-state are the administrator's; service: a
        # token that stands behind a user's own, in case that one ends in between.
        for role in ("admin", "service"):
            cloud.assign_project_role_to_user(projects["service"], user, roles[role])
    demo = users.get("demo") or _user(cloud, domain, "demo")
    cloud.assign_project_role_to_user(projects["demo"], demo, roles["member"])
    cloud.assign_project_role_to_user(projects["demo"], users["admin"], roles["admin"])
    made = _catalogue(cloud)
    cloudapi.connect.cache_clear()  # its token came with the catalogue as it was before
    return f"{len(SERVICE_USERS) + 2} users, {made} new endpoints"


def image() -> str:
    """Make the image of every guest: the driver only looks at its name."""
    cloud = cloudapi.connect().image
    if cloud.find_image(IMAGE):
        return "is there"
    cloud.create_image(
        IMAGE,
        data=bytes(1024),
        disk_format="raw",
        container_format="bare",
        visibility="public",
        wait=True,
        validate_checksum=False,
    )
    return "made"


def flavors() -> str:
    """Make the flavors."""
    cloud = cloudapi.connect().compute
    known = {flavor.name for flavor in cloud.flavors()}
    for name, (ram, vcpus, disk) in FLAVORS.items():
        if name not in known:
            cloud.create_flavor(name=name, ram=ram, vcpus=vcpus, disk=disk)
    return ", ".join(FLAVORS)


def _project(cloud: Any, domain: str, name: str) -> str:
    found = cloud.find_project(name, domain_id=domain)
    made = found or cloud.create_project(name=name, domain_id=domain)
    return str(made.id)


def _user(cloud: Any, domain: str, name: str) -> str:
    made = cloud.create_user(name=name, domain_id=domain, password=passwords()[name])
    return str(made.id)


def _catalogue(cloud: Any) -> int:
    services = {service.name: service.id for service in cloud.services()}
    known = {(e.service_id, e.interface) for e in cloud.endpoints()}
    made = 0
    for name, (kind, path) in CATALOGUE.items():
        service = services.get(name) or cloud.create_service(name=name, type=kind).id
        for interface in INTERFACES:
            if (service, interface) in known:
                continue
            cloud.create_endpoint(
                service_id=service,
                interface=interface,
                url=layout.url(name) + path,
                region_id=settings.REGION,
            )
            made += 1
    return made
