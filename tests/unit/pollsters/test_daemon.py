# SPDX-License-Identifier: Apache-2.0
"""The agent's tick: what it makes of what its threads know. No thread runs here."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vmha_pollsters import conf as configuration
from vmha_pollsters.agent import report, text
from vmha_pollsters.agent.daemon import Agent
from vmha_pollsters.agent.heartbeat.station import Standing
from vmha_pollsters.agent.reachability import Reachability
from vmha_pollsters.agent.storage.events import Events
from vmha_pollsters.agent.storage.reader import Seen
from vmha_pollsters.agent.storage.writer import Written
from vmha_pollsters.agent.watchdog.tether import Armed
from vmha_pollsters.lease.contract import Sight
from vmha_pollsters.lease.layout import Flag, Header, Opinion, Probe, Roster, Slot

AREA = uuid.UUID(int=1)
OK = Flag.QUALIFIED
VIEWS = tuple(Opinion(0.5, 1.0) for _ in range(8))


class Heart:
    """Stands for the heartbeat thread: what was heard is what the test says."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.taken = 0
        self.rejected: dict[str, int] = {}
        self.ages_known: dict[str, float | None] = {"h2": 0.5, "h3": 0.5, "h4": 0.5}
        self.route: Any = None
        self.standing = Standing()
        self.keys: tuple[bytes, ...] = ()
        self.bare_ones = 0
        self.vouched_at: float | None = None
        self.dropped_packets = 0

    def heard(self, host: str) -> float | None:
        return self.ages_known.get(host)

    def last_heard(self) -> float | None:
        known = [age for age in self.ages_known.values() if age is not None]
        return min(known) if known else None

    def acked(self, host: str) -> float | None:
        return 0.3

    def listening_for(self) -> float:
        return 100.0

    def census(self) -> tuple[dict[str, float | None], dict[str, float]]:
        return self.ages_known, dict.fromkeys(self.ages_known, 0.0)

    def bare(self) -> int:
        return self.bare_ones

    def dropped(self) -> int:
        return self.dropped_packets

    def vouched(self) -> float | None:
        return self.vouched_at

    def steer(self, route: Any) -> None:
        self.route = route


class Prober:
    """Stands for the probes."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.known: dict[str, Probe] = {}
        self.gateway = False

    def consider(self, host: str, address: str, healthy: Any, now: float) -> None:
        self.asked.append(host)

    def consider_well(self, hosts: Iterable[tuple[str, str]], healthy: Any) -> None:
        self.asked += [host for host, _address in hosts]

    def due(self, hosts: Iterable[str], now: float) -> list[str]:
        return list(hosts)

    def results(self, now: float) -> dict[str, Probe]:
        return self.known

    def proven(self, host: str) -> tuple[str, ...]:
        return ("icmp",)

    def forget(self, hosts: Any) -> None: ...

    def anybody(self, addresses: Any, now: float, within: float) -> bool:
        return self.gateway


class Host:
    """The agent of h1 in slot 0, with three peers that are well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "key").write_text("0123456789abcdef")
        (folder / "agent.conf").write_text(
            "[agent]\nhost = h1\naddress = 192.0.2.1\ncluster = c\n"
            f"key_file = {folder}/key\nlease_path = {folder}/slots\n"
            "isolation_addresses = 192.0.2.254\n"
        )
        self.agent = Agent(configuration.load(str(folder / "agent.conf")))
        self.heart, self.prober = Heart(), Prober()
        self.agent.heart = self.heart  # type: ignore[assignment]
        self.agent.prober = self.prober  # type: ignore[assignment]
        self.agent.reachability = Reachability(
            self.heart,  # type: ignore[arg-type]
            self.prober,  # type: ignore[arg-type]
            self.agent.limits,
            self.agent.settings.isolation_addresses,
        )
        self.slots = {
            n: Slot(n, f"h{n + 1}", f"192.0.2.{n + 1}", AREA, b"n" * 16, 1, 9, OK, views=VIEWS)
            for n in range(4)
        }
        self.sights = {n: Sight(1.0, 0.0) for n in range(4)}
        self.events = Events()
        self.hosts = 8
        self.roster: Roster | None = Roster(0, (0, 1, 2), frozenset(range(4)), 1, 1, 0)
        self.renewed = 0.0  # s ago
        self.edition: int | None = None
        self.watched = 100.0  # s for which the slots have been read without a pause

    def tick(self) -> dict[str, Any]:
        """Let one cycle pass and return what the pollster would get."""
        now = time.monotonic()
        header = Header("c", AREA, self.hosts)
        seen = Seen(
            at=now,
            since=now - self.watched,
            header=header,
            roster=self.roster,
            roster_age=0.5,
            slots=self.slots,
            sights=self.sights,
            fresh=self.sights,
            edition=self.edition,
            problem=None,
        )
        self.agent.reader = SimpleNamespace(seen=seen, events=Events())  # type: ignore[assignment]
        written = Written(0, now - self.renewed, None, OK)
        self.agent.writer = SimpleNamespace(  # type: ignore[assignment]
            written=written, events=self.events
        )
        self.agent.tick()
        return report.readings(self.agent)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def told(answer: dict[str, Any], host: str) -> dict[str, float]:
    return next((h["values"] for h in answer["hosts"] if h["host"] == host), {})


