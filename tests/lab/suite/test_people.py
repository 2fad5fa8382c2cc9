# SPDX-License-Identifier: Apache-2.0
"""What people touch, on the real cloud: the API with real tokens, the commands, the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from playwright.sync_api import Page, expect

from tests.chromium import chromium
from tests.lab import config, hosts, layout, process
from tests.lab.credentials import passwords
from tests.lab.drill.outcome import RECOVERED
from tests.lab.suite.conftest import Cloud
from tests.lab.suite.test_failure import held_without_proof, recovered
from tests.lab.watch import both, incident_state, run_elsewhere

pytestmark = pytest.mark.lab

API = layout.url("vmha")
#: A folder for pictures of the page in a real failure, for the documentation.
PICTURES = "VMHA_PICTURES"


def ask(cloud: str, path: str) -> Any:
    """Return the answer that somebody of clouds.yaml gets from the API."""
    login = config.clouds()[cloud]
    assert isinstance(login, dict)
    session = Session(auth=v3.Password(**login["auth"]), timeout=30)
    return session.get(f"{API}{path}", raise_exc=False, timeout=30)


def run(*words: str, cloud: str = "lab-admin") -> subprocess.CompletedProcess[str]:
    """Run `openstack WORDS` as somebody of clouds.yaml."""
    environment = os.environ | {
        "OS_CLIENT_CONFIG_FILE": str(layout.ETC / "clouds.yaml"),
        "OS_CLOUD": cloud,
    }
    return subprocess.run(
        [str(layout.VENV_BIN / "openstack"), *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def page(cloud: Cloud) -> Iterator[Page]:
    """Yield the status page, logged in with the administrator's password."""
    with chromium() as browser:
        opened = browser.new_page()
        opened.goto(f"{API}/ui/")
        opened.get_by_label("User").fill("admin")
        opened.get_by_label("Password", exact=True).fill(passwords()["admin"])
        opened.get_by_label("Project").fill("admin")
        opened.get_by_role("button", name="Log in").click()
        yield opened


#: How the page is shown in a picture: colours, width and height in pixels.
VIEWS = {"light": ("light", 1100, 700), "dark": ("dark", 1100, 700), "phone": ("light", 390, 840)}


def picture(page: Page, name: str, *views: Literal["light", "dark", "phone"]) -> None:
    """Take pictures of the page as it is now, if anybody wants some."""
    folder = os.environ.get(PICTURES)
    for view in views if folder else ():
        scheme, width, height = VIEWS[view]
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.set_viewport_size({"width": width, "height": height})
        page.screenshot(path=f"{folder}/{name}-{view}.png", full_page=view != "phone")


def test_an_administrator_sees_every_host_and_a_customer_nothing(cloud: Cloud) -> None:
    answer = ask("lab-admin", "/v1/hosts")
    assert answer.status_code == 200
    seen = {host["host"]: host["state"] for host in answer.json()["hosts"]}
    assert seen == dict.fromkeys(layout.HOSTS, "well")

    refused = ask("lab-demo", "/v1/hosts")
    assert refused.status_code == 403
    assert "vmha:hosts:list" in refused.json()["error"]["reason"]


def test_the_commands_speak_to_the_catalogues_endpoint(cloud: Cloud) -> None:
    listed = run("vmha", "host", "list", "-f", "json")
    assert listed.returncode == 0, listed.stderr
    found = {host["Host"]: host["Protected VMs"] for host in json.loads(listed.stdout)}
    assert set(found) == set(layout.HOSTS)
    assert sum(found.values()) == sum(vm.tagged for vm in cloud.look().vms)

    refused = run("vmha", "host", "list", cloud="lab-demo")
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr


def test_capacity_is_read_from_placements_books(cloud: Cloud) -> None:
    """The answer is of the real Placement: as many VMs a host as Nova shows, and room for them."""
    tagged = Counter(vm.host for vm in cloud.look().vms if vm.tagged)

    def known() -> bool:
        """Tell whether the books have been read since the VMs of an earlier test came to rest."""
        hosts = ask("lab-admin", "/v1/capacity").json()["hosts"]
        return {h["host"]: h["protected"] for h in hosts} == dict(tagged)

    process.wait_for(known, "every host's VMs to be in the answer", 60.0, interval=1.0)
    answer = ask("lab-admin", "/v1/capacity").json()
    assert answer["fit"] == "fits", answer["says"]


def test_the_page_knows_the_master_and_its_witnesses(cloud: Cloud) -> None:
    answer = ask("lab-admin", "/v1/cluster").json()
    assert len(answer["masters"]) == 1
    assert len({*answer["masters"], *answer["witnesses"]}) == 3


def test_the_doctor_finds_nothing_wrong_with_the_cloud(cloud: Cloud) -> None:
    done = subprocess.run(
        [
            str(layout.VENV_BIN / "vmha-manage"),
            f"--config-file={layout.ETC}/vmha.conf",
            *("doctor", "--json", "--area", "services", "--area", "hosts"),
            *("--agent-socket", str(layout.host_dir(layout.HOSTS[0]) / "agent.sock")),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    wrong = [f for f in json.loads(done.stdout) if f["state"] != "ok"]
    assert wrong == []
    assert done.returncode == 0


def test_a_failure_is_followed_on_the_page_and_by_the_command(cloud: Cloud, page: Page) -> None:
    expect(page.locator("#summary")).to_contain_text(f"{len(layout.HOSTS)} of ", timeout=20_000)
    expect(page.locator("#summary")).to_contain_text("The agents' master is h")
    expect(page.locator("#capacity")).to_contain_text("one host can fail")
    picture(page, "well", "light")
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    hosts.kill(host)

    article = page.get_by_role("article", name=f"failure of {host}")
    expect(article.locator(".vms li").first).to_be_visible(timeout=60_000)
    picture(page, "recovering", "light", "phone")
    cloud.wait(
        both(incident_state(host, "failure", *RECOVERED), run_elsewhere(protected, host)),
        f"the protected VMs of {host} run elsewhere",
    )
    whole = f"{len(protected)} of {len(protected)} VM"
    expect(article).to_contain_text(whole, timeout=20_000)
    article.get_by_text("Time line and evidence").click()
    expect(article).to_contain_text("Proof: power is off (redfish)")
    picture(page, "failure", "light", "dark")

    number = cloud.observer.latest(host).id
    watched = run("vmha", "incident", "watch", str(number))
    assert watched.returncode == 0, watched.stderr
    assert re.search(r"^\+ *[0-9.]+ s fence: ", watched.stdout, re.MULTILINE)


def test_a_person_lets_a_held_failure_go_on_with_the_keyboard_alone(
    cloud: Cloud, page: Page
) -> None:
    """At a BMC that refuses: nothing moves until somebody has said that the host is off."""
    host = cloud.busiest()
    protected = cloud.tagged_on(host)
    held_without_proof(cloud, host)

    button = page.get_by_role("button", name="I have seen that it is off ...")
    expect(button).to_be_visible(timeout=20_000)
    picture(page, "held", "light", "dark", "phone")
    button.focus()
    page.keyboard.press("Enter")
    page.keyboard.type(host)
    page.keyboard.press("Enter")
    expect(page.locator("#sure")).to_be_hidden(timeout=20_000)
    recovered(cloud, host, protected)
    proof = cloud.observer.latest(host).proof
    assert proof is not None
    assert proof.driver == "manual"
    assert "admin" in proof.evidence
