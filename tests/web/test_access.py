# SPDX-License-Identifier: Apache-2.0
"""The page for everybody: by eye in light and dark, by keyboard, on a phone, without scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.unit.api.cloud import WELL, Cloud
from tests.unit.api.served import cloud, conf, server, store
from tests.web import pictures
from tests.web.test_page import held
from vmha_remediator.api.server import ApiServer
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.store import Store

__all__ = ["cloud", "conf", "server", "store"]  # fixtures

DESK, PHONE, NARROW = 1120, 390, 320  # px; the last is what WCAG 1.4.10 asks for
#: What is hard to see or to hit, by WCAG 2.2 AA: text below 4.5 to 1 on its background (1.4.3), a
#: field's or button's edge below 3 to 1 (1.4.11), a target of less than 24 pixels, its label
#: included (2.5.8), and what is wider than the window (1.4.10).
FAULTS = """() => {
  const rgb = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((value) => {
      const c = value / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [less, more] = [light(one), light(other)].sort((a, b) => a - b);
    return (more + 0.05) / (less + 0.05);
  };
  const behind = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const colour = rgb(getComputedStyle(n).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return rgb(getComputedStyle(document.body).backgroundColor);
  };
  const found = [];
  const name = (node) => `${node.tagName} ${node.name || node.textContent.trim().slice(0, 30)}`;
  for (const node of document.querySelectorAll("body *")) {
    if (!node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const words = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (words && ratio(rgb(style.color), behind(node)) < 4.5) found.push(`text: ${name(node)}`);
    if (node.matches("input:not([type=radio]), button")) {
      const edge = rgb(style.borderTopColor);
      if (ratio(edge, behind(node.parentElement)) < 3) found.push(`edge: ${name(node)}`);
    }
    if (node.placeholder
        && ratio(rgb(getComputedStyle(node, "::placeholder").color), behind(node)) < 4.5) {
      found.push(`placeholder: ${name(node)}`);
    }
    if (node.matches("input, button, summary")) {
      const box = (node.type === "radio" ? node.parentElement : node).getBoundingClientRect();
      if (Math.min(box.width, box.height) < 24) found.push(`small: ${name(node)}`);
    }
    if (node.getBoundingClientRect().right > innerWidth && !node.closest(".wide")) {
      found.push(`cut off: ${name(node)}`);
    }
  }
  return found;
}"""


def status(page: Page) -> None:
    page.locator("#problems li").first.wait_for()
    for line in page.locator("summary").all():
        line.click()


def asking(page: Page) -> None:
    page.get_by_role("button", name="Release ...").click()
    page.get_by_label("Type the host's name").fill("another")
    page.keyboard.press("Enter")
    expect(page.locator("#sure-error")).to_contain_text("nothing was done")


def logging_in(page: Page) -> None:
    page.route("**/v1/**", lambda route: route.fulfill(status=401, body="{}"))
    expect(page.locator("#login")).to_be_visible()


SIGHTS: list[Callable[[Page], None]] = [status, asking, logging_in]


@pytest.fixture(scope="module")
def made_up() -> Iterator[ApiServer]:
    """The cloud of the documents' pictures: everything that the page can show is on it."""
    with pictures.serving() as api:
        yield api


@pytest.mark.parametrize("width", [DESK, PHONE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_and_hit(
    made_up: ApiServer, browser: Browser, scheme: str, width: int
) -> None:
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{made_up.port}",
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 800},
    )
    page = context.new_page()
    page.goto("/ui/")
    for sight in SIGHTS:
        sight(page)
        assert page.evaluate(FAULTS) == [], sight.__name__
    context.close()


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the button of that name has the focus."""
    button = page.get_by_role("button", name=name)
    expect(button).to_be_visible()
    for _ in range(20):
        page.keyboard.press("Tab")
        if button.evaluate("node => node === document.activeElement"):
            return
    pytest.fail(f"Tab does not lead to {name!r}")


def focused(page: Page) -> str:
    found: str = page.evaluate("document.activeElement.dataset.key ?? document.activeElement.id")
    return found


def test_who_thinks_better_of_it_is_where_they_were(page: Page, store: Store) -> None:
    """Also when the button has been drawn anew behind the question."""
    number = held(store)
    tab_to(page, "Release ...")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Type the host's name")).to_be_focused()
    epoch = store.claim_epoch("engine-1")
    step = store.begin_step(store.incident(number), "fence", "fence h2: ipmi", epoch=epoch)
    store.finish_step(step, False, "no answer")
    expect(page.locator("#held")).to_contain_text("no answer")
    page.keyboard.press("Escape")
    expect(page.locator("#sure")).to_be_hidden()
    assert focused(page) == f"release-{number}"
    assert not store.incident(number).released_by


def test_when_the_button_goes_the_focus_is_not_lost(
    page: Page, store: Store, cloud: Cloud
) -> None:
    number = held(store)
    tab_to(page, "Release ...")
    cloud.measures["h2"] = WELL
    epoch = store.claim_epoch("engine-1")
    store.move(store.incident(number), S.CLEARED, "it is well again", epoch=epoch)
    expect(page.locator("#held-section")).to_be_hidden()
    assert focused(page) == "main"


def test_the_skip_link_leads_past_the_head(page: Page) -> None:
    expect(page.locator("#hosts tr")).to_have_count(3)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the status")).to_be_focused()
    page.keyboard.press("Enter")
    assert focused(page) == "main"


def test_on_a_phone_a_table_is_still_one_for_screen_readers(
    browser: Browser, server: ApiServer
) -> None:
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{server.port}", viewport={"width": PHONE, "height": 800}
    )
    page = context.new_page()
    page.goto("/ui/")
    expect(page.locator("#hosts tr")).to_have_count(3)
    tree = context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    roles = [n["role"]["value"] for n in tree["nodes"] if not n["ignored"]]
    assert roles.count("rowheader") == 3
    assert roles.count("columnheader") == 8
    assert roles.count("cell") == 3 * 7
    context.close()


def test_without_scripts_it_says_which_commands_tell_the_same(
    browser: Browser, server: ApiServer
) -> None:
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{server.port}", java_script_enabled=False
    )
    page = context.new_page()
    page.goto("/ui/")
    commands = page.locator("noscript code")
    expect(commands.first).to_be_visible()
    expect(commands.first).to_have_text("openstack vmha incident list")
    expect(page.locator("body")).not_to_contain_text("Loading")
    context.close()
