# SPDX-License-Identifier: Apache-2.0
"""Looking after single VMs: who is looked at, what is counted, and what a crash leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from tests.unit.engine.sim import VirtualClock
from tests.unit.remedy.build import server, service
from vmha_remediator.engine.judged import Judged
from vmha_remediator.engine.observer import Observer
from vmha_remediator.engine.vm_watch import AT_A_TIME, VmWatch
from vmha_remediator.errors import CloudRefused, CloudUnavailable, TelemetryUnavailable
from vmha_remediator.remedy import vm_failure
from vmha_remediator.remedy.facts import Server, Service, Stop
from vmha_remediator.remedy.states import IncidentState as S
from vmha_remediator.remedy.vm_failure import Limits
from vmha_remediator.rules import vm_rule
from vmha_remediator.rules.judge import Readings, State, Verdict
from vmha_remediator.store import Store
from vmha_remediator.store.database import Database
from vmha_remediator.store.models import Base

WELL = Readings("h1", {"vmha.host.heartbeat.age": 0.5})


class Inline(ThreadPoolExecutor):
    """Does the work where it is handed in."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)


class Crash(BaseException):
    """The engine dies here."""


@dataclass
class Cloud:
    """One VM, what Nova says of it, and what is really so."""

    vm: Server | None = field(default_factory=lambda: server("web", id="web"))
    running: bool | None = False
    stop: Stop | None = None
    lives: bool = False  # once it is restarted
    trouble: BaseException | None = None
    rebooted: list[str] = field(default_factory=list)
    asked: int = 0

    def server(self, server_id: str) -> Server | None:
        self.asked += 1
        if isinstance(self.trouble, CloudUnavailable):
            raise self.trouble
        return replace(self.vm, id=server_id) if self.vm is not None else None

    def last_stop(self, server_id: str) -> Stop | None:
        return self.stop

    def runs(self, server_id: str) -> bool | None:
        return self.running

    def reboot(self, server_id: str) -> None:
        self.rebooted.append(server_id)
        if self.trouble is not None:
            raise self.trouble
        self.running = self.lives


@dataclass
class Host:
    """What the observer says of the VM's host."""

    readings: Readings = WELL
    standing: Verdict | None = None
    service: Service = field(default_factory=service)
    verdicts: tuple[Verdict, ...] = ()

    def services(self) -> list[Service]:
        return [self.service]

    def judge(self, hosts: list[str]) -> dict[str, Judged]:
        return {host: Judged(self.readings, self.verdicts, self.standing) for host in hosts}


