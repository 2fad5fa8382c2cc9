# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium, driven by Playwright, before an API on a real port."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.unit.api.served import cloud, conf, server, store
from vmha_remediator.api.server import ApiServer

__all__ = ["cloud", "conf", "server", "store"]  # fixtures, for the tests of this folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "install Debian's chromium: it is in tests/lab/debian-packages.txt"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, server: ApiServer) -> Iterator[Page]:
    """A page that shows the status, and fails the test on any error of its own."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{server.port}")
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "console",
        lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None,
    )
    opened.goto("/ui/")
    yield opened
    context.close()
    assert errors == []
