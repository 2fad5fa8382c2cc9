# SPDX-License-Identifier: Apache-2.0
"""Which lease driver is configured."""

from __future__ import annotations

from typing import Any

from vmha_pollsters.conf import no_driver
from vmha_pollsters.lease.contract import LeaseDriver
from vmha_pollsters.lease.slots import SlotsLease


def load_driver(settings: Any) -> LeaseDriver:
    """Return the lease driver named in the configuration; raises `ConfigError`."""
    if settings.lease_driver == SlotsLease.name:  # spares the scan of every installed package
        return SlotsLease(settings)
    from stevedore import driver, exception

    try:
        manager = driver.DriverManager(
            "vmha.lease", settings.lease_driver, invoke_on_load=True, invoke_args=(settings,)
        )
    except exception.NoMatches as exc:
        raise no_driver("lease_driver", settings.lease_driver, "vmha.lease") from exc
    loaded: LeaseDriver = manager.driver
    return loaded
