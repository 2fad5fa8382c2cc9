# SPDX-License-Identifier: Apache-2.0
"""The lab's network: a bridge, a namespace a host, and faults as nftables rules.

A fault is what nft says, never a file: what is listed is what happens to the packets. What
comes into a host is lost in its own namespace (table `vmha_fault`); what it sends is lost at
its port on the bridge (table `vmha_fault_HOST` of the machine), as in a switch: a rule on its
own way out would tell the sender ("operation not permitted"), which no network does.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab import layout
from tests.lab.errors import LabError

TABLE = "vmha_fault"
NIC = "eth0"  # the host's interface, inside its namespace
_NFT = ("nft", "-f", "-")
_TIMEOUT = 20.0  # s; each command takes milliseconds

#: Faults, each a chain of its own: setting it again replaces it. They end in _in or _out.
CHAINS = ("cut_in", "cut_out", "loss_in", "loss_out", "partition_in", "partition_out")
#: ARP passes: without it both ways are dead as soon as the neighbours have forgotten a host.
_DROP_IN, _DROP_OUT = 'iifname != "lo" drop', "ether type != arp drop"


def port(host: str) -> str:
    """Return the name of the host's port on the bridge."""
    return f"vh-{host}"


def exists(interface: str) -> bool:
    """Return whether there is an interface of this name in the network that we are in."""
    return any(interface == name for _, name in socket.if_nameindex())


def bridge_up() -> None:
    """Make the bridge with the controller's and the gateway's address; idempotent."""
    if not exists(layout.BRIDGE):
        _run("ip", "link", "add", layout.BRIDGE, "type", "bridge")
    for address in (layout.CONTROLLER, layout.GATEWAY):
        _run("ip", "address", "replace", f"{address}/{layout.PREFIX}", "dev", layout.BRIDGE)
    _run("ip", "link", "set", layout.BRIDGE, "up")


def bridge_down() -> None:
    """Remove the bridge; idempotent."""
    if exists(layout.BRIDGE):
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
    _heal_port(host)
    if exists(port(host)):
        _run("ip", "link", "delete", port(host))
    if present(host):
        _run("ip", "netns", "delete", layout.netns(host))


def present(host: str) -> bool:
    """Return whether the host has its namespace."""
    return Path("/run/netns", layout.netns(host)).exists()


def silence(host: str) -> None:
    """Unplug the host's cable at the switch; its connections stay as they are."""
    if exists(port(host)):
        _run("ip", "link", "set", port(host), "down")


def unsilence(host: str) -> None:
    """Plug the host's cable in again."""
    _run("ip", "link", "set", port(host), "up")


def cut(host: str, inbound: bool = True, outbound: bool = True) -> None:
    """Drop all that comes to the host's network interface and/or leaves it."""
    if inbound:
        _set(host, "cut_in", [_DROP_IN])
    if outbound:
        _set(host, "cut_out", [_DROP_OUT])


def loss(host: str, percent: int) -> None:
    """Lose `percent` of the packets that come in, and as many of those that go out."""
    if not 0 <= percent <= 100:
        raise LabError(f"a loss of {percent} % cannot be: say 0 to 100")
    die = f"numgen random mod 100 < {percent}"
    _set(host, "loss_in", [f'iifname != "lo" {die} drop'])
    _set(host, "loss_out", [f"{die} drop"])


def partition(groups: Sequence[Sequence[str]], *, shared: bool = False) -> None:
    """Keep hosts of different groups from each other.

    The first group keeps the controller and the gateway; the others lose them too, as if those
    stood beside the first group's switch. `shared`: all keep them, as if they were on another
    network. A host that is in no group is left as it is.
    """
    names = [host for group in groups for host in group]
    twice = sorted({host for host in names if names.count(host) > 1})
    if twice:
        raise LabError(f"{', '.join(twice)}: a host can be on one side of a partition only")
    for index, group in enumerate(groups):
        others = [layout.HOST_ADDRESS[h] for other in groups if other is not group for h in other]
        beside = [layout.CONTROLLER, layout.GATEWAY] if index and not shared else []
        for host in group:
            _lose(host, others, beside)


def part(one: str, other: str) -> None:
    """Keep two hosts from each other, and from nobody else."""
    _lose(one, [layout.HOST_ADDRESS[other]])
    _lose(other, [layout.HOST_ADDRESS[one]])


def _lose(host: str, hosts: Sequence[str], beside: Sequence[str] = ()) -> None:
    """Keep `host` from the addresses of hosts, which do the same, and of others, which do not."""
    _set(host, "partition_in", _drop("saddr", [*hosts, *beside]))
    _set(host, "partition_out", _drop("daddr", beside))


def _drop(field: str, addresses: Sequence[str]) -> list[str]:
    return [f"ip {field} {{ {', '.join(addresses)} }} drop"] if addresses else []


def heal(host: str) -> None:
    """Take every network fault off a host (not its power, nor a freeze)."""
    if present(host):
        _in_namespace(host, _NFT, f"add table inet {TABLE}\ndelete table inet {TABLE}\n")
    _heal_port(host)


def _heal_port(host: str) -> None:
    table = _port_table(host)
    _run(*_NFT, stdin=f"add table netdev {table}\ndelete table netdev {table}\n")


def faults(host: str) -> list[str]:
    """Return the network faults of a host as nft states them, such as `cut_in`, `loss_out`."""
    if not present(host):
        return []
    listed = ("nft", "-j", "list", "ruleset")
    found = [*_rules(_in_namespace(host, listed)), *_rules(_run(*listed))]
    ours = (TABLE, _port_table(host))
    return sorted({rule["chain"] for rule in found if rule["table"] in ours})


def _rules(listing: str) -> list[dict[str, Any]]:
    return [entry["rule"] for entry in json.loads(listing)["nftables"] if "rule" in entry]


def _port_table(host: str) -> str:
    return f"{TABLE}_{host}"


def _set(host: str, chain: str, rules: Sequence[str]) -> None:
    if not present(host):
        raise LabError(f"{host} has no network: it is off (see 'revive')")
    if chain.endswith("_in"):
        table = f"inet {TABLE}"
        hook = "type filter hook input priority -300"
    else:
        table = f"netdev {_port_table(host)}"
        hook = f'type filter hook ingress device "{port(host)}" priority 0'
    lines = [
        f"add table {table}",
        f"add chain {table} {chain} {{ {hook}; }}",
        f"flush chain {table} {chain}",
        *(f"add rule {table} {chain} {rule}" for rule in rules),
    ]
    script = "\n".join(lines) + "\n"
    if chain.endswith("_in"):
        _in_namespace(host, _NFT, script)
    else:
        _run(*_NFT, stdin=script)


def _in_namespace(host: str, command: Sequence[str], stdin: str | None = None) -> str:
    return _run("nsenter", f"--net=/run/netns/{layout.netns(host)}", *command, stdin=stdin)


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
