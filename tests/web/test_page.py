# SPDX-License-Identifier: Apache-2.0
"""What a person sees at three in the morning, and what they can do."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.unit.api.cloud import WELL, Cloud, room, server
from vmha_remediator.api.server import ApiServer
from vmha_remediator.remedy.incident import ProofRecord, VmRecord, VmStatus
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.store import Store


def held(store: Store, held_by: str = "storm", advice: str = "look for a common cause") -> int:
    epoch = store.claim_epoch("engine-1")
    incident = store.open_incident(
        "h2", "failure", "recover", "critical", "h2 is silent on both paths", epoch=epoch
    )
    sentence = "3 of 4 hosts fail at once"
    store.move(incident, S.HELD, sentence, epoch=epoch, held_by=held_by, advice=advice)
    return incident.id


def test_every_host_with_each_path_in_words(page: Page) -> None:
    rows = page.locator("#hosts tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("heard 0.4 s ago")
    expect(rows.nth(0)).to_contain_text("well")
    expect(rows.nth(1)).to_contain_text("failure holds for h2")
    expect(rows.nth(2)).to_contain_text("Nobody measures it")
    expect(page.locator("#summary")).to_contain_text("1 of 3 hosts well, 1 not, 1 unknown.")
    expect(page.locator("#summary")).to_contain_text("The agents' master is h1.")
    expect(rows.nth(0).get_by_role("rowheader")).to_contain_text("master")
    expect(rows.nth(1).get_by_role("rowheader")).to_have_text("h2")


def test_a_change_shows_without_reloading(page: Page, cloud: Cloud) -> None:
    expect(page.locator("#hosts tr").nth(1)).to_contain_text("failure")
    cloud.measures["h2"] = WELL
    expect(page.locator("#summary")).to_contain_text("2 of 3 hosts well, 1 unknown.")


def test_a_held_incident_comes_first_and_says_what_to_do(page: Page, store: Store) -> None:
    number = held(store)
    says = "held for a person: 3 of 4 hosts fail at once. look for a common cause"
    store.note(number, says, epoch=store.claim_epoch("engine-1"))
    first = page.locator("main article").first
    expect(first).to_contain_text("3 of 4 hosts fail at once")
    expect(first).to_contain_text("To do: look for a common cause")
    assert first.inner_text().count("look for a common cause") == 1
    expect(first).to_contain_text(f"openstack vmha incident release {number}")
    expect(page).to_have_title("(1) waiting for a person")


def test_releasing_needs_the_hosts_name(page: Page, store: Store) -> None:
    number = held(store)
    page.get_by_role("button", name="Release ...").click()
    page.get_by_label("Type the host's name").fill("h1")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#sure-error")).to_contain_text("nothing was done")
    assert not store.incident(number).released_by

    page.get_by_label("Type the host's name").fill("h2")
    page.keyboard.press("Enter")
    expect(page.locator("#sure")).to_be_hidden()
    assert store.incident(number).released_by == "anybody on this machine"


def test_a_keyboard_is_enough(page: Page, store: Store) -> None:
    number = held(store)
    button = page.get_by_role("button", name="Release ...")
    expect(button).to_be_visible()
    for _ in range(20):
        page.keyboard.press("Tab")
        if button.evaluate("node => node === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.keyboard.type("h2")
    page.keyboard.press("Enter")
    expect(page.locator("#sure")).to_be_hidden()
    assert store.incident(number).released_by


def test_a_persons_word_where_fencing_found_no_proof(page: Page, store: Store) -> None:
    held(store, "no-proof", "look at its power light")
    page.get_by_role("button", name="I have seen that it is off ...").click()
    expect(page.locator("#sure-text")).to_contain_text("two copies of a VM write to one disk")
    page.get_by_label("Type the host's name").fill("h2")
    page.keyboard.press("Enter")
    expect(page.locator("#sure")).to_be_hidden()
    assert store.confirmation("h2") == "anybody on this machine confirmed that h2 is off"


def test_a_recovery_with_each_vm_and_its_time_line(page: Page, store: Store) -> None:
    epoch = store.claim_epoch("engine-1")
    incident = store.open_incident(
        "h2", "failure", "recover", "critical", "h2 is silent", epoch=epoch
    )
    proof = ProofRecord("redfish", "power is off", "PowerState is Off", 1.0)
    for state in (S.CONFIRMED, S.FENCING):
        incident = store.move(incident, state, f"now {state}", epoch=epoch)
    incident = store.move(incident, S.FENCED, "it is off", epoch=epoch, proof=proof)
    incident = store.move(incident, S.EVACUATING, "evacuating", epoch=epoch)
    vms = [
        VmRecord("id-1", "db", "h2", VmStatus.DONE, dest="h1"),
        VmRecord("id-2", "web", "h2", VmStatus.PENDING, reason="No valid host was found"),
    ]
    store.save_vms(incident, vms, epoch=epoch)
    store.finish_step(
        store.begin_step(incident, "force-down", "h2: force-down", epoch=epoch), True, "forced"
    )

    article = page.get_by_role("article", name="failure of h2")
    expect(article).to_contain_text("1 of 2 VMs back")
    expect(article).to_contain_text("db done on h1")
    expect(article).to_contain_text("web pending (No valid host was found)")
    article.get_by_text("Time line and evidence").click()
    expect(article).to_contain_text("Proof: power is off (redfish): PowerState is Off")
    expect(article).to_contain_text("forced")


def test_whether_any_one_host_can_fail(page: Page, cloud: Cloud) -> None:
    cloud.measures["h2"] = WELL
    expect(page.locator("#capacity")).to_contain_text("Any one host can fail")
    expect(page.locator("#rooms li")).to_have_count(0)
    cloud.rooms = {host: room(0) for host in cloud.rooms}
    expect(page.locator("#capacity")).to_contain_text("Not every host can fail: if h1 fails, 1 of")
    expect(page.locator("#rooms li")).to_have_count(2)
    expect(page.locator("#problems li").first).to_contain_text("has no room if h1 fails")
    cloud.away.add("placement")
    expect(page.locator("#capacity")).to_contain_text("Whether any one host can fail is not known")


def test_a_name_that_is_markup_stays_text(page: Page, cloud: Cloud) -> None:
    cloud.measures["<img src=x onerror=alert(1)>"] = WELL
    cloud.vms = (server("<script>alert(1)</script>", "h1", "vmha"),)
    expect(page.get_by_role("rowheader", name="<img src=x")).to_be_visible()
    expect(page.locator("main img, main script")).to_have_count(0)


@pytest.mark.parametrize(
    ("path", "status", "body", "says"),
    [
        ("hosts", 200, "<html>Welcome</html>", "does not understand"),
        ("hosts", 502, "<html>Bad Gateway</html>", "the API answers 502"),
        ("cluster", 200, "{}", "does not understand"),
        ("incidents?active=true&limit=100", 200, "[]", "does not understand"),
        ("cluster", 503, '{"error": null}', "the API answers 503"),
    ],
)
def test_what_something_else_answers_is_said_in_words(
    page: Page, path: str, status: int, body: str, says: str
) -> None:
    expect(page.locator("#hosts tr")).to_have_count(3)
    page.route(f"**/v1/{path}", lambda route: route.fulfill(status=status, body=body))
    expect(page.locator("#trouble")).to_contain_text("What you see is old: the API answers")
    expect(page.locator("#trouble")).to_contain_text(says)
    expect(page.locator("#trouble")).not_to_contain_text("undefined")


def test_when_the_api_goes_the_page_says_how_old_it_is(page: Page, server: ApiServer) -> None:
    expect(page.locator("#fresh")).to_have_text("Live")
    server.stop()
    expect(page.locator("#trouble")).to_contain_text(
        "What you see is old: the API does not answer"
    )
    expect(page.locator("#fresh")).to_contain_text("As of", timeout=15_000)
    expect(page.locator("#hosts tr")).to_have_count(3)


def test_on_a_phone_nothing_is_cut_off(browser: Browser, server: ApiServer, store: Store) -> None:
    held(store)
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{server.port}", viewport={"width": 360, "height": 740}
    )
    phone = context.new_page()
    phone.goto("/ui/")
    expect(phone.get_by_role("button", name="Release ...")).to_be_visible()
    expect(phone.locator("#hosts tr").first).to_contain_text("well")
    wide = phone.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert not wide
    context.close()
