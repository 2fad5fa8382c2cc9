# SPDX-License-Identifier: Apache-2.0
"""Watch the cloud until something is so, and say what one waited for when it never is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from tests.lab.errors import LabError
from tests.lab.observe import Observer
from tests.lab.snapshot import Snapshot, VmView

INTERVAL = 0.5  # s between two looks
FRESH = 2.0  # s: a guest writes every 0.1 s

Show = Callable[[Snapshot], None]
Condition = Callable[[Snapshot], bool]


def watch(
    observer: Observer,
    until: Condition,
    what: str,
    timeout: float,
    show: Show = lambda _: None,
) -> Snapshot:
    """Look again and again until `until` is true of a snapshot, and return all of that one.

    Only what `until` and `show` ask for is read until then.

    Raises `LabError` naming `what` and what could not be seen after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        shot = observer.begin()
        show(shot)
        if until(shot) and not shot.notes and not (seen := shot.whole()).notes:
            return seen
        if time.monotonic() > deadline:
            blind = f" (cannot see: {'; '.join(shot.notes)})" if shot.notes else ""
            raise LabError(f"waited {timeout:g} s in vain until {what}{blind}")
        time.sleep(INTERVAL)


def all_well(shot: Snapshot) -> bool:
    """Tell whether every host is well by its alarms and up in Nova."""
    return all(h.verdict == "well" and h.nova == "up" for h in shot.hosts)


def verdict(host: str, wanted: str) -> Condition:
    """Return a condition: Aodh's alarms of `host` say `wanted`."""
    return lambda shot: any(h.name == host and h.verdict == wanted for h in shot.hosts)


def incident_state(host: str, rule: str, *wanted: str) -> Condition:
    """Return a condition: the latest incident of `host` and `rule` is in one of `wanted`."""

    def check(shot: Snapshot) -> bool:
        found = [i for i in shot.incidents if i.host == host and i.rule == rule]
        return bool(found) and found[-1].state in wanted

    return check


def runs_well(vm: VmView) -> bool:
    """Tell whether a VM is ACTIVE, runs just where Nova says, and its guest writes there."""
    writes = vm.last_write is not None and vm.last_write < FRESH and vm.writer == vm.host
    return vm.status == "ACTIVE" and vm.task is None and vm.running_on == (vm.host,) and writes


def run_elsewhere(vms: Iterable[str], host: str) -> Condition:
    """Return a condition: each of `vms` runs well on another host than `host`."""
    wanted = frozenset(vms)

    def check(shot: Snapshot) -> bool:
        found = [vm for vm in shot.vms if vm.id in wanted]
        return len(found) == len(wanted) and all(runs_well(vm) and vm.host != host for vm in found)

    return check


def both(*conditions: Condition) -> Condition:
    """Return a condition: all of `conditions` hold in one snapshot.

    The first that does not ends a look: begin with incidents, which cost no service anything.
    """
    return lambda shot: all(condition(shot) for condition in conditions)