def test_a_well_cluster_is_published(host: Host) -> None:
    answer = host.tick()
    assert (answer["role"], answer["qualified"]) == ("master", True)
    assert [h["host"] for h in answer["hosts"]] == ["h1", "h2", "h3", "h4"]
    assert told(answer, "h4") == {
        "vmha.host.heartbeat.age": 0.5,
        "vmha.host.lease.age": 1.0,
        "vmha.host.reachable": 1.0,
        "vmha.host.isolated": 0.0,
        "vmha.host.witnesses": 3.0,
        "vmha.host.watchdog": 0.0,
    }


def test_what_it_writes_is_what_it_sees(host: Host) -> None:
    host.heart.ages_known["h4"] = 7.0
    host.prober.known["h4"] = Probe.SILENT
    host.tick()
    content, roster = host.agent._content()
    assert content.flags is Flag.QUALIFIED
    assert len(content.views) == 8
    assert content.views[3].heard == pytest.approx(7.0, abs=0.5)
    assert content.views[3].probe is Probe.SILENT
    assert content.views[7] == Opinion()
    assert roster is not None
    assert (roster.master, roster.sequence) == (0, 2)


def test_who_has_just_begun_to_look_writes_no_roster(host: Host) -> None:
    host.watched = 0.0
    host.sights = {0: Sight(1.0, 0.0)}  # nobody else's lease is known yet
    host.tick()
    assert host.agent._content()[1] is None


def test_a_picture_from_before_a_freeze_is_never_written(host: Host) -> None:
    host.tick()
    host.agent.picture = replace(host.agent.picture, at=time.monotonic() - 100.0)
    content, roster = host.agent._content()
    assert (content.flags, content.views, roster) == (Flag(0), (), None)


def test_the_last_word_is_that_it_leaves(host: Host) -> None:
    host.tick()
    host.agent.stop.set()
    assert host.agent._content()[0].flags is Flag.LEAVING


def test_a_host_stays_in_the_fast_lane_for_a_while_after_it_recovered(host: Host) -> None:
    for n, slot in host.slots.items():
        host.slots[n] = replace(slot, views=())
    host.heart.ages_known["h4"] = 3.0
    assert [h["suspect"] for h in host.tick()["hosts"]] == [False, False, False, True]
    host.heart.ages_known["h4"] = 0.5
    assert [h["suspect"] for h in host.tick()["hosts"]] == [False, False, False, True]


def deaf(host: Host, silence: float) -> None:
    host.heart.ages_known = {"h2": silence, "h3": silence, "h4": silence}


def test_a_host_that_hears_nobody_is_isolated_after_the_gateway_was_asked(host: Host) -> None:
    deaf(host, 5.0)
    host.tick()
    assert not host.agent.picture.isolated, "the gateway was asked just now"
    host.agent.reachability.alone_since = time.monotonic() - 2.5
    assert host.tick()["hosts"] == []
    assert host.agent.picture.isolated
    assert Flag.ISOLATED in host.agent._content()[0].flags


@pytest.mark.parametrize("saved_by", ["gateway", "a peer", "nobody else lives"])
def test_what_speaks_against_isolation(host: Host, saved_by: str) -> None:
    deaf(host, 5.0)
    host.agent.reachability.alone_since = time.monotonic() - 10.0
    if saved_by == "gateway":
        host.prober.gateway = True
    elif saved_by == "a peer":
        host.heart.ages_known["h3"] = 0.5
    else:
        host.sights = {n: Sight(1.0 if n == 0 else 30.0, 0.0) for n in range(4)}
    host.tick()
    assert not host.agent.picture.isolated


