# SPDX-License-Identifier: Apache-2.0
"""A lab folder of the test's own: nothing here touches a lab that runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import credentials, layout


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Point the layout at an empty folder and return it."""
    for name, folder in (("LAB", ""), ("ETC", "etc"), ("RUN", "run"), ("LOGS", "log"),
                         ("STATE", "state"), ("STORAGE", "storage")):  # fmt: skip
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.setattr(layout, name, tmp_path / folder)
    credentials.passwords.cache_clear()
    yield tmp_path
    credentials.passwords.cache_clear()
