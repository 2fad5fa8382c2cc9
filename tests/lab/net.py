# SPDX-License-Identifier: Apache-2.0
"""The lab's network: a bridge, a namespace a host, and faults as nftables rules in it.

A fault is what nft says in the host's own namespace (table `vmha_fault`), never a file: what
is listed there is what happens to the packets.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.lab import layout
from tests.lab.errors import LabError

TABLE = "vmha_fault"
NIC = "eth0"  # the host's interface, inside its namespace
_TIMEOUT = 20.0  # s; each command takes milliseconds

#: Which hook a chain sits on; a fault owns its chains, so setting it again replaces it.
_CHAINS = {
    "cut_in": "input",
    "cut_out": "output",
    "loss_in": "input",
    "loss_out": "output",
    "partition_in": "input",
    "partition_out": "output",
}
_DROP_ALL = {"cut_in": 'iifname != "lo" drop', "cut_out": 'oifname != "lo" drop'}


def port(host: str) -> str:
    """Return the name of the host's port on the bridge."""
    return f"vh-{host}"


def bridge_up() -> None:
    """Make the bridge with the controller's and the gateway's address; idempotent."""
    if not _exists(layout.BRIDGE):
        _run("ip", "link", "add", layout.BRIDGE, "type", "bridge")
    for address in (layout.CONTROLLER, layout.GATEWAY):
        _run("ip", "address", "replace", f"{address}/{layout.PREFIX}", "dev", layout.BRIDGE)
    _run("ip", "link", "set", layout.BRIDGE, "up")


def bridge_down() -> None:
    """Remove the bridge; idempotent."""
    if _exists(layout.BRIDGE):
        _run("ip", "link", "delete", layout.BRIDGE)


def gateway(answers: bool) -> None:
    """Let the gateway answer or fall silent, the rest of the network staying well."""
    verb = "replace" if answers else "delete"
    address = f"{layout.GATEWAY}/{layout.PREFIX}"
    if answers or layout.GATEWAY in _run("ip", "-o", "address", "show", "dev", layout.BRIDGE):
        _run("ip", "address", verb, address, "dev", layout.BRIDGE)


def host_up(host: str) -> None:
    """Make a host's namespace afresh, with its address and default route, and no fault."""
    host_down(host)
    space, outside = layout.netns(host), port(host)
    address = f"{layout.HOST_ADDRESS[host]}/{layout.PREFIX}"
    _run("ip", "netns", "add", space)
    _run("ip", "link", "add", outside, "type", "veth", "peer", "name", NIC, "netns", space)
    _run("ip", "link", "set", outside, "master", layout.BRIDGE, "up")
    script = (
        "link set lo up",
        f"address add {address} dev {NIC}",
        f"link set {NIC} up",
        f"route add default via {layout.GATEWAY}",
    )
    _run("ip", "-netns", space, "-batch", "-", stdin="\n".join(script) + "\n")


def host_down(host: str) -> None:
    """Remove a host's namespace and its port, with every connection in it; idempotent."""
    if _exists(port(host)):
        _run("ip", "link", "delete", port(host))
    if present(host):
        _run("ip", "netns", "delete", layout.netns(host))


def present(host: str) -> bool:
    """Return whether the host has its namespace."""
    return Path("/run/netns", layout.netns(host)).exists()


def silence(host: str) -> None:
    """Unplug the host's cable at the switch; its connections stay as they are."""
    if _exists(port(host)):
        _run("ip", "link", "set", port(host), "down")


def unsilence(host: str) -> None:
    """Plug the host's cable in again."""
    _run("ip", "link", "set", port(host), "up")


def cut(host: str, inbound: bool = True, outbound: bool = True) -> None:
    """Drop all that comes into and/or leaves the host's network interface."""
    if inbound:
        _set(host, "cut_in", [_DROP_ALL["cut_in"]])
    if outbound:
        _set(host, "cut_out", [_DROP_ALL["cut_out"]])


def loss(host: str, percent: int) -> None:
    """Lose `percent` of the packets that come in, and as many of those that go out."""
    if not 0 <= percent <= 100:
        raise LabError(f"a loss of {percent} % cannot be: say 0 to 100")
    die = f"numgen random mod 100 < {percent} drop"
    _set(host, "loss_in", [f'iifname != "lo" {die}'])
    _set(host, "loss_out", [f'oifname != "lo" {die}'])


def partition(groups: Sequence[Sequence[str]]) -> None:
    """Keep hosts of different groups from each other.

    The first group keeps the controller and the gateway; the others lose them too, as if those
    stood beside the first group's switch. A host that is in no group is left as it is.
    """
    names = [host for group in groups for host in group]
    twice = sorted({host for host in names if names.count(host) > 1})
    if twice:
        raise LabError(f"{', '.join(twice)}: a host can be on one side of a partition only")
    for index, group in enumerate(groups):
        others = [layout.HOST_ADDRESS[h] for other in groups if other is not group for h in other]
        lost = others + ([layout.CONTROLLER, layout.GATEWAY] if index else [])
        addresses = "{ " + ", ".join(lost) + " }"
        for host in group:
            _set(host, "partition_in", [f"ip saddr {addresses} drop"] if lost else [])
            _set(host, "partition_out", [f"ip daddr {addresses} drop"] if lost else [])


def heal(host: str) -> None:
    """Take every network fault off a host (not its power, nor a freeze)."""
    if present(host):
        _nft(host, f"add table inet {TABLE}\ndelete table inet {TABLE}\n")


def faults(host: str) -> list[str]:
    """Return the network faults of a host as nft states them, such as `cut_in`, `loss_out`."""
    if not present(host):
        return []
    listing = json.loads(_in_namespace(host, ["nft", "-j", "list", "ruleset"]))
    found = [entry["rule"] for entry in listing["nftables"] if "rule" in entry]
    return sorted({rule["chain"] for rule in found if rule["table"] == TABLE})


def _set(host: str, chain: str, rules: Sequence[str]) -> None:
    if not present(host):
        raise LabError(f"{host} has no network: it is off (see 'revive')")
    hook = _CHAINS[chain]
    lines = [
        f"add table inet {TABLE}",
        f"add chain inet {TABLE} {chain} {{ type filter hook {hook} priority -300; }}",
        f"flush chain inet {TABLE} {chain}",
        *(f"add rule inet {TABLE} {chain} {rule}" for rule in rules),
    ]
    _nft(host, "\n".join(lines) + "\n")


def _nft(host: str, script: str) -> None:
    _in_namespace(host, ["nft", "-f", "-"], script)


def _in_namespace(host: str, command: Sequence[str], stdin: str | None = None) -> str:
    return _run("nsenter", f"--net=/run/netns/{layout.netns(host)}", *command, stdin=stdin)


def _exists(interface: str) -> bool:
    return Path("/sys/class/net", interface).exists()


def _run(*command: str, stdin: str | None = None) -> str:
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT, check=True
        )
    except FileNotFoundError as exc:
        raise LabError(f"{command[0]} is missing: python -m tests.lab packages") from exc
    except subprocess.TimeoutExpired as exc:
        raise LabError(f"'{' '.join(command)}' did not end within {_TIMEOUT:g} s") from exc
    except subprocess.CalledProcessError as exc:
        said = (exc.stderr or exc.stdout or "").strip()
        raise LabError(f"'{' '.join(command)}' failed: {said}") from exc
    return done.stdout
