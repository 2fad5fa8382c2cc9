# SPDX-License-Identifier: Apache-2.0
"""How a story ended whose engine died in it: as it is written down, or as declared beside it.

An engine that starts again takes seconds, and may then meet another state of the world. Where
that rightly leads to another end, `script.yaml` declares it under `if_killed`, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tests.scenarios.sim import script
from tests.scenarios.sim.invariants import Violation
from tests.scenarios.sim.world import World


class End(NamedTuple):
    """What is wrong with an end; if nothing, then why it is another one than the story's."""

    problem: str
    why: str = ""


def judge(world: World, scenario: script.Scenario) -> End:
    """Compare the end of a story with its own, then with each that is declared."""
    problem = unlike(world, scenario.expect)
    if not problem:
        return End("")
    for other in scenario.if_killed:
        if not unlike(world, {**scenario.expect, **other.expect}):
            return End("", other.why)
    return End(problem)


def unlike(world: World, expected: Mapping[str, Any]) -> str:
    """Return how the world differs from what is expected of it, empty when it does not."""
    return "; ".join(_differences(world, {**script.DEFAULTS, **expected}))


def _differences(world: World, expect: Mapping[str, Any]) -> Iterator[str]:
    if expect.get("healed"):
        try:
            world.invariants.healed()
        except Violation as exc:
            yield str(exc)
    for key, made_equal in COMPARED.items():
        if key in expect:
            yield from _differs(key, made_equal(expect[key]), made_equal(script.FOUND[key](world)))
    really = script.runs(world)
    for vm, host in expect.get("runs", {}).items():
        if not (host and really.get(vm) and vm in expect["evacuated"]):
            yield from _differs(f"host of {vm}", host, really.get(vm))
        # The scheduler may choose another one for a VM that is moved a little later.
    for vm, state in expect.get("states", {}).items():
        yield from _differs(f"state of {vm}", state, world.nova.servers_by_id[vm].vm_state)
    # A VM on its way is neither there nor listed: the story goes on until it has arrived.
    yield from _differs("on their way", [], world.invariants.lost())


def _differs(what: str, wanted: object, found: object) -> Iterator[str]:
    if wanted != found:
        yield f"{what}: expected {wanted}, found {found}"


def _once(names: Sequence[str]) -> list[str]:
    """Leave out repetitions: how often Nova or a BMC was asked depends on when it was asked.

    That a VM moves twice is a violation in itself.
    """
    return sorted({*names})


def _lasting(incidents: Sequence[str]) -> list[str]:
    """Leave out what is cleared: with nobody looking, a passing situation is not even seen."""
    return [incident for incident in incidents if not incident.endswith(" cleared")]


#: What is compared if a story expects something of it, and what of it must be equal. Whom it
#: told, and how often, depends on when the engine was away.
COMPARED: Mapping[str, Callable[[Any], object]] = {
    "evacuated": _once,
    "fenced": _once,
    "incidents": _lasting,
    "disabled": list,
    "silent": list,
}
