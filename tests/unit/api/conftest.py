# SPDX-License-Identifier: Apache-2.0
"""A configuration with a key, and a bell that remembers who rang it."""

from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg

from vmha_remediator import conf as config
from vmha_remediator.api import problem
from vmha_remediator.errors import VmhaError
from vmha_remediator.rules import signing

KEY = b"0123456789abcdef0123456789abcdef"


class Bell:
    """Stands for the store: remembers each (rule, host), or cannot be reached."""

    def __init__(self) -> None:
        self.rung: list[tuple[str, str]] = []
        self.trouble: VmhaError | None = None

    def ring(self, rule: str, host: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.rung.append((rule, host))


def path(rule: str, host: str, key: bytes = KEY) -> str:
    """Return the path and query that an alarm of `rule` on `host` calls."""
    return signing.webhook_url("", key, rule, host)


@pytest.fixture
def conf(tmp_path: Path) -> cfg.ConfigOpts:
    key = tmp_path / "webhook.key"
    key.write_bytes(KEY + b"\n")
    loaded = config.load(config_files=[])
    loaded.set_override("key_file", str(key), group="webhook")
    loaded.set_override("port", 0, group="api")
    return loaded


@pytest.fixture(autouse=True)
def every_refusal_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test use up the lines of another one."""
    monkeypatch.setattr(problem, "_QUOTA", problem.Quota())


@pytest.fixture
def bell() -> Bell:
    return Bell()
