# SPDX-License-Identifier: Apache-2.0
"""The remediator as its operator handles it: commands, a restart, other settings."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab import config, layout, process, services
from tests.lab.services import base
from tests.lab.settings import Settings


def manage(*words: str) -> str:
    """Run vmha-manage as an operator does and return what it prints."""
    done = subprocess.run(
        [f"{layout.VENV_BIN}/vmha-manage", "--config-file", f"{layout.ETC}/vmha.conf", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def crash() -> None:
    """Kill the remediator where it stands, and start it again."""
    process.kill("remediator")
    base.start(services.find("remediator"))


@contextmanager
def otherwise(table: Settings) -> Iterator[None]:
    """Run the remediator with other settings for a while."""
    _restart(table)
    try:
        yield
    finally:
        _restart({})


def _restart(table: Settings) -> None:
    config.vmha_otherwise(table)
    base.stop(services.find("remediator"))
    base.start(services.find("remediator"))
