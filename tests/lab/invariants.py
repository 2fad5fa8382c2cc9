# SPDX-License-Identifier: Apache-2.0
"""What must hold whatever was done to the lab, each violation told as a sentence.

The checks are pure: they judge what they are given.
`gather` gets it from the storage, the processes, Nova, the event log and the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.lab.records import Record, parse

#: Nova keeps whole seconds, cut off: something may have happened this much later than it says.
NOVA_ROUNDING = 1.0

Life = tuple[str, str, int]  # host, boot id, start of the process: one life of one guest


@dataclass
class Run:
    """The unbroken run of records that one life of a guest left on the disk."""

    life: Life
    first: int  # position of its first record on the disk
    start: int  # ns, when the process began
    until: int  # ns, its last write so far
    seq: int


@dataclass(frozen=True)
class Place:
    """Where a VM is by Nova, and where its processes really are."""

    vm: str
    name: str
    status: str
    task: str | None
    nova_host: str | None
    running_on: tuple[str, ...]  # a host a process; twice if two run there
    died: bool = False  # with its host, which has no power or has rebooted since


@dataclass(frozen=True)
class Evacuation:
    """One record of os-migrations; `created` and `updated` are wall clock, whole seconds."""

    vm: str
    source: str
    status: str
    created: float
    number: int
    dest: str | None = None  # none until a destination has begun it, unless one was named
    updated: float = 0.0


@dataclass(frozen=True)
class Proof:
    """A proof of the journal: from `t` on (wall clock) it was stored that `host` is off."""

    host: str
    t: float
    until: float | None = None  # when that incident was closed


@dataclass(frozen=True)
class Episode:
    """One incident of the remediator, as far as the invariants go; times are wall clock."""

    number: int
    host: str
    rule: str
    recovers: bool  # its rule is one that may evacuate
    opened: float
    closed: float | None
    proof: float | None  # when a proof that the host is off was stored
    touched: tuple[str, ...]  # VMs for which an evacuation was asked
    unexplained: tuple[str, ...]  # VMs that are pending without a reason
    unreported: tuple[str, ...]  # changes that nobody was told of, and should have been
    allowed: bool = False  # a person let it go on beyond the storm limit


@dataclass(frozen=True)
class PowerHistory:
    """The lab's own truth: (wall clock, "on" | "off") of each change of a host's power."""

    changes: Mapping[str, Sequence[tuple[float, str]]] = field(default_factory=dict)

    def was_off(self, host: str, t: float) -> bool:
        """Return whether the host had no power at some time in [t, t + NOVA_ROUNDING]."""
        before = [state for when, state in self.changes.get(host, ()) if when <= t]
        within = [s for when, s in self.changes.get(host, ()) if t < when <= t + NOVA_ROUNDING]
        return "off" in before[-1:] + within


def check_disk(vm: str, disk: Iterable[bytes]) -> list[str]:
    """Return the violations of "a single writer" on one disk, in the order of the writes.

    Each life of a guest (host, boot, process) must be one unbroken run, numbered without a
    gap, and must begin after the one before it wrote for the last time. All hosts are on one
    kernel, so their monotonic times can be compared.
    """
    found: list[str] = []
    runs: list[Run] = []
    for position, line in enumerate(disk):
        try:
            record = parse(line)
        except ValueError as exc:
            found.append(f"VM {vm}: record {position} of its disk is damaged ({exc})")
            continue
        if record.vm != vm:
            found.append(f"VM {vm}: {record.vm} on {record.host} wrote to its disk")
        found += _add(runs, record, position)
    return found + list(_returns(vm, runs)) + list(_overlaps(vm, runs))


def check_places(places: Iterable[Place]) -> list[str]:
    """Return the VMs that run twice, elsewhere than Nova says, or not though Nova says so."""
    found = []
    for place in places:
        known = f"VM {place.name} ({place.vm})"
        running = place.running_on
        if len(running) > 1:
            found.append(f"{known} runs {len(running)} times: on {', '.join(running)}")
        elif place.task is not None:
            continue  # Nova is at work on it
        elif running and running[0] != place.nova_host:
            found.append(f"{known} runs on {running[0]}, but Nova has it on {place.nova_host}")
        elif place.status == "ACTIVE" and not running and not place.died:
            found.append(f"{known} is ACTIVE on {place.nova_host}, but does not run there")
    return found


def check_evacuations(
    evacuations: Iterable[Evacuation], proofs: Sequence[Proof], power: PowerHistory
) -> list[str]:
    """Return the evacuations without proof, from a host with power, or done twice a failure."""
    found = []
    done: dict[tuple[str, str, float], int] = {}
    for evacuation in evacuations:
        told = f"VM {evacuation.vm} was evacuated from {evacuation.source}"
        number = f"(migration {evacuation.number})"
        valid = [p for p in proofs if _covers(p, evacuation)]
        if not valid:
            found.append(f"{told} without stored proof that it was off {number}")
        if not power.was_off(evacuation.source, evacuation.created):
            found.append(f"{told} while that host had power {number}")
        if valid and evacuation.status in ("done", "completed"):
            key = (evacuation.vm, evacuation.source, max(p.t for p in valid))
            done[key] = done.get(key, 0) + 1
    for (vm, host, _), times in done.items():
        if times > 1:
            found.append(f"VM {vm} was evacuated {times} times for one failure of {host}")
    return found


def check_episodes(
    episodes: Sequence[Episode], power_offs: Iterable[tuple[float, str]]
) -> list[str]:
    """Return what the remediator did that its verdicts do not allow.

    `power_offs` are the (wall clock, host) at which a BMC was told to take the power away.
    """
    found = []
    for episode in episodes:
        told = f"incident {episode.number} ({episode.rule} of {episode.host})"
        if not episode.recovers and episode.touched:
            found.append(f"{told} only reports, but evacuated {', '.join(episode.touched)}")
        if not episode.recovers and episode.proof is not None:
            found.append(f"{told} only reports, but fenced the host")
        found += [f"{told}: {vm} is pending without a reason" for vm in episode.unexplained]
        found += [f"{told}: nobody was told that it {change}" for change in episode.unreported]
    recovering = [e for e in episodes if e.recovers]
    for t, host in power_offs:
        if not any(e.host == host and e.opened <= t <= (e.closed or t) for e in recovering):
            found.append(f"{host} was powered off through its BMC without a failure of it")
    return found


def check_storm(episodes: Iterable[Episode], limit: int) -> list[str]:
    """Return the moments at which more than `limit` hosts were fenced at once.

    A host counts from its proof until its incident is closed, unless a person allowed it.
    """
    fenced = [e for e in episodes if e.proof is not None and not e.allowed]
    found = []
    for episode in fenced:
        t = episode.proof or 0.0
        at_once = {e.host for e in fenced if (e.proof or 0.0) <= t and not _over(e, t)}
        if len(at_once) > limit:
            found.append(
                f"{len(at_once)} hosts were fenced at once ({', '.join(sorted(at_once))}), "
                f"when incident {episode.number} fenced {episode.host}; the limit is {limit}"
            )
    return found


def check_masters(masters: Mapping[str, str | None]) -> list[str]:
    """Return a sentence unless the agents, host -> master it follows, agree on one."""
    if len(set(masters.values())) <= 1:
        return []
    told = ", ".join(f"{host} follows {master}" for host, master in sorted(masters.items()))
    return [f"the agents do not agree on one master: {told}"]


def _over(episode: Episode, t: float) -> bool:
    return episode.closed is not None and episode.closed <= t


def _covers(proof: Proof, evacuation: Evacuation) -> bool:
    latest = evacuation.created + NOVA_ROUNDING
    closed = proof.until is not None and proof.until < evacuation.created
    return proof.host == evacuation.source and proof.t <= latest and not closed


def _add(runs: list[Run], record: Record, position: int) -> Iterator[str]:
    """Put the record to the run that is going on, or begin one."""
    life = (record.host, record.boot, record.start)
    if not runs or runs[-1].life != life:
        runs.append(Run(life, position, record.start, record.mono, record.seq))
        return
    run = runs[-1]
    if record.seq != run.seq + 1:
        yield (
            f"VM {record.vm}: record {position} on {record.host} is number {record.seq}, "
            f"after number {run.seq}"
        )
    if record.mono < run.until:
        yield f"VM {record.vm}: record {position} on {record.host} is older than the one before"
    run.until, run.seq = max(run.until, record.mono), record.seq


def _returns(vm: str, runs: Sequence[Run]) -> Iterator[str]:
    """Yield the lives that wrote again after another one had begun."""
    seen: set[Life] = set()
    for before, run in pairwise(runs):
        seen.add(before.life)
        if run.life in seen:
            yield (
                f"VM {vm}: {_who(run)} wrote again at record {run.first}, "
                f"after {_who(before)} had taken over"
            )


def _overlaps(vm: str, runs: Sequence[Run]) -> Iterator[str]:
    """Yield the lives that began before the one before them wrote for the last time."""
    for before, run in pairwise(runs):
        if run.start < before.until:
            by = (before.until - run.start) / 1e9
            yield f"VM {vm}: {_who(run)} began {by:.3f} s before {_who(before)} wrote last"


def _who(run: Run) -> str:
    host, boot, _ = run.life
    return f"{host} (boot {boot[:8]})"
