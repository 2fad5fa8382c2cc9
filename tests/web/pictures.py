# SPDX-License-Identifier: Apache-2.0
"""Pictures of the status page for the documents: `python -m tests.web.pictures FOLDER`.

The page, the API and the database are the real ones; the cloud behind them is made up, so that
one picture shows what an operator may see in a year: a failure on its way, one that waits for a
person, a host in maintenance, and a host whose VMs would have no room.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.chromium import chromium
from tests.unit.api.cloud import DEAD, WELL, Cloud, room, server, service
from tests.unit.api.served import serve, settings
from vmha_remediator.api.server import ApiServer
from vmha_remediator.remedy.facts import Server
from vmha_remediator.remedy.incident import ProofRecord, VmRecord, VmStatus
from vmha_remediator.remedy.look import Look
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.rules import metrics
from vmha_remediator.store import Store, open_store

HOSTS = tuple(f"compute-{n}" for n in range(1, 7))
LOST = ("compute-4", "compute-5")
ROLES = {"compute-1": 2.0, "compute-2": 1.0, "compute-3": 1.0}
#: Name -> colours, width and height in pixels, whether all of the page is shown.
VIEWS = {
    "light": ("light", 1120, 800, True),
    "dark": ("dark", 1120, 800, True),
    "phone": ("light", 390, 844, False),
}


class Clock:
    """A clock that stands where the story is."""

    def __init__(self) -> None:
        self.now = time.time() - 60

    def __call__(self) -> float:
        return self.now


class Clouded(Cloud):
    """A cloud whose dead hosts have no nova-compute, either."""

    def look(self) -> Look:
        """Return it as Nova and telemetry show it now."""
        seen = super().look()
        services = {
            host: replace(service(host, host not in LOST), forced_down=host == LOST[0])
            for host in HOSTS
        }
        return replace(seen, services=services)


def make_cloud() -> Cloud:
    """Return six hosts: two have died, and compute-6 is worked upon."""
    measures: dict[str, Mapping[str, float]] = {}
    for n, host in enumerate(HOSTS):
        of = {metrics.HEARTBEAT_AGE.name: 0.3 + n / 10, metrics.ROLE.name: ROLES.get(host, 0.0)}
        measures[host] = {**WELL, **of}
    for host, age in zip(LOST, (22.0, 348.0), strict=True):
        ages = {metrics.HEARTBEAT_AGE.name: age, metrics.LEASE_AGE.name: age + 1.3}
        measures[host] = {k: v for k, v in DEAD.items() if k not in metrics.OWN} | ages
    names = [
        "db-1",
        "db-2",
        "web-1",
        "web-2",
        "web-3",
        "mail",
        "wiki",
        "build-1",
        "build-2",
        "dns",
    ]
    vms: list[Server] = [
        server(name, HOSTS[n % 3], "vmha", ram=4096) for n, name in enumerate(names)
    ]
    vms += [server("warehouse", "compute-2", "vmha", ram=24576), server("toy", "compute-1")]
    tpm = {"hw:tpm_version": "2.0"}
    vms.append(replace(server("vault", "compute-3", "vmha"), extra_specs=tpm))
    return Clouded(measures, tuple(vms), {host: room(16384) for host in HOSTS})


def failing(store: Store, clock: Clock, host: str, since: float) -> tuple[int, int]:
    """Open a failure `since` seconds ago; return its number and the engine's epoch."""
    epoch = store.claim_epoch("control-1")
    clock.now = time.time() - since
    incident = store.open_incident(
        host, "failure", "recover", "critical",
        f"failure holds for {host}: heartbeat.age 6.1 s >= 5 s, lease.age 8.4 s >= 8 s, reachable "
        "0 = 0, witnesses 3 >= 2", epoch=epoch,
    )  # fmt: skip
    return incident.id, epoch


def tell(store: Store, clock: Clock) -> None:
    """Write both failures down as the engine would."""
    number, epoch = failing(store, clock, "compute-5", 340)
    incident = store.incident(number)
    for state in (S.CONFIRMED, S.FENCING):
        incident = store.move(incident, state, f"now {state}", epoch=epoch)
    clock.now += 30
    store.finish_step(
        store.begin_step(incident, "fence", "fence compute-5: ipmi", epoch=epoch),
        False, "ipmi 192.0.2.15: no answer in 5 s; nothing is proven",
    )  # fmt: skip
    store.move(
        incident, S.HELD, "no fencing driver could prove that compute-5 is off", epoch=epoch,
        held_by="no-proof", advice="look at compute-5: if it is off and stays off, confirm it; if "
        "its BMC lost power too, pull the plug and confirm it",
    )  # fmt: skip

    number, epoch = failing(store, clock, "compute-4", 14)
    incident = store.incident(number)
    proof = ProofRecord("redfish", "power is off", "/Systems/4 reads PowerState Off twice", 0.0)
    for state in (S.CONFIRMED, S.FENCING):
        incident = store.move(incident, state, f"now {state}", epoch=epoch)
    for wait, step, begins, ends in (
        (0.2, "fence", "fence compute-4: redfish", "fence: compute-4 is off (redfish)"),
        (1.1, "force-down", "force down compute-4's nova-compute", "it is forced down"),
        (0.3, "evacuate", "evacuate 5 VMs, db-3 first", "5 evacuations are accepted"),
    ):
        clock.now += wait
        if step == "force-down":
            incident = store.move(incident, S.FENCED, "it is off", epoch=epoch, proof=proof)
        begun = store.begin_step(incident, step, begins, epoch=epoch)
        store.finish_step(begun, True, ends)
    incident = store.move(
        incident, S.EVACUATING, "its 5 protected VMs are being started elsewhere", epoch=epoch
    )
    done = [("db-3", 10, "compute-1"), ("web-4", 5, "compute-2"), ("cache", 5, "compute-3")]
    vms = [
        VmRecord(name, name, "compute-4", VmStatus.DONE, dest=to, priority=priority)
        for name, priority, to in done
    ]
    vms.append(VmRecord("q", "queue", "compute-4", VmStatus.REQUESTED, dest="compute-1"))
    vms.append(VmRecord("r", "report", "compute-4", VmStatus.WAITING, reason="waits for queue"))
    store.save_vms(incident, vms, epoch=epoch)
    store.set_maintenance("compute-6", "new memory", "ann")
    store.say(epoch, "evacuating compute-4, 3 of 5 VMs are back")


@contextmanager
def serving() -> Iterator[ApiServer]:
    """Serve the page of that cloud."""
    with tempfile.TemporaryDirectory() as name:
        folder, clock = Path(name), Clock()
        conf = settings(folder)
        store = open_store(conf, clock)
        tell(store, clock)
        with serve(conf, store, make_cloud(), time.time) as running:
            yield running
        store.close()


def take(folder: Path) -> None:
    """Write the pictures into a folder."""
    with serving() as api, chromium() as browser:
        for name, (scheme, width, height, whole) in VIEWS.items():
            context = browser.new_context(
                base_url=f"http://127.0.0.1:{api.port}",
                color_scheme="dark" if scheme == "dark" else "light",
                viewport={"width": width, "height": height},
            )
            page = context.new_page()
            page.goto("/ui/")
            page.locator("#problems li").first.wait_for()
            page.locator("#fresh.ok").wait_for()
            if whole:
                page.get_by_role("article", name="failure of compute-4").get_by_text(
                    "Time line"
                ).click()
            page.screenshot(path=folder / f"page-{name}.png", full_page=whole)
            context.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]))
