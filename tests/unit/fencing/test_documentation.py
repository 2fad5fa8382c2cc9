# SPDX-License-Identifier: Apache-2.0
"""The page names every setting of every driver, in the driver's own section."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmha_remediator.fencing.inventory import driver_classes

PAGE = Path(__file__).resolve().parents[3] / "doc" / "source" / "fencing.rst"
SETTINGS = [
    (name, setting.key) for name, cls in driver_classes().items() for setting in cls.SETTINGS
]


@pytest.mark.parametrize(("driver", "key"), SETTINGS, ids=lambda word: str(word))
def test_every_setting_is_in_the_page(driver: str, key: str) -> None:
    _, _, section = PAGE.read_text().partition(f"\n{driver}\n{'=' * len(driver)}\n")
    section = re.split(r"\n[^\n]+\n={3,}\n", section)[0]

    assert any(line.startswith(f"``{key}``") for line in section.splitlines())
