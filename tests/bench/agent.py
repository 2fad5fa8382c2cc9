# SPDX-License-Identifier: Apache-2.0
"""What one real vmha-agent costs among N simulated hosts: `python -m tests.bench.agent`.

A few processes play all other hosts, each with a socket and an address of its own on the
loopback network and a slot in one real slots area. The agent is measured from outside, as a
witness (the master, heard and read by all) and as an ordinary member.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oslo_config import cfg

from tests.bench.peers import RENEWAL, WITNESSES, Plan, address
from vmha_pollsters.agent import area
from vmha_pollsters.agent.text import table
from vmha_pollsters.agent.witness.roster import SHARED_ROLL
from vmha_pollsters.ask import ask
from vmha_pollsters.pollsters import HostPollster
from vmha_remediator.errors import AgentUnavailable

PROCESSES = 2
SETTLED = 60.0  # s to wait for a settled agent at most
POLL = 2.0  # s; the pollster's interval
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What /proc says of a process at one moment."""

    at: float
    user: float  # seconds
    system: float
    rss: int  # KiB
    requests: int  # read and write calls on files
    read: int  # bytes


def usage(pid: int) -> Usage:
    """Read the process's counters."""
    proc = Path(f"/proc/{pid}")
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    # By thread: those that only answer on the unix socket end before this is read.
    threads = []
    for task in (proc / "task").iterdir():
        with suppress(OSError):  # it ended just now
            threads.append(_fields(task / "io"))
    rss = next(x for x in (proc / "status").read_text().splitlines() if x.startswith("VmRSS"))
    return Usage(
        at=time.monotonic(),
        user=int(fields[11]) / TICKS,
        system=int(fields[12]) / TICKS,
        rss=int(rss.split()[1]),
        requests=sum(io["syscr"] + io["syscw"] for io in threads),
        read=sum(io["rchar"] for io in threads),
    )


@dataclass(frozen=True)
class Ears:
    """What the agent says of the packets that came, at one moment."""

    at: float
    taken: int  # believed
    lost: int  # dropped by the kernel, or refused


def ears(pid: int, status: dict[str, Any]) -> Ears:
    """Return what was heard up to now."""
    said = status["heartbeats"]
    return Ears(time.monotonic(), said["taken"], sum(said["refused"].values()) + dropped(pid))


def _fields(file: Path) -> dict[str, int]:
    lines = (line.split(": ") for line in file.read_text().splitlines())
    return {name: int(value) for name, value in lines}


def dropped(pid: int) -> int:
    """Return how many packets found the buffers of the process's UDP sockets full."""
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it was closed just now
            names.append(link.readlink().name)
    mine = {name[len("socket:[") : -1] for name in names if name.startswith("socket:[")}
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[12]) for row in rows if row[9] in mine)


