# SPDX-License-Identifier: Apache-2.0
"""Where packets are lost: on the way in at the host, on the way out at its port in the switch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import net
from tests.lab.errors import LabError

Scripts = list[tuple[str, str]]  # where ("switch" or a host), nft's script


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Scripts:
    given: Scripts = []

    def run(*command: str, stdin: str | None = None) -> str:
        inside = command[0] == "nsenter"
        where = command[1].rpartition("vmha-")[2] if inside else "switch"
        given.append((where, stdin or ""))
        return ""

    monkeypatch.setattr(net, "_run", run)
    monkeypatch.setattr(net, "present", lambda host: True)
    return given


def rules(scripts: Scripts) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for where, script in scripts:
        added = [line for line in script.splitlines() if line.startswith("add rule")]
        found.setdefault(where, []).extend(line.split(" ", 5)[5] for line in added)
    return found


def test_a_sender_is_not_told_that_its_packets_are_lost(scripts: Scripts) -> None:
    net.cut("h2", inbound=False)
    assert rules(scripts) == {"switch": ["ether type != arp drop"]}
    assert 'hook ingress device "vh-h2"' in scripts[0][1]


def test_what_comes_in_is_lost_at_the_host(scripts: Scripts) -> None:
    net.cut("h2", outbound=False)
    assert rules(scripts) == {"h2": ['iifname != "lo" drop']}


def test_two_that_are_parted_lose_what_the_other_sends(scripts: Scripts) -> None:
    net.part("h1", "h3")
    found = rules(scripts)
    assert found["h1"] == ["ip saddr { 10.77.0.13 } drop"]
    assert found["h3"] == ["ip saddr { 10.77.0.11 } drop"]
    assert found["switch"] == []


@pytest.mark.parametrize(("shared", "beside"), [(False, True), (True, False)])
def test_only_the_first_side_keeps_the_controller_unless_all_share_it(
    scripts: Scripts, shared: bool, beside: bool
) -> None:
    net.partition([("h1", "h2"), ("h3", "h4")], shared=shared)
    found: dict[str, Any] = rules(scripts)
    assert found["h1"] == ["ip saddr { 10.77.0.13, 10.77.0.14 } drop"]
    assert ("10.77.0.1, 10.77.0.254" in found["h4"][0]) is beside
    assert found["switch"] == (["ip daddr { 10.77.0.1, 10.77.0.254 } drop"] * 2 if beside else [])


def test_a_host_on_two_sides_is_refused(scripts: Scripts) -> None:
    with pytest.raises(LabError, match="h2: a host can be on one side"):
        net.partition([("h1", "h2"), ("h2", "h3")])
