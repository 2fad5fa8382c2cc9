# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the API on a real port of loopback, over a small cloud and a store of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from oslo_config import cfg

from tests.unit.api.cloud import Cloud
from vmha_remediator import conf as config
from vmha_remediator.api.app import create_app
from vmha_remediator.api.backend import Backend
from vmha_remediator.api.server import ApiServer
from vmha_remediator.rules.model import Thresholds
from vmha_remediator.store import Store, open_store


def settings(folder: Path) -> cfg.ConfigOpts:
    """Return a configuration whose key and database are in `folder`."""
    (folder / "webhook.key").write_bytes(b"0123456789abcdef")
    loaded = config.load(config_files=[])
    loaded.set_override("key_file", str(folder / "webhook.key"), group="webhook")
    loaded.set_override("connection", f"sqlite:///{folder}/vmha.sqlite", group="database")
    loaded.set_override("port", 0, group="api")
    loaded.set_override("auth_strategy", "noauth", group="api")
    return loaded


@contextmanager
def serve(
    conf: cfg.ConfigOpts, store: Store, cloud: Cloud, clock: Callable[[], float]
) -> Iterator[ApiServer]:
    """Serve the API over this cloud; what rings is not heard."""
    backend = Backend(store, cloud, clock, lambda agents: Thresholds())
    running = ApiServer(create_app(conf, lambda rule, host: None, backend=backend), conf)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def conf(tmp_path: Path) -> cfg.ConfigOpts:
    return settings(tmp_path)


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def store(conf: cfg.ConfigOpts) -> Iterator[Store]:
    opened = open_store(conf)
    yield opened
    opened.close()


@pytest.fixture
def server(conf: cfg.ConfigOpts, store: Store, cloud: Cloud) -> Iterator[ApiServer]:
    with serve(conf, store, cloud, lambda: 2000.0) as running:
        yield running
