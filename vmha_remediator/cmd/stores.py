# SPDX-License-Identifier: Apache-2.0
"""The store, for a verb that needs it: `--help` is quick without SQLAlchemy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oslo_config import cfg

    from vmha_remediator.store import Store


def to_write(conf: cfg.ConfigOpts) -> Store:
    """Return the store as a service opens it; raises `StoreUnavailable` or `ConfigError`."""
    from vmha_remediator.store import open_store

    return open_store(conf)


def to_read(conf: cfg.ConfigOpts) -> Store:
    """Return the store as it is; raises `StoreUnavailable` or `ConfigError`."""
    from vmha_remediator.store import store_to_read

    return store_to_read(conf)
