# SPDX-License-Identifier: Apache-2.0
"""Random faults that belong together: a host dies, and then so does where its VMs go.

Independent faults hardly ever hit the second or two in which a VM is on its way. So a story waits
until one is (`when-moving`), and has its chapters begin at odd moments from then on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tests.scenarios.sim.faults import DESTINATION

Chapter = Callable[[random.Random, str], Iterator[str]]
Step = tuple[float, str]

#: How a source fails, and what brings it back.
SOURCE_FAILS = (
    *2 * (("power-off {}", "power-on {} {boot}"),),
    ("lose-power {}", "power-on {} {boot}"),
    ("hang {}", "unhang {}"),
    ("cut {}", "join {}"),
)
#: What befalls a destination, and what ends that.
FATES = (
    *3 * (("power-off {}", "power-on {} {boot}"),),
    ("lose-power {}", "power-on {} {boot}"),
    ("reboot {} {boot}", "power-on {} {boot}"),
    ("hang {}", "power-on {} {boot}"),
    ("cut {}", "join {}"),
    ("storage fails {}", "storage works {}"),
    ("kill compute {}", "start compute {}"),
)
#: What may be missing in the middle of an evacuation.
OUTAGES = (
    *2 * (("service nova down", "service nova up"),),
    ("service database down", "service database up"),
    ("service keystone down", "service keystone up"),
    ("service gnocchi down", "service gnocchi up"),
    ("engine kill", "engine start"),
    ("engine stop", "engine cont"),
    ("room none", "room all"),
)
BOOTS = ("5", "12", "25")


def _spent(chance: random.Random, least: float, most: float) -> str:
    return f"later {chance.uniform(least, most):.2f}"


def _destination_dies(chance: random.Random, source: str) -> Iterator[str]:
    """Let it die, and be back at an odd moment; often somebody is missing at that moment, too."""
    dies, back = chance.choice(FATES)
    boot = chance.choice(BOOTS)
    death = chance.uniform(0, 1.5)
    yield f"later {death:.2f} {dies.format(DESTINATION, boot=boot)}"
    if chance.random() < 0.8:
        returns = death + chance.uniform(8, 40)
        yield f"later {returns:.2f} {back.format(DESTINATION, boot=boot)}"
        if chance.random() < 0.6:
            yield from _missing(chance, chance.uniform(death, returns), returns + 30)


def _outage(chance: random.Random, source: str) -> Iterator[str]:
    begins = chance.uniform(0, 16)
    yield from _missing(chance, begins, begins + 40)


def _missing(chance: random.Random, begins: float, latest: float) -> Iterator[str]:
    down, up = chance.choice(OUTAGES)
    yield f"later {begins:.2f} {down}"
    yield f"later {chance.uniform(begins + 5, latest):.2f} {up}"


def _source_is_back(chance: random.Random, source: str) -> Iterator[str]:
    yield f"{_spent(chance, 0, 30)} power-on {source} {chance.choice(BOOTS)}"


def _engine_stands_still(chance: random.Random) -> Iterator[str]:
    """Stop the engine in the midst of what it does, for less or more than it may then go on."""
    state = chance.choice(("confirmed", "fencing", "fenced", "evacuating"))
    stops = chance.choice((0.0, chance.uniform(0, 0.2), chance.uniform(0, 3)))
    yield f"when {state} later {stops:.2f} engine stop"
    yield f"when {state} later {stops + chance.uniform(5, 45):.2f} engine cont"


#: What may follow once a VM is on its way, and how probable each is.
CHAPTERS: tuple[tuple[float, Chapter], ...] = (
    (0.9, _destination_dies),
    (0.4, _outage),
    (0.3, _source_is_back),
)


def steps(chance: random.Random, source: str, vms: list[str], begin: float) -> Iterator[Step]:
    """Yield a story that begins with the end of `source`, on which the VMs run."""
    if chance.random() < 0.3:
        yield begin, "engine start second"
    if chance.random() < 0.25:  # they come half-way, and are asked for again
        yield begin, f"spoil-vm {' '.join(vms)}"
    fails, back = chance.choice(SOURCE_FAILS)
    yield begin, fails.format(source)
    if chance.random() < 0.2:
        back = back.format(source, boot=chance.choice(BOOTS))
        yield begin, f"{_spent(chance, 8, 45)} {back}"
    if chance.random() < 0.3:
        for line in _engine_stands_still(chance):
            yield begin, line
    for probability, chapter in CHAPTERS:
        if chance.random() < probability:
            for line in chapter(chance, source):
                yield begin, f"when-moving {line}"
