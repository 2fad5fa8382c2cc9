# SPDX-License-Identifier: Apache-2.0
"""What every lease driver promises, against real storage and a real sanlock daemon a host."""

from __future__ import annotations

import contextlib
import errno
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.contract.sanlock_daemon import LOCKSPACE, Daemon
from vmha_pollsters.agent import area
from vmha_pollsters.agent.storage.keeper import Content, Identity, Keeper
from vmha_pollsters.agent.storage.slotfile import SlotFile
from vmha_pollsters.agent.storage.table import read_table
from vmha_pollsters.lease.contract import LeaseDriver, Sight
from vmha_pollsters.lease.drivers import load_driver
from vmha_remediator.errors import ConfigError

HOSTS = ("h1", "h2", "h3")  # h1 observes
INTERVAL = 2.0
THRESHOLD = 4 * INTERVAL  # of the rules


class World:
    """Three hosts that renew their slots, and h1's driver `slots` that looks at them."""

    driver_name = "slots"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = str(folder / "slots")
        area.init(self.path, 4, "c")
        self.stops = {host: threading.Event() for host in HOSTS}
        self.stalled = False
        self.threads = [threading.Thread(target=self._live, args=(host,)) for host in HOSTS]
        for thread in self.threads:
            thread.start()
        self.driver = self._driver()

    def _driver(self) -> LeaseDriver:
        return load_driver(
            SimpleNamespace(
                host="h1",
                lease_driver=self.driver_name,
                lease_interval=INTERVAL,
                sanlock_lockspace=LOCKSPACE,
                sanlock_run_dir=str(self.folder / "h1.sanlock"),
            )
        )

    def _live(self, host: str) -> None:
        me = Identity(host, "192.0.2.1", uuid.uuid5(uuid.NAMESPACE_OID, host), "c")
        keeper = Keeper(SlotFile(self.path), me, 0.2, self.stops[host].wait)
        keeper.claim()
        while not self.stops[host].wait(INTERVAL):
            keeper.renew(Content())

    def look(self) -> dict[str, Sight]:
        """Return what h1 knows of each host; raises OSError when it knows nothing."""
        if self.stalled:
            raise OSError(errno.EIO, "I/O error")
        table = read_table(SlotFile(self.path), None, "c", 0)
        sights = self.driver.look(table)
        return {slot.host: sights[n] for n, slot in table.slots.items()}

    def kill(self, host: str) -> None:
        self.stops[host].set()

    def stall(self) -> None:
        self.stalled = True

    def resume(self) -> None:
        self.stalled = False

    def close(self) -> None:
        for stop in self.stops.values():
            stop.set()
        for thread in self.threads:
            thread.join(10)


class SanlockWorld(World):
    """The same, and the liveness comes from a sanlock daemon on each host."""

    driver_name = "sanlock"

    def __init__(self, folder: Path) -> None:
        leases = folder / "leases"
        with leases.open("wb") as stream:
            stream.truncate(1 << 20)
        self.daemons = {
            host: Daemon(folder, host, number, leases) for number, host in enumerate(HOSTS, 1)
        }
        super().__init__(folder)
        try:
            self.daemons["h1"].join(create=True)
            joining = [threading.Thread(target=self.daemons[h].join) for h in ("h2", "h3")]
            for thread in joining:
                thread.start()
            for thread in joining:
                thread.join(60)
        except BaseException:
            self.close()
            raise

    def kill(self, host: str) -> None:
        self.daemons[host].stop()

    def stall(self) -> None:
        self.daemons["h1"].process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.daemons["h1"].process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        super().close()
        for daemon in self.daemons.values():
            daemon.stop()


@pytest.fixture(scope="module", params=[World, SanlockWorld], ids=["slots", "sanlock"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    made = request.param(tmp_path_factory.mktemp("world"))
    yield made
    made.close()


Ages = dict[str, float | None]


def ages_now(world: World) -> Ages:
    return {host: sight.age for host, sight in world.look().items()}


def watch(world: World, until: Callable[[Ages], bool], what: str) -> list[Ages]:
    """Look as an agent does until it comes true; return the ages of every look that succeeds."""
    seen: list[Ages] = []
    deadline = time.monotonic() + 60
    while not seen or not until(seen[-1]):
        assert time.monotonic() < deadline, f"it never came true that {what}: {seen[-3:]}"
        time.sleep(INTERVAL / 4)
        with contextlib.suppress(OSError):
            seen.append(ages_now(world))
    return seen


def young(ages: Ages) -> bool:
    return all((age := ages.get(host)) is not None and age < THRESHOLD for host in HOSTS)


def test_leases_that_are_renewed_become_known_and_stay_young(world: World) -> None:
    watch(world, young, "all leases are known")
    end = time.monotonic() + 3 * INTERVAL
    assert all(young(ages) for ages in watch(world, lambda _: time.monotonic() > end, "time"))


def test_an_observer_that_stalls_knows_nothing_and_accuses_nobody_after(world: World) -> None:
    watch(world, young, "all leases are known")
    world.stall()
    refused = False
    while not refused:  # not for long: after 8 s sanlock would give up for good
        try:
            assert young(ages_now(world)), "what was read before the stall does not age"
        except OSError:
            refused = True
    world.resume()
    for ages in watch(world, young, "all leases are known again"):
        assert all(age is None or age < THRESHOLD for age in ages.values())


def test_a_host_that_stops_renewing_grows_old_and_the_others_do_not(world: World) -> None:
    watch(world, young, "all leases are known")
    world.kill("h2")
    killed = time.monotonic()
    seen = watch(world, lambda ages: (ages["h2"] or 0.0) >= THRESHOLD, "h2 is seen to be dead")
    assert time.monotonic() - killed >= THRESHOLD - INTERVAL, "not before it can be true"
    for ages in seen:
        assert (ages["h1"] or 0.0) < THRESHOLD
        assert (ages["h3"] or 0.0) < THRESHOLD


def test_a_driver_that_does_not_exist_is_named() -> None:
    settings = SimpleNamespace(lease_driver="floppy", lease_interval=INTERVAL)
    with pytest.raises(ConfigError, match="lease_driver 'floppy' is not known"):
        load_driver(settings)
