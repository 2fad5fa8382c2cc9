# SPDX-License-Identifier: Apache-2.0
"""A store on a SQLite file, as services open it."""

from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg

from vmha_remediator import conf as configuration
from vmha_remediator.store import Store, open_store


@pytest.fixture
def conf(tmp_path: Path) -> cfg.ConfigOpts:
    conf = configuration.load(config_files=[])
    conf.set_override("connection", f"sqlite:///{tmp_path}/new/vmha.sqlite", group="database")
    return conf


@pytest.fixture
def store(conf: cfg.ConfigOpts) -> Store:
    return open_store(conf)