def test_two_live_slots_with_one_name_are_a_problem_of_that_host(host: Host) -> None:
    host.slots[3] = replace(host.slots[3], host="h3")
    answer = host.tick()
    assert "vmha.host.lease.age" not in told(answer, "h3")
    [peer] = [p for p in report.status(host.agent)["peers"] if p["host"] == "h3"]
    assert peer["problem"] == "slots 2 and 3 both say h3"


def test_of_two_slots_with_one_name_the_live_one_counts(host: Host) -> None:
    host.slots[3] = replace(host.slots[3], host="h3")
    host.sights[2] = Sight(300.0, 0.0)
    host.tick()
    assert [p.slot for p in host.agent.picture.peers] == [0, 1, 3]


def test_only_witnesses_probe_the_silent(host: Host) -> None:
    host.heart.ages_known["h4"] = 5.0
    host.tick()
    assert host.prober.asked == ["h2", "h3", "h4"]
    host.prober.asked.clear()
    host.roster = Roster(1, (1, 2), frozenset(range(4)), 1, 1, 1)
    host.tick()
    assert host.prober.asked == ["h2", "h3"]


def test_hosts_that_left_are_not_probed_and_not_published(host: Host) -> None:
    host.slots[3] = replace(host.slots[3], flags=Flag.LEAVING)
    answer = host.tick()
    assert told(answer, "h4") == {}
    assert host.prober.asked == ["h2", "h3"]


def test_heartbeats_go_where_the_slots_say(host: Host) -> None:
    host.tick()
    assert host.heart.route.targets == {1: "192.0.2.2", 2: "192.0.2.3", 3: "192.0.2.4"}
    assert host.heart.route.senders == frozenset({"h2", "h3", "h4"})


def test_a_witness_reads_all_a_member_of_a_big_cluster_a_few(host: Host) -> None:
    host.tick()
    assert host.agent._plan() == (None, 0.5)
    host.agent.picture = replace(
        host.agent.picture,
        slot=50,
        roster=Roster(0, (0, 1, 2), frozenset(range(100)), 1, 1, 0),
    )
    host.agent.reader.seen = replace(
        host.agent.reader.seen,
        header=Header("c", AREA, 200),
        slots={n: replace(host.slots[0], index=n) for n in range(100)},
    )
    looks = [host.agent._plan() for _ in range(6)]
    few, all_of_them = {0, 1, 2}, {0, 1, 2, 50, 49, 51}
    assert [set(hosts or ()) for hosts, _ in looks] == [
        all_of_them, few, few, few, all_of_them, few,
    ]  # fmt: skip
    assert {every for _, every in looks} == {2.0}
    host.agent.picture = replace(
        host.agent.picture, roster=Roster(0, (0, 1, 60), frozenset(range(100)), 2, 1, 0)
    )
    assert host.agent._plan()[0] == {0, 1, 60, 50, 49, 51}, "whoever is new is looked at at once"


def test_an_ordinary_host_looks_more_often_while_somebody_has_just_fallen_silent(
    host: Host,
) -> None:
    host.slots = {n: replace(host.slots[0], index=n, host=f"h{n + 1}") for n in range(100)}
    host.roster = Roster(50, (50, 51, 52), frozenset(range(100)), 1, 1, 50)
    host.hosts = 200
    for silence, every in ((0.5, 2.0), (3.2, 2.0), (4.5, 1.0), (300.0, 2.0)):
        host.heart.ages_known = {"h51": silence, "h2": 0.5}
        host.tick()
        assert host.agent._plan()[1] == every


def test_only_a_witness_writes_at_once_that_somebody_falls_silent(host: Host) -> None:
    """A member is called by the witnesses of a crowd every few beats, and says nothing of them."""
    for master, writes in ((0, True), (1, False)):
        host.roster = Roster(master, (master, 2, 3), frozenset(range(4)), 1, 1, master)
        host.heart.ages_known["h4"] = 0.5
        host.tick()
        host.agent._kick.clear()
        host.heart.ages_known["h4"] = 2.5
        host.tick()
        assert host.agent._kick.is_set() is writes


def test_a_witness_of_a_crowd_looks_seldom_until_somebody_is_suspect(host: Host) -> None:
    host.slots = {n: replace(host.slots[0], index=n, host=f"h{n + 1}") for n in range(300)}
    host.sights = {n: Sight(1.0, 0.0) for n in range(300)}
    host.hosts, host.edition = 300, 1
    host.heart.ages_known = {f"h{n + 1}": 0.5 for n in range(300)}
    host.tick()
    assert host.agent._plan() == (None, 1.5)
    host.heart.ages_known["h201"] = 2.5
    host.tick()
    unseen, hurried = 1.5, host.agent._plan()[1]
    lease = 2.0
    assert unseen + hurried <= lease, "rules.timing.detection reckons with no more"


