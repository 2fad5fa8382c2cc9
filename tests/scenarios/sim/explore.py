# SPDX-License-Identifier: Apache-2.0
"""Random faults on random small clusters, each run a function of its seed.

A run does a few random faults, repairs everything, plays the person who releases what is held,
and then looks whether all is well. The invariants hold all the time.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter

from tests.scenarios.sim import stories
from tests.scenarios.sim.faults import act
from tests.scenarios.sim.hosts import rng
from tests.scenarios.sim.invariants import Violation
from tests.scenarios.sim.many import spread
from tests.scenarios.sim.world import Cluster, World
from vmha_remediator.remedy.states import IncidentState as S

WARM = 15.0  # s until the first fault
TROUBLE = 50.0  # s in which faults begin
REST = 20.0  # s from the last fault to the repair
CALM = 400.0  # s after the repair, at most, until all is well: a flapping host is told for 300
STORIES = 0.5  # the share of runs whose faults belong together
PERSON = 25.0  # s after the repair until a person looks at what is held

Fault = Callable[[random.Random, Sequence[str]], str]


def _one(verb: str) -> Fault:
    return lambda chance, hosts: f"{verb} {chance.choice(hosts)}"


def _some(verb: str) -> Fault:
    def make(chance: random.Random, hosts: Sequence[str]) -> str:
        return f"{verb} {' '.join(sorted(chance.sample(hosts, chance.randint(1, 2))))}"

    return make


def _split(chance: random.Random, hosts: Sequence[str]) -> str:
    shuffled = [*hosts]
    chance.shuffle(shuffled)
    cut = chance.randint(1, len(shuffled) - 1)
    parts = [shuffled[:cut], shuffled[cut:]]
    parts[chance.randint(0, 1)].append("ctl")
    return "split " + " ".join(",".join(part) for part in parts)


def _fixed(line: str) -> Fault:
    return lambda chance, hosts: line


def _pair(verb: str) -> Fault:
    return lambda chance, hosts: f"{verb} {' '.join(chance.sample(hosts, 2))}"


def _after(verb: str, *values: str) -> Fault:
    return lambda chance, hosts: f"{verb} {chance.choice(hosts)} {chance.choice(values)}"


def _before(verb: str, *values: str) -> Fault:
    return lambda chance, hosts: f"{verb} {chance.choice(values)} {chance.choice(hosts)}"


#: What may happen, and how often in comparison to others.
FAULTS: tuple[tuple[int, Fault], ...] = (
    (6, _some("power-off")),
    (3, _after("power-on", "6", "12", "25")),
    (2, _one("lose-power")),
    (2, _one("when evacuating power-off")),
    (3, _after("when evacuating reboot", "15", "25")),
    (3, _after("reboot", "6", "15", "30")),
    (4, _one("hang")),
    (3, _one("unhang")),
    (2, _after("starve", "0.5", "1.5", "3", "0")),
    (3, _before("kill", "agent", "compute", "poller")),
    (2, _before("start", "agent", "compute", "poller")),
    (2, _before("stop", "agent", "compute", "poller")),
    (2, _before("cont", "agent", "compute", "poller")),
    (1, _one("leave")),
    (4, _some("cut")),
    (3, _some("join")),
    (2, _fixed("join all")),
    (3, _split),
    (2, _pair("one-way")),
    (1, lambda chance, hosts: f"one-way {chance.choice(hosts)} all"),
    (1, lambda chance, hosts: f"one-way all {chance.choice(hosts)}"),
    (2, lambda chance, hosts: f"loss {chance.choice(['0.1', '0.3', '0.6'])} all"),
    (1, _fixed("network-down")),
    (1, _fixed("gateway down")),
    (4, _before("storage", "stalls", "fails", "works")),
    (1, _fixed("storage stalls all")),
    (1, _before("slow-storage", "0.2", "1.0", "3.0")),
    (1, _fixed("format")),
    (1, _fixed("spoil 1")),
    (2, _after("clock", "3600", "-3600", "5", "-2")),
    (2, lambda c, h: f"service {c.choice(['gnocchi', 'aodh', 'rabbit', 'keystone'])} down"),
    (1, lambda c, h: f"service {c.choice(['nova', 'database'])} down"),
    (1, lambda c, h: f"service {c.choice(['nova', 'database', 'gnocchi', 'aodh'])} up"),
    (2, lambda c, h: f"slow-gnocchi {c.choice(['0.5', '3'])}"),
    (1, _some("silence")),
    (1, _fixed("webhooks lost")),
    (2, lambda c, h: f"ring {c.choice(['failure', 'partition'])} {c.choice(h)}"),
    (2, _before("bmc", "dead", "mute", "works")),
    (2, _fixed("engine kill")),
    (2, _fixed("engine start")),
    (1, _fixed("engine start second")),
    (1, _fixed("engine stop engine")),
    (1, _fixed("room none")),
    (1, _some("room")),
    (1, _one("force-down")),
)


@dataclass(frozen=True)
class Plan:
    """What one seed stands for."""

    seed: int
    cluster: Cluster
    steps: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Result:
    """What came of one seed; `problem` is empty when all invariants held."""

    seed: int
    problem: str
    log: tuple[str, ...] = field(repr=False, default=())


def plan(seed: int) -> Plan:
    """Return the cluster and the faults of a seed."""
    chance = rng(f"plan {seed}")
    told = chance.random() < STORIES
    # Two hosts that die one after the other are no storm in a story.
    many, share = ((4, 5), [0.5, 1.0]) if told else ((3, 5), [0.34, 0.5, 0.5, 1.0])
    hosts = tuple(f"h{n}" for n in range(1, chance.randint(*many) + 1))
    vms = {host: [f"{host}-{n}" for n in "ab"[: chance.randint(0, 2)]] for host in hosts}
    cluster = Cluster(
        hosts=hosts,
        vms=vms,
        resume_guests=chance.random() < 0.7,
        policy={
            "storm_share": chance.choice(share),
            "parallel": chance.choice([1, 32]),
            "candidates": chance.choice(["scheduler", "spread"]),
        },
    )
    sources = [host for host in hosts if vms[host]]
    steps = [*_anything(chance, hosts, (0, 3) if told else (2, 8))]
    if told and sources:
        source = chance.choice(sources)
        steps += stories.steps(chance, source, vms[source], WARM + chance.uniform(0, 5))
    return Plan(seed, cluster, tuple(sorted(steps, key=itemgetter(0))))


def _anything(
    chance: random.Random, hosts: Sequence[str], many: tuple[int, int]
) -> Iterator[tuple[float, str]]:
    """Yield faults that have nothing to do with each other."""
    weights, faults = zip(*FAULTS, strict=True)
    for _ in range(chance.randint(*many)):
        when = round(chance.uniform(WARM, WARM + TROUBLE), 2)
        yield when, chance.choices(faults, weights)[0](chance, hosts)


def run(seed: int) -> Result:
    """Play one seed to its end; only a violated invariant is a problem."""
    chosen = plan(seed)
    world = World(chosen.cluster, f"explore {seed}")
    problem = ""
    with world.running():
        for when, line in chosen.steps:
            world.clockwork.at(when, partial(_try, world, line))
        try:
            world.run_until(WARM + TROUBLE + REST)
            repair(world)
            _calm_down(world)
            world.invariants.at_the_end()
            world.invariants.healed()
        except (Violation, RuntimeError) as exc:
            problem = str(exc)
    return Result(seed, problem, tuple(world.lines))


def _try(world: World, line: str) -> None:
    """Do a fault, unless it makes no sense now."""
    verb, *args = line.split()
    if verb in ("stop", "cont") and args[0] not in world.hosts[args[1]].processes:
        return
    if verb == "engine" and args[0] in ("kill", "stop") and not _engine(world, args[1:]):
        return
    act(world, line)


def _engine(world: World, names: list[str]) -> bool:
    process = world.control.engines.get(names[0] if names else "engine")
    return process is not None and process.alive


def repair(world: World) -> None:
    """Repair whatever may be broken, and start whatever does not run."""
    lines = ["join all", "gateway up", "storage works all", "slow-storage 0 all", "unhang all"]
    lines += [f"service {n} up" for n in ("gnocchi", "aodh", "rabbit", "keystone")]
    lines += ["service nova up", "service database up", "speak all", "webhooks work", "room all"]
    lines += ["bmc works all", "slow-gnocchi 0.01"]
    for line in lines:
        act(world, line)
    for host in world.hosts.values():
        host.starved = host.skew = 0.0
        host.power_on()
        for kind, process in host.processes.items():
            if process.stopped:
                host.cont(kind)
        for kind in ("agent", "poller", "compute"):
            if host.answers():
                host.start(kind)
    for name, process in list(world.control.engines.items()):
        if process.stopped:
            act(world, f"engine cont {name}")
    act(world, "engine start")


def _calm_down(world: World) -> None:
    """Let time pass until all is well, with a person who looks after what is held."""
    start = world.clockwork.now
    said: Violation | None = None
    while world.clockwork.now < start + CALM:
        world.run_until(world.clockwork.now + 5.0)
        if world.clockwork.now < start + PERSON:
            continue
        _be_the_person(world)
        try:
            world.invariants.healed()
        except Violation as exc:
            said = exc
        else:
            return
    assert said is not None
    raise said


def _be_the_person(world: World) -> None:
    """Do what incidents ask for, take old force-downs back, start what was left stopped."""
    store = world.control.store
    for incident in store.incidents(active_only=True):
        if incident.state is S.HELD and not incident.released_by:
            world.log("FAULT", f"a person releases the incident of {incident.host}")
            store.release(incident.id, "ann")
        if "nova-compute has to be restarted" in incident.said:
            world.log("FAULT", f"a person restarts nova-compute on {incident.host}")
            world.hosts[incident.host].kill("compute")
            world.hosts[incident.host].start("compute")
    ours = {i.host for i in store.incidents(active_only=True)}
    for host in sorted(world.nova.forced - ours):
        records = [r for r in world.nova.records if r.source == host and r.status == "done"]
        if not records:
            world.nova.set_forced(host, False)
        else:
            world.hosts[host].kill("compute")
            world.hosts[host].start("compute")
    for machine in world.hosts.values():
        machine.power_on()
        if machine.agent is not None and machine.agent.stop.is_set():
            machine.kill("agent")
        if machine.answers():
            machine.start("agent")


def main(argv: list[str]) -> int:
    """Play many seeds, or one with its log; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios explore", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, metavar="S", help="play this one and print its log")
    parser.add_argument("--first", type=int, default=0, metavar="S", help="the first seed")
    args = parser.parse_args(argv)
    if args.seed is not None:
        found = run(args.seed)
        print("\n".join(found.log))
        print(plan(args.seed))
        print(f"seed {args.seed}: {found.problem or 'every invariant held'}")
        return 1 if found.problem else 0
    began, bad = time.monotonic(), 0
    for found in spread(run, range(args.first, args.first + args.seeds)):
        if found.problem:
            bad += 1
            print(f"seed {found.seed}: {found.problem}", flush=True)
            print(f"  replay: python -m tests.scenarios explore --seed {found.seed}", flush=True)
    took = time.monotonic() - began
    print(f"{args.seeds} seeds in {took:.0f} s on {os.cpu_count()} cores, {bad} with a violation")
    return 1 if bad else 0
