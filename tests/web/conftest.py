# SPDX-License-Identifier: Apache-2.0
"""A browser before an API on a real port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.chromium import chromium
from tests.unit.api.served import cloud, conf, server, store
from vmha_remediator.api.server import ApiServer

__all__ = ["cloud", "conf", "server", "store"]  # fixtures, for the tests of this folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the module, and closed after it: the lab's tests start their own."""
    with chromium() as opened:
        yield opened


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