class Crowd:
    """The processes that play the other hosts."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.bench.peers"],
                stdin=subprocess.PIPE,
                text=True,
            )
            for _ in plans
        ]
        for process, plan in zip(self._processes, plans, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(asdict(plan)) + "\n")
            process.stdin.flush()

    def stop(self) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def agent_among(folder: Path, hosts: int, watches: bool) -> Iterator[tuple[int, str]]:
    """Start the agent and its crowd; yield the agent's process id and its socket."""
    path, key, own = folder / "slots", secrets.token_hex(16), 0 if watches else hosts // 2
    header = area.init(str(path), hosts, "bench")
    (folder / "key").write_text(key)
    port = free_port()
    options = {
        "host": f"host-{own}",
        "address": address(own),
        "port": port,
        "socket": folder / "agent.sock",
        "lease_path": path,
        "cluster": "bench",
        "key_file": folder / "key",
        "priority": 1000 if watches else -1000,
        "probe_port": 1,  # nobody listens: refused at once, which is an answer
    }
    lines = ["[agent]", *(f"{name} = {value}" for name, value in options.items())]
    (folder / "agent.conf").write_text("\n".join(lines))
    share = -(-hosts // PROCESSES)
    plans = [
        Plan(
            path=str(path),
            area=str(header.uuid),
            cluster="bench",
            key=key,
            port=port,
            hosts=hosts,
            first=first,
            last=min(first + share, hosts),
            agent=own,
            watches=watches,
        )
        for first in range(0, hosts, share)
    ]
    with ExitStack() as stack:
        crowd = Crowd(plans)
        stack.callback(crowd.stop)
        time.sleep(2.5)  # every simulated host has written its slot: the agent's is the one left
        log = stack.enter_context((folder / "agent.log").open("wb"))
        command = [sys.executable, "-m", "vmha_pollsters.agent.main"]
        agent = subprocess.Popen(
            [*command, "--config-file", str(folder / "agent.conf")], stderr=log
        )
        stack.callback(agent.wait, 10)
        stack.callback(agent.terminate)
        yield agent.pid, str(folder / "agent.sock")


def settled(path: str, hosts: int, watches: bool) -> dict[str, Any]:
    """Wait until the agent knows everybody it should, and return its status."""
    deadline = time.monotonic() + SETTLED
    status: dict[str, Any] = {}
    while time.monotonic() < deadline:
        time.sleep(1.0)
        try:
            status = ask(path, "status")
        except AgentUnavailable:
            continue
        heard = [p for p in status["peers"] if p["heard"] is not None and p["heard"] < 4.0]
        callers = WITNESSES if hosts <= SHARED_ROLL else 1
        wanted = hosts if watches else min(callers + 2, hosts)
        # A witness first probes everybody once, and then each host every two minutes.
        proven = sum(bool(p["probe_proven"]) for p in heard)
        if status["qualified"] and len(heard) >= wanted and (proven >= hosts - 1 or not watches):
            return status
    raise SystemExit(f"the agent did not settle: {status.get('why')}; hears {status.get('hears')}")


def measure(hosts: int, watches: bool, seconds: float) -> list[object]:
    """Return one row of the table."""
    with (
        tempfile.TemporaryDirectory(prefix="vmha-bench-") as folder,
        agent_among(Path(folder), hosts, watches) as (pid, path),
    ):
        heard = ears(pid, settled(path, hosts, watches))
        before, pollster, told = usage(pid), HostPollster(cfg.ConfigOpts()), set[str]()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(POLL)
            for found in pollster.get_samples(None, {}, [path]):
                told.add(found.resource_metadata["host"])
        after = usage(pid)  # before it is asked for its status, which costs as much as a second
        status = ask(path, "status")
        hears = ears(pid, status)
    passed = after.at - before.at
    user, system = after.user - before.user, after.system - before.system
    taken, lost = hears.taken - heard.taken, hears.lost - heard.lost
    return [
        status["role"],
        hosts,
        f"{100 * (user + system) / passed:.2f}",
        f"{100 * user / passed:.2f}",
        f"{100 * system / passed:.2f}",
        f"{after.rss / 1024:.0f}",
        f"{taken / (hears.at - heard.at):.0f}",
        f"{(after.requests - before.requests) / passed:.1f}",
        f"{(after.requests - before.requests) / passed * RENEWAL:.1f}",
        f"{(after.read - before.read) / passed / 1024:.0f}",
        f"{100 * lost / (taken + lost):.2f}",
        len(told),
        f"{os.getloadavg()[0]:.1f}",
    ]


def main() -> None:
    """Measure every size in both roles and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100, 1000], metavar="N")
    parser.add_argument("--seconds", type=float, default=20.0, help="to measure each")
    parser.add_argument("--role", choices=["witness", "member"], help="only this one")
    args = parser.parse_args()
    roles = [args.role] if args.role else ["witness", "member"]
    head = (
        "ROLE",
        "HOSTS",
        "CPU %",
        "USER",
        "SYS",
        "RSS",
        "PACKETS",
        "I/O",
        "A CYCLE",
        "READ",
        "LOSS %",
        "TOLD",
        "LOAD",
    )
    rows = [
        measure(hosts, role == "witness", args.seconds) for role in roles for hosts in args.hosts
    ]
    print(table(head, rows))
    print(
        "CPU: user + system, of one core. RSS: MiB. PACKETS: taken in a second. I/O: requests a "
        "second, and in one lease interval (2 s). READ: KiB/s. LOSS: dropped or refused. TOLD: "
        "hosts published. LOAD: of the whole machine, the simulated hosts included."
    )


if __name__ == "__main__":
    main()
