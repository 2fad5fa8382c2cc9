# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser without a window; one at a time, Playwright's loop stands for no second."""
    path = shutil.which("chromium")
    assert path, "install Debian's chromium: it is in tests/lab/debian-packages.txt"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()
