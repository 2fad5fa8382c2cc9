# SPDX-License-Identifier: Apache-2.0
"""Draw snapshots: a live screen on a terminal, one line a change everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tests.lab.snapshot import HostView, Snapshot, VmView
from vmha_remediator.rules import metrics

COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("heartbeat age", metrics.HEARTBEAT_AGE.name, lambda v: f"{v:.1f} s"),
    ("lease age", metrics.LEASE_AGE.name, lambda v: f"{v:.1f} s"),
    ("reachable", metrics.REACHABLE.name, lambda v: "yes" if v else "no"),
    ("isolated", metrics.ISOLATED.name, lambda v: "yes" if v else "no"),
    ("witnesses", metrics.WITNESSES.name, lambda v: f"{v:.0f}"),
)
STYLE = {"well": "green", "no verdict": "dim", "failure": "bold red"}
LAST_STEPS = 10


def cell(host: HostView, metric: str, show: Callable[[float], str]) -> str:
    """Return a reading as text; a dash where there is no data."""
    value = host.readings.get(metric)
    return "-" if value is None else show(value)


def place(vm: VmView) -> str:
    """Return where a VM really runs, in words."""
    return " and ".join(vm.running_on) if vm.running_on else "nowhere"


def _hosts(shot: Snapshot) -> Table:
    table = Table(title="hosts: evidence and verdict", title_justify="left", expand=True)
    for name in ("host", "power", *(c[0] for c in COLUMNS), "verdict", "nova-compute"):
        table.add_column(name)
    for host in shot.hosts:
        readings = [cell(host, metric, show) for _, metric, show in COLUMNS]
        verdict = Text(host.verdict, style=STYLE.get(host.verdict, "yellow"))
        table.add_row(host.name, host.power, *readings, verdict, host.nova)
    return table


def _vms(shot: Snapshot) -> Table:
    table = Table(title="VMs", title_justify="left", expand=True)
    for name in ("VM", "protected", "Nova says", "on", "really runs on", "last write to its disk"):
        table.add_column(name)
    for vm in shot.vms:
        good = vm.status == "ACTIVE" and vm.running_on == (vm.host,)
        written = "-" if vm.last_write is None else f"{vm.last_write:.1f} s ago by {vm.writer}"
        status = f"{vm.status} ({vm.task})" if vm.task else vm.status
        table.add_row(
            vm.name,
            "yes" if vm.tagged else "no",
            status,
            vm.host,
            Text(place(vm), style="" if good else "bold yellow"),
            written,
        )
    return table


def _incidents(shot: Snapshot) -> RenderableType:
    lines = []
    for incident in shot.incidents:
        lines.append(Text(f"{incident.host} {incident.rule}: {incident.state}", style="bold"))
        for at, step, sentence in incident.steps[-LAST_STEPS:]:
            lines.append(Text(f"  {clock(at)} {step}: {sentence}"))
    return Panel(Group(*lines) if lines else Text("none", style="dim"), title="incidents")


def clock(at: float) -> str:
    """Return a wall time as HH:MM:SS.d, local."""
    return time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at * 10) % 10}"


def screen(shot: Snapshot, headline: str) -> RenderableType:
    """Return the whole screen."""
    notes = [Text(f"cannot see: {note}", style="red") for note in shot.notes]
    return Group(
        Text(headline, style="bold cyan"), _hosts(shot), _incidents(shot), _vms(shot), *notes
    )


def sentences(old: Snapshot | None, new: Snapshot) -> list[str]:
    """Return what changed between two snapshots, a sentence each."""
    before_hosts = {h.name: h for h in old.hosts} if old else {}
    before_vms = {v.id: v for v in old.vms} if old else {}
    seen = {i.id: len(i.steps) for i in old.incidents} if old else {}
    said: list[str] = []
    for host in new.hosts:
        was = before_hosts.get(host.name)
        if was is None or (was.power, was.verdict, was.nova) != (
            host.power,
            host.verdict,
            host.nova,
        ):
            ages = ", ".join(f"{t} {cell(host, m, s)}" for t, m, s in COLUMNS[:3])
            said.append(
                f"host {host.name}: {host.verdict}, power {host.power}, nova-compute {host.nova} "
                f"({ages})"
            )
    states = {i.id: i.state for i in old.incidents} if old else {}
    for incident in new.incidents:
        if states.get(incident.id) != incident.state:
            said.append(f"incident {incident.host} {incident.rule}: {incident.state}")
        for at, step, sentence in incident.steps[seen.get(incident.id, 0) :]:
            said.append(f"incident {incident.host}: {step} at {clock(at)}: {sentence}")
    for vm in new.vms:
        was_vm = before_vms.get(vm.id)
        if was_vm is None or (was_vm.status, was_vm.running_on) != (vm.status, vm.running_on):
            said.append(f"VM {vm.name}: {vm.status} on {vm.host}, really runs on {place(vm)}")
    return said


class Stage:
    """Where a show is played: live tables on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._live: Live | None = None
        self._last: Snapshot | None = None
        self._headline = ""

    def __enter__(self) -> Stage:
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, vertical_overflow="crop")
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def say(self, headline: str) -> None:
        """Begin a new scene."""
        self._headline = headline
        self.console.print(f"[bold cyan]{clock(time.time())} {headline}[/]", highlight=False)

    def show(self, shot: Snapshot) -> None:
        """Show a snapshot; without a terminal only what changed since the last one."""
        if self._live:
            self._live.update(screen(shot, self._headline), refresh=True)
        else:
            for sentence in sentences(self._last, shot):
                self.console.print(
                    f"{clock(shot.at)} {sentence}", highlight=False, soft_wrap=True, markup=False
                )
        self._last = shot
