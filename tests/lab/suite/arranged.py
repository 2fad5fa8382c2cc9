# SPDX-License-Identifier: Apache-2.0
"""What a test has for a while: servers of its own, and hosts that the scheduler leaves out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.lab import boot, nova_api
from tests.lab.services import cloudapi
from tests.lab.suite import odd
from tests.lab.watch import Condition, runs_well

WHY = "new disks"

#: For one of two tests of the same thing; doc/source/contributor/lab.rst says what runs by day.
nightly = pytest.mark.skipif(
    "VMHA_NIGHTLY" not in os.environ, reason="left for 'make nightly', which runs everything"
)


def usual(*tags: str) -> dict[str, Any]:
    """Return what is asked of Nova for a server like the lab's own."""
    cloud = cloudapi.connect()
    flavor, image = cloud.compute.find_flavor(boot.FLAVOR), cloud.image.find_image(boot.IMAGE)
    return {"flavorRef": str(flavor.id), "imageRef": str(image.id), "tags": list(tags)}


@contextmanager
def servers(host: str, wanted: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Have servers booted on a host; yield their ids by name, and delete them in the end."""
    made = {
        name: str(
            nova_api.post(
                "/servers",
                {"server": {"name": name, "networks": "none", "host": host, **fields}},
            )["server"]["id"]
        )
        for name, fields in wanted.items()
    }
    try:
        yield made
    finally:
        odd.delete(made.values())


def all_run(vms: Iterable[str]) -> Condition:
    """Return a condition: each of `vms` runs well."""
    wanted = frozenset(vms)
    return lambda shot: wanted <= {vm.id for vm in shot.vms if runs_well(vm)}


@contextmanager
def out_of_use(*hosts: str) -> Iterator[None]:
    """Have the scheduler leave hosts out for a while, as an operator does."""
    with ExitStack() as stack:
        for host in hosts:
            stack.callback(nova_api.set_service, host, status="enabled")
            nova_api.set_service(host, status="disabled", disabled_reason=WHY)
        yield
