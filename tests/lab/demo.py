# SPDX-License-Identifier: Apache-2.0
"""The show: a host loses power, another one loses its network; what moves, what must not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table

from tests.lab import boot, faults, hosts, net, timeline
from tests.lab.errors import LabError
from tests.lab.observe import Observer
from tests.lab.snapshot import Snapshot, VmView
from tests.lab.view import Stage
from tests.lab.watch import (
    Condition,
    all_well,
    both,
    incident_state,
    run_elsewhere,
    runs_well,
    verdict,
    watch,
)

VMS = 12  # 8 of them protected: two of three on every host
READY, RECOVERY, RETURN, ISOLATION, HEALING = 90.0, 120.0, 120.0, 60.0, 90.0  # s, upper bounds
#: Looks at the cut-off host after the verdict: enough that an engine that would act had time
#: for several cycles.
QUIET_LOOKS = 12


@dataclass(frozen=True)
class Finding:
    """One thing that the show had to show, and whether it did."""

    ok: bool
    what: str


class Demo:
    """The scenes in order; each adds its findings."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.observer = Observer(since=time.time())
        self.findings: list[Finding] = []
        self.victim = self.loner = ""  # loses its power, loses its network

    def play(self) -> list[Finding]:
        """Play all scenes and return what they found; raises `LabError` when one is stuck."""
        before = self.prepare()
        self.victim, self.loner = _busiest(before)
        self.power_loss(before)
        self.welcome_back()
        self.isolation()
        return self.findings

    def prepare(self) -> Snapshot:
        """Boot the VMs and wait until every host is well by its alarms."""
        self.stage.say(f"{VMS} VMs over four hosts, 8 of them protected (server tag 'vmha')")
        boot.top_up(VMS, lambda _: None)
        self.stage.say("waiting until every alarm of every host has its evidence and says ok")
        return self._watch(
            both(all_well, lambda s: all(runs_well(vm) for vm in s.vms)),
            "every host is well and every VM runs",
            READY,
        )

    def power_loss(self, before: Snapshot) -> None:
        """Take the power of one host and watch its protected VMs come back elsewhere."""
        mine = [vm for vm in before.vms if vm.host == self.victim]
        protected = [vm.id for vm in mine if vm.tagged]
        self.stage.say(
            f"{self.victim} loses power: {len(protected)} protected and "
            f"{len(mine) - len(protected)} other VMs were on it"
        )
        hosts.kill(self.victim)
        lost = faults.last("kill", self.victim)
        after = self._watch(
            both(
                incident_state(self.victim, "failure", "recovered"),
                run_elsewhere(protected, self.victim),
            ),
            f"the protected VMs of {self.victim} run elsewhere",
            RECOVERY,
        )
        now = {vm.id: vm for vm in after.vms}
        others = [vm for vm in before.vms if vm.id not in protected]
        self._find(
            all(runs_well(now[vm]) and now[vm].host != self.victim for vm in protected),
            f"all {len(protected)} protected VMs of {self.victim} are ACTIVE elsewhere and write",
        )
        self._find(_unmoved(others, after), f"none of the {len(others)} other VMs was moved")
        self._times(lost)

    def welcome_back(self) -> None:
        """Switch the dead host on again and watch it being taken back."""
        self.stage.say(f"{self.victim} is switched on again")
        hosts.boot_host(self.victim)
        self._watch(
            both(incident_state(self.victim, "failure", "readmitted"), all_well),
            f"{self.victim} takes part again",
            RETURN,
        )
        self._find(True, f"{self.victim} was taken back: forced-down lifted, all alarms ok")

    def isolation(self) -> None:
        """Cut one host's management network; its VMs must stay and go on writing."""
        before = self.observer.look()
        mine = [vm for vm in before.vms if vm.host == self.loner and vm.status == "ACTIVE"]
        self.stage.say(f"{self.loner} loses its management network; its {len(mine)} VMs are well")
        net.cut(self.loner)
        faults.record("cut", self.loner, network=True)
        self._watch(
            both(
                incident_state(self.loner, "isolation", "reported"),
                verdict(self.loner, "isolation"),
            ),
            f"{self.loner} is found isolated",
            ISOLATION,
        )
        self.stage.say(f"{self.loner} is isolated, not dead: nothing is moved, the report is out")
        steady = True
        for _ in range(QUIET_LOOKS):
            shot = self._look()
            now = {vm.id: vm for vm in shot.vms}
            steady &= _unmoved(before.vms, shot) and all(
                now[vm.id].running_on == (self.loner,) and (now[vm.id].last_write or 99.0) < 2.0
                for vm in mine
            )
            time.sleep(0.5)
        self._find(
            steady, f"the {len(mine)} VMs of {self.loner} kept running and writing; none moved"
        )
        self.stage.say("the network heals")
        net.heal(self.loner)
        faults.record("heal", self.loner)
        self._watch(
            both(incident_state(self.loner, "isolation", "cleared"), all_well),
            f"{self.loner} is well again",
            HEALING,
        )
        self._find(True, f"{self.loner} is well again, its report is closed")

    def _watch(self, until: Condition, what: str, timeout: float) -> Snapshot:
        return watch(self.observer, until, what, timeout, self.stage.show)

    def _look(self) -> Snapshot:
        shot = self.observer.look()
        self.stage.show(shot)
        return shot

    def _find(self, ok: bool, what: str) -> None:
        self.findings.append(Finding(ok, what))

    def _times(self, lost: float) -> None:
        """Print how long after the power loss each stage was reached."""
        reached = timeline.stages(self.observer.latest(self.victim), lost)
        table = Table(title=f"seconds after {self.victim} lost its power", title_justify="left")
        table.add_column("stage")
        table.add_column("after", justify="right")
        table.add_column("what it means")
        for name, meaning in timeline.STAGES:
            if name in reached:
                table.add_row(name, f"{reached[name]:.1f} s", meaning)
        self.stage.console.print(table)


def _busiest(shot: Snapshot) -> tuple[str, str]:
    """Return the two hosts with most protected VMs that run, the fullest first."""
    counts = Counter(vm.host for vm in shot.vms if vm.tagged)
    first, *others = [host for host, _ in counts.most_common()]
    if not others:
        raise LabError("all protected VMs are on one host; start with a new lab: make down demo")
    return first, others[0]


def _unmoved(vms: Iterable[VmView], after: Snapshot) -> bool:
    now = after.vm_hosts()
    return all(now.get(vm.id) == vm.host for vm in vms)


def show_findings(stage: Stage, findings: list[Finding]) -> bool:
    """Print each finding and return whether all are good."""
    for finding in findings:
        mark = "[green]ok  [/]" if finding.ok else "[bold red]BAD [/]"
        stage.console.print(f"{mark} {finding.what}", highlight=False)
    return bool(findings) and all(finding.ok for finding in findings)