def test_an_ordinary_host_of_a_big_cluster_takes_stock_of_its_correspondents_only(
    host: Host,
) -> None:
    host.slots = {n: replace(host.slots[0], index=n, host=f"h{n + 1}") for n in range(100)}
    host.sights = {n: Sight(1.0, 0.0) for n in range(100)}
    host.roster = Roster(50, (50, 51, 52), frozenset(range(100)), 1, 1, 50)
    host.hosts = 200
    assert host.tick()["role"] == "member"
    assert [p.slot for p in host.agent.picture.peers] == [0, 1, 50, 51, 52, 99]
    assert host.heart.route.targets.keys() == {1, 50, 51, 52, 99}
    assert host.heart.route.senders == {"h2", "h51", "h52", "h53", "h100"}
    assert host.heart.route.boots.keys() == host.heart.route.senders


def test_status_reads_well(host: Host) -> None:
    host.heart.ages_known["h4"] = None
    host.heart.problem = "cannot listen"
    host.events.add("claimed slot 0, generation 3")
    host.sights[6] = Sight(None, 0.0, "slot 6: checksum does not fit")
    host.sights[2] = Sight(None, 0.0, "slot 2: two hosts write it")
    host.tick()
    lines = text.status(report.status(host.agent)).splitlines()
    assert lines[0] == "host       h1: master, NOT qualified"
    assert lines[1] == "  because  cannot listen"
    assert lines[2] == "hears      2 of 3 live hosts (itself included)"
    assert lines[3] == "clock      +0.00 s off the median of its peers' clocks"
    assert lines[4].startswith("lease      slot 0 of cluster c, renewed 0.0 s ago, table read 0.")
    assert lines[5] == f"storage    {host.folder}/slots, driver slots, 4 of 8 slots taken"
    assert lines[6] == "  problem  slot 6: checksum does not fit"
    assert lines[7] == "roster     term 1, master h1, witnesses h1, h2, h3"
    assert lines[8].endswith("Z claimed slot 0, generation 3")
    assert lines[9] == "  problem  cannot listen"
    assert lines[10] == "peers      4 known, 3 just heard, 3 leases just renewed"
    assert lines[11] == ""
    assert " ".join(lines[12].split()) == (
        "HOST SLOT ADDRESS HEARD LEASE HEARS US CLOCK PROBE PROVEN FLAGS"
    )
    assert "h4    3     192.0.2.4  ?" in lines[-2]
    assert lines[-1] == "h3: slot 2: two hosts write it"


def test_status_of_a_big_cluster_shows_the_witnesses_and_who_is_not_well(host: Host) -> None:
    host.slots = {n: replace(host.slots[0], index=n, host=f"h{n + 1}") for n in range(1000)}
    host.sights = {n: Sight(1.0, 0.0) for n in range(1000)} | {500: Sight(9.0, 0.0)}
    host.heart.ages_known = {f"h{n + 1}": 0.5 for n in range(1000)}
    host.heart.ages_known |= {"h601": 6.0, "h701": None}
    host.hosts, host.edition = 1000, 1
    host.tick()
    told = report.status(host.agent)
    short = text.status(told, everybody=False).splitlines()
    rows = short[short.index("") + 2 :]
    assert [row.split()[0] for row in rows] == ["h1", "h2", "h3", "h501", "h601", "h701"]
    probed = set(host.prober.asked)
    assert probed >= {"h2", "h3", "h501", "h601", "h701"}, "who is not well is probed every time"
    assert len(probed) < 200, "the others in their turn"
    assert "peers      1000 known, 998 just heard, 999 leases just renewed" in short
    assert "shown      6: the witnesses and who is not well; --all: everybody" in short
    assert len(text.status(told).splitlines()) > 1000


def test_status_of_an_agent_that_has_just_started_reads_well(tmp_path: Path) -> None:
    told = report.status(Host(tmp_path).agent)
    assert told["why"] == ["it has just started"]
    lines = text.status(told).splitlines()
    assert lines[0] == "host       h1: joining, NOT qualified"
    assert "clock      not compared: no live peer is heard" in lines
    assert "roster     none yet" in lines
    assert "  problem  no slot claimed yet" in lines


