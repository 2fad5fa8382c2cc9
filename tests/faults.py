# SPDX-License-Identifier: Apache-2.0
"""Everything that is known to go wrong, by number: what happens, the verdict, what is done.

The one list of faults. Scenarios name their number in their README, the lab's tests in what they
say of themselves, its soak in a table (`tests/lab/drill/table.py`), and `doc/source/faults.rst` is
made of them all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SCENARIOS = Path(__file__).parent / "scenarios"
LAB_TESTS = Path(__file__).parent / "lab/suite"
NUMBER = re.compile(r"\(fault (\d+)\)")

HOST, NETWORK, STORAGE, CONTROL = "Host and processes", "Network", "Storage", "Control plane"
#: First number of each group.
GROUPS = {1: HOST, 15: NETWORK, 26: STORAGE, 34: CONTROL}


@dataclass(frozen=True)
class Fault:
    """One fault. `verdicts` are names of rules and reports, none for a fault without any."""

    number: int
    what: str
    verdicts: tuple[str, ...]
    done: str


_MOVED = "fenced; each protected VM evacuated once"
_ALONE = "told; VMs run on, untouched"
_NOTHING = "nothing"

FAULTS: tuple[Fault, ...] = (
    Fault(1, "A host loses power.", ("failure",), _MOVED),
    Fault(2, "The master's host loses power.", ("failure",), f"another master; {_MOVED}"),
    Fault(3, "An agent is killed.", ("agent-down",), _ALONE),
    Fault(4, "An agent is stopped (SIGSTOP) and goes on.", ("agent-down",),
          f"{_ALONE}; cleared when it goes on"),
    Fault(5, "An agent dies whenever it is started.", ("agent-down",), f"{_ALONE}; one report"),
    Fault(6, "The agent's lease I/O hangs, its heartbeats do not.", ("storage-lost",),
          "told; no new VMs for that host"),
    Fault(7, "Agent and nova-compute are dead, the kernel lives.", ("agent-down",), _ALONE),
    Fault(8, "A host stands still for five seconds.", (), _NOTHING),
    Fault(9, "A host stands still for 100 seconds, and would go on.", ("failure",),
          f"{_MOVED}; no guest writes after that"),
    Fault(10, "A host reboots within the time it takes to notice.", ("agent-down", "failure"),
          "no VM runs twice, whichever verdict comes; guests that are off are started again"),
    Fault(11, "A host gets next to no CPU.", (), "nothing is fenced"),
    Fault(12, "The master gets next to no CPU.", (), "nobody is accused by it"),
    Fault(13, "The process of one VM dies.", (), "no verdict on its host; restarted in place"),
    Fault(14, "nova-compute alone dies.", ("compute-down",), _ALONE),
    Fault(15, "One host is cut off the network.", ("isolation",), _ALONE),
    Fault(16, "The network splits into two hosts and three.", ("partition",), _ALONE),
    Fault(17, "The network splits into two equal halves.", ("network-outage",),
          "told once, of the cluster; nobody is accused"),
    Fault(18, "A host and the master do not hear each other.", (), _NOTHING),
    Fault(19, "What a host sends is lost.", ("partition",), _ALONE),
    Fault(20, "What is sent to a host is lost.", (), _NOTHING),
    Fault(21, "A third of all packets is lost.", (), _NOTHING),
    Fault(22, "A host's link goes up and down.", ("flapping",), "told once; VMs run on"),
    Fault(23, "The whole management network is down, the storage well.",
          ("network-outage", "telemetry-silent"), "told once, of the cluster"),
    Fault(24, "The gateway alone is silent.", (), _NOTHING),
    Fault(25, "A host is well again while its recovery is planned.", (), "called off"),
    Fault(26, "One host's storage hangs.", ("storage-lost",), "told; no new VMs for that host"),
    Fault(27, "The storage of one that watches hangs.", ("storage-lost",),
          "told of itself; it says nothing of others"),
    Fault(28, "The storage hangs for everybody.", ("storage-outage",),
          "told once, of the cluster; failures are held meanwhile"),
    Fault(29, "One host's storage answers with I/O errors.", ("storage-lost",),
          "told; no new VMs for that host"),
    Fault(30, "The storage is slow, or hangs for less than the limit.", (), _NOTHING),
    Fault(31, "Two hosts claim one slot, or have one name.", ("agent-down",),
          "the second is refused, and its log names the other"),
    Fault(32, "The lease area is damaged, made anew or gone.", ("storage-outage",),
          "no verdict on a host; told where most are blind"),
    Fault(33, "A host loses network and storage together, its VMs live.", ("failure",),
          "fenced, or waited for its watchdog, before any VM moves"),
    Fault(34, "The BMC does not answer.", ("failure",), "held; tried again, or a person confirms"),
    Fault(35, "The BMC says off, and the host lives.", ("failure",),
          "the proof is void; held, nothing more is started"),
    Fault(36, "The engine dies between fencing and evacuation.", ("failure",),
          "another goes on from the stored proof; each VM once"),
    Fault(37, "The engine dies in the middle of an evacuation.", ("failure",),
          "another goes on; no VM is evacuated twice"),
    Fault(38, "Two engines believe that they lead.", ("failure",),
          "the elder's writes are refused before it acts"),
    Fault(39, "Webhooks are lost, doubled or replayed.", ("failure",),
          "lost: found by listing alarms; replayed: nothing more"),
    Fault(40, "An alarm still stands after the host was taken back.", ("failure",),
          "judged anew by fresh measures: nothing"),
    Fault(41, "Telemetry is silent, of one host or of all.", ("telemetry-silent",),
          "no verdict; the silence is told"),
    Fault(42, "Aodh is down while a host dies.", ("aodh-unreachable", "failure"),
          "told; acted on when it is back"),
    Fault(43, "Somebody forges a webhook.", (), "401 or 403, logged; nobody looks"),
    Fault(44, "Nova's API is down for minutes.", ("failure",), "asked again; ends as it should"),
    Fault(45, "No host has room.", ("failure",), "pending with the reason; placed when one has"),
    Fault(46, "The destination dies during the evacuation.", ("failure",),
          "its VMs move again, after its own proof; one of which nobody can say where it was "
          "asked for waits for that host, and nobody waits for it"),
    Fault(47, "The failed host returns while its VMs move.", ("failure",),
          "it starts none of them; taken back at the end"),
    Fault(48, "More hosts fail at once than the storm limit.", ("failure",),
          "held: what fells so many is rarely the hosts"),
    Fault(49, "Planned work: a clean stop, maintenance, a service forced down.", (),
          "nothing; what an operator has done is left alone"),
    Fault(50, "A VM is deleted or stopped meanwhile.", ("failure",),
          "skipped; a stopped one arrives stopped"),
    Fault(51, "A host's clock steps by an hour.", (), "it dates nothing; nobody is accused"),
    Fault(52, "RabbitMQ, Gnocchi, Keystone or MariaDB restarts.",
          ("gnocchi-unreachable", "aodh-unreachable", "failure"),
          "waited for, told if it lasts; nothing is lost"),
)  # fmt: skip


def scenarios() -> list[str]:
    """Return the names of all scenarios."""
    return sorted(path.parent.name for path in SCENARIOS.glob("*/script.yaml"))


def played() -> dict[int, list[str]]:
    """Return the numbers that the scenarios' READMEs name as "(fault N)", each with its names."""
    found: dict[int, list[str]] = {}
    for name in scenarios():
        text = (SCENARIOS / name / "README").read_text(encoding="utf-8")
        for number in NUMBER.findall(text):
            found.setdefault(int(number), []).append(name)
    return found


def tried() -> dict[int, list[str]]:
    """Return the numbers that the lab's tests name as "(fault N)", each with its files."""
    found: dict[int, list[str]] = {}
    for path in sorted(LAB_TESTS.glob("test_*.py")):
        for number in sorted(set(NUMBER.findall(path.read_text(encoding="utf-8")))):
            found.setdefault(int(number), []).append(path.name)
    return found