class Sim:
    """A watch over one VM."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        database = Database("sqlite://")
        Base.metadata.create_all(database.engine())
        self.store = Store(database, self.clock.now)
        self.epoch = self.store.claim_epoch("engine")
        self.cloud, self.host = Cloud(), Host()
        self.power: float | None = 5.0
        self.deposed: list[int] = []
        self.watch = self.engine()

    def engine(self) -> VmWatch:
        """Return a watch that remembers nothing."""
        return VmWatch(
            store=self.store,
            cloud=self.cloud,
            power=lambda server_id: self.power,
            observer=cast("Observer", self.host),
            clock=self.clock,
            pool=Inline(1),
            template=vm_rule.load(),
            limits=Limits(restarts=2, window=600.0, settle=5.0),
            deposed=self.deposed.append,
        )

    def ring(self, *servers: str) -> None:
        self.watch.take(servers or ("web",), self.epoch)

    def pass_time(self, seconds: float, ringing: bool = True) -> None:
        for _ in range(int(seconds)):
            self.clock.time += 1.0
            self.watch.take(("web",) if ringing else (), self.epoch)

    def open(self) -> list[tuple[str, str]]:
        return [(i.host, str(i.state)) for i in self.store.incidents(active_only=True)]


@pytest.fixture
def sim() -> Sim:
    return Sim()


def test_a_dead_vm_is_restarted_once_it_has_been_off_for_a_while(sim: Sim) -> None:
    sim.ring()
    assert sim.cloud.rebooted == []
    sim.pass_time(6)
    assert sim.cloud.rebooted == ["web"]
    (done,) = sim.store.all_restarts(0.0)
    assert (done.server_id, done.host, done.ok) == ("web", "h1", True)


def test_one_ring_is_enough(sim: Sim) -> None:
    sim.ring()
    sim.pass_time(6, ringing=False)
    assert sim.cloud.rebooted == ["web"]


def test_one_that_runs_in_between_has_not_been_off(sim: Sim) -> None:
    sim.ring()
    sim.cloud.running = True
    sim.pass_time(6)
    sim.cloud.running = False
    sim.clock.time += 30
    sim.ring()
    assert sim.cloud.rebooted == []


def test_a_vm_that_cannot_live_is_told_of_once_and_left_alone(sim: Sim) -> None:
    sim.ring()
    sim.pass_time(300)
    assert len(sim.cloud.rebooted) == 2
    assert sim.open() == [("vm:web", "reported")]
    (change,) = sim.store.unreported()
    assert "it was restarted 2 times" in change.sentence


def test_the_count_survives_the_engine(sim: Sim) -> None:
    for _ in range(3):
        sim.watch = sim.engine()
        sim.ring()
        sim.pass_time(8)
    assert len(sim.cloud.rebooted) == 2
    assert sim.open() == [("vm:web", "reported")]


def test_an_engine_that_dies_while_it_asks_has_counted_it(sim: Sim) -> None:
    sim.cloud.trouble = Crash()
    sim.ring()
    with pytest.raises(Crash):
        sim.pass_time(6)
    assert [done.ok for done in sim.store.all_restarts(0.0)] == [None]
    sim.cloud.trouble = None
    sim.watch = sim.engine()
    sim.ring()
    sim.pass_time(60)
    assert len(sim.cloud.rebooted) == 2


def test_a_refusal_counts_too_so_that_nova_is_not_asked_for_ever(sim: Sim) -> None:
    sim.cloud.trouble = CloudRefused("409 no")
    sim.ring()
    sim.pass_time(200)
    assert len(sim.cloud.rebooted) == 2
    assert [done.ok for done in sim.store.all_restarts(0.0)] == [False, False]
    assert sim.open() == [("vm:web", "reported")]


def test_a_person_who_closes_the_report_allows_as_many_restarts_again(sim: Sim) -> None:
    sim.ring()
    sim.pass_time(60)
    (incident,) = sim.store.incidents(active_only=True)
    sim.clock.time += 1
    sim.store.move(incident, S.CLEARED, "closed by ann", epoch=sim.epoch)
    sim.pass_time(90)
    assert len(sim.cloud.rebooted) == 4


def test_an_open_incident_of_its_host_comes_first(sim: Sim) -> None:
    sim.cloud.lives = True
    incident = sim.store.open_incident(
        "h1", "isolation", "report", "low", "cut off", epoch=sim.epoch
    )
    sim.ring()
    sim.pass_time(30)
    assert sim.cloud.rebooted == []
    assert "isolation of h1 is open" in sim.watch.said()[0]
    sim.store.move(incident, S.CLEARED, "over", epoch=sim.epoch)
    sim.pass_time(30)
    assert sim.cloud.rebooted == ["web"]


def test_so_does_what_is_wrong_with_most_hosts(sim: Sim) -> None:
    sim.store.open_incident("*", "storage-outage", "report", "low", "all", epoch=sim.epoch)
    sim.ring()
    sim.pass_time(30)
    assert sim.cloud.rebooted == []


@pytest.mark.parametrize(
    "host",
    [
        Host(standing=Verdict("partition", "h1", State.ALARM, "report", "low", "cut")),
        Host(verdicts=(Verdict("failure", "h1", State.OK, "recover", "low", "", doubtful=True),)),
        Host(readings=Readings("h1", {})),
        Host(readings=Readings("h1", {"vmha.host.heartbeat": 1.0})),
        Host(service=service(up=False)),
    ],
)
def test_a_host_that_is_not_well_by_everybodys_word_is_not_touched(sim: Sim, host: Host) -> None:
    sim.host.readings, sim.host.standing = host.readings, host.standing
    sim.host.service, sim.host.verdicts = host.service, host.verdicts
    sim.ring()
    sim.pass_time(30)
    assert sim.cloud.rebooted == []


@pytest.mark.parametrize(
    "trouble", [CloudUnavailable("GET: no answer in time"), TelemetryUnavailable("Gnocchi: no")]
)
def test_a_service_that_is_away_is_waited_for(sim: Sim, trouble: Exception) -> None:
    def away(server_id: str) -> float | None:
        raise trouble

    well, sim.cloud.lives = sim.watch.power, True
    sim.watch.power = away
    sim.ring()
    sim.pass_time(20)
    assert "waiting" in sim.watch.said()[0]
    sim.watch.power = well
    sim.pass_time(60)
    assert sim.cloud.rebooted == ["web"]


def test_a_vm_that_is_no_matter_of_ours_may_ring_as_it_likes(sim: Sim) -> None:
    assert sim.cloud.vm is not None
    sim.cloud.vm = replace(sim.cloud.vm, tags=frozenset())
    sim.ring()
    sim.pass_time(59)
    assert sim.cloud.asked == 2


def test_a_leader_that_is_deposed_does_nothing(sim: Sim) -> None:
    sim.ring()
    sim.store.claim_epoch("another")
    sim.pass_time(6)
    assert sim.cloud.rebooted == []
    assert set(sim.deposed) == {sim.epoch}


def test_many_vms_do_not_take_all_workers(sim: Sim) -> None:
    handed: list[Any] = []

    class Slow(Inline):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            handed.append(args)

    sim.watch.pool = Slow(1)
    sim.ring(*(f"vm-{n}" for n in range(50)))
    sim.ring(*(f"vm-{n}" for n in range(50)))
    assert len(handed) == AT_A_TIME


class TestAVmThatWasGivenUp:
    @pytest.fixture
    def given_up(self, sim: Sim) -> Sim:
        sim.ring()
        sim.pass_time(60)
        assert sim.open() == [("vm:web", "reported")]
        return sim

    def state(self, sim: Sim) -> tuple[State, str]:
        (incident,) = sim.store.incidents(active_only=True)
        sim.clock.time += 10
        facts = sim.watch.facts(incident)
        return facts.state_of(vm_failure.RULE), facts.moot

    def test_is_off_runs_or_is_not_known(self, given_up: Sim) -> None:
        assert self.state(given_up) == (State.ALARM, "")
        given_up.power = 1.0
        assert self.state(given_up) == (State.OK, "")
        given_up.power = None
        assert self.state(given_up) == (State.UNKNOWN, "")

    def test_may_have_been_stopped_or_deleted(self, given_up: Sim) -> None:
        assert given_up.cloud.vm is not None
        given_up.cloud.vm = replace(given_up.cloud.vm, vm_state="stopped")
        given_up.cloud.stop = Stop("u-1", 0.0)
        assert self.state(given_up)[1] == "a user has stopped its VM"
        given_up.cloud.vm = None
        assert self.state(given_up)[1] == "its VM was deleted"