class Feeder:
    """Stands for the line to the feeder."""

    def __init__(self, armed: Armed | None) -> None:
        self.armed = armed
        self.told: list[float | None] = []
        self.problem: str | None = None

    def tell(self, grounds: float | None) -> Armed | None:
        self.told.append(grounds)
        return self.armed


def test_an_armed_watchdog_is_promised_in_the_slot_and_shown(host: Host) -> None:
    feeder = host.agent.tether = Feeder(Armed(10.0, 36.5))  # type: ignore[assignment]
    host.tick()
    content, _ = host.agent._content()
    assert Flag.WATCHDOG in content.flags
    assert (content.watchdog_timeout, content.watchdog_promise) == (10.0, 36.5)
    assert feeder.told == [host.agent.writer.written.at]
    assert "watchdog   armed, 10.0 s" in text.status(report.status(host.agent))


def test_the_newest_of_renewal_and_acknowledgement_is_what_it_lives_on(host: Host) -> None:
    feeder = host.agent.tether = Feeder(None)  # type: ignore[assignment]
    host.renewed = 30.0
    host.heart.vouched_at = time.monotonic() - 1.0
    host.tick()
    assert feeder.told == [host.heart.vouched_at]
    assert Flag.WATCHDOG not in host.agent._content()[0].flags
    assert "watchdog   NOT armed" in text.status(report.status(host.agent))


def test_the_promise_of_another_host_is_published(host: Host) -> None:
    host.slots[3] = replace(host.slots[3], flags=OK | Flag.WATCHDOG, watchdog_promise=36.5)
    assert told(host.tick(), "h4")["vmha.host.watchdog"] == 36.5


def test_a_qualified_witness_vouches_for_whom_it_hears(host: Host) -> None:
    host.tick()
    assert (host.heart.standing.vouches, host.heart.standing.bare) == (True, False)


def test_without_a_lease_it_vouches_only_when_most_have_none(host: Host) -> None:
    host.renewed = 9.0
    host.heart.bare_ones = 1
    host.tick()
    assert (host.heart.standing.vouches, host.heart.standing.bare) == (False, True)
    host.heart.bare_ones = 2
    host.tick()
    assert host.heart.standing.vouches


def test_it_does_not_vouch_for_a_host_that_promised_by_shorter_intervals(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """[agent] lease_interval differs: this host's word would reach further than that promise."""
    host.slots[2] = replace(
        host.slots[2], flags=OK | Flag.WATCHDOG, watchdog_timeout=10.0, watchdog_promise=36.5
    )
    host.slots[3] = replace(
        host.slots[3], flags=OK | Flag.WATCHDOG, watchdog_timeout=10.0, watchdog_promise=28.0
    )
    host.tick()
    host.tick()
    assert host.heart.standing.unvouched == {3}
    assert caplog.text.count("does not vouch for h4") == 1
    assert "lease_interval" in caplog.text


def test_the_last_word_holds_no_promise(host: Host) -> None:
    host.agent.tether = Feeder(Armed(10.0, 36.5))  # type: ignore[assignment]
    host.tick()
    host.agent.stop.set()
    content, _ = host.agent._content()
    assert (content.flags, content.watchdog_promise) == (Flag.LEAVING, 0.0)


def test_the_keys_are_read_anew_and_kept_when_that_fails(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    (host.folder / "key").write_text("the next key, long enough")
    host.agent._take_keys()
    assert host.heart.keys == (b"the next key, long enough",)
    (host.folder / "key").write_text("short")
    host.agent._take_keys()
    assert host.heart.keys == (b"the next key, long enough",)
    assert "the heartbeat keys stay as they were" in caplog.text


def test_a_host_whose_renewal_is_late_asks_for_answers(host: Host) -> None:
    for late, asks, bare in ((4.0, False, False), (6.0, True, False), (9.0, True, True)):
        host.renewed = late
        host.tick()
        assert (host.heart.standing.asks, host.heart.standing.bare) == (asks, bare)


def test_a_pollster_gets_the_suspect_and_what_it_does_not_skip(host: Host) -> None:
    host.slots[2] = replace(host.slots[2], flags=OK | Flag.ISOLATED)
    assert {entry["host"] for entry in host.tick()["hosts"]} == {"h1", "h2", "h3", "h4"}
    some = report.readings(host.agent, {"skip": "e"})  # slots 1, 2 and 3
    assert {entry["host"] for entry in some["hosts"]} == {"h1", "h3"}
    assert some["watched"] == 4
    assert len(report.readings(host.agent, {"skip": "nonsense"})["hosts"]) == 4
