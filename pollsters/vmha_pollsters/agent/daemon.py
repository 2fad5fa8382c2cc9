# SPDX-License-Identifier: Apache-2.0
"""The agent at work: its threads, and a tick that turns what they know into evidence."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from vmha_pollsters.agent import witness
from vmha_pollsters.agent.hearing import Hearing
from vmha_pollsters.agent.heart import Heart, Route, Standing, Station
from vmha_pollsters.agent.keeper import Content, Identity, Keeper
from vmha_pollsters.agent.probe import Prober
from vmha_pollsters.agent.slots import SlotFile
from vmha_pollsters.agent.storage import Reader, Seen, Writer
from vmha_pollsters.agent.watchdog.tether import Armed, Tether
from vmha_pollsters.agent.witness import Me, Peer, Qualification, Reading
from vmha_pollsters.conf import GROUP, host_name, read_boot_id, read_keys, require
from vmha_pollsters.lease.contract import LeaseDriver, Sight
from vmha_pollsters.lease.layout import NO_FLAGS, NO_OPINION, Flag, Opinion, Roster
from vmha_pollsters.lease.slots import SlotsLease
from vmha_remediator.errors import ConfigError

LOG = logging.getLogger(__name__)

#: A host stays in the fast lane this long after its last suspect reading.
RECOVERED = 12.0
#: Silence of a peer that was never heard gets an age after this many beats.
WATCH_BEATS = 10.0
#: Up to this many slots one read of all is as cheap as a few small ones.
SMALL_TABLE = 32
#: From so many hosts on a witness takes stock once a beat, not twice, and looks at those that
#: are well for their probes' sake in so many turns.
CROWD = 200
TURNS = 8
STOP_TIMEOUT = 4.0
#: A picture older than this many beats was left by a process that did not run: not written.
OLD_PICTURE = 3.0
NO_WATCHDOG = "none"


JUST_STARTED = Qualification(False, ("it has just started",))


@dataclass(frozen=True)
class Picture:
    """What the agent knows at one moment; replaced as a whole at every tick."""

    at: float  # monotonic
    slot: int | None = None
    roster: Roster | None = None
    roster_stale: bool = True
    qualification: Qualification = JUST_STARTED
    peers: tuple[Peer, ...] = ()
    readings: tuple[Reading, ...] = ()
    witnesses: tuple[int, ...] = ()  # whose views are behind the readings
    isolated: bool = False
    next_roster: Roster | None = None
    problems: tuple[str, ...] = ()
    armed: Armed | None = None  # the watchdog that may be promised

    @property
    def role(self) -> str:
        """Return master, witness or member (or joining, without a slot)."""
        if self.slot is None:
            return "joining"
        if self.roster is None or self.slot not in self.roster.witnesses:
            return "member"
        return "master" if self.roster.master == self.slot else "witness"


class Agent:
    """One host's agent; `run` returns when `stop` is set and the slot says "leaving"."""

    def __init__(self, conf: Any) -> None:
        settings = conf[GROUP]
        self.host = host_name(conf)
        self.settings = settings
        self.limits = witness.limits(settings.heartbeat_interval, settings.lease_interval)
        boot_id, cluster = read_boot_id(conf), require(conf, "cluster")
        address, path = require(conf, "address"), require(conf, "lease_path")
        self.stop = threading.Event()
        self._kick = threading.Event()
        beat = settings.heartbeat_interval
        self.heart = Heart(
            Station(self.host, address, settings.port, boot_id, cluster, read_keys(conf), beat),
            Hearing(watch=WATCH_BEATS * beat, fresh=self.limits.hears),
        )
        self.prober = Prober(settings.probe_port)
        me = Identity(self.host, address, boot_id, cluster, settings.priority)
        lease = settings.lease_interval
        keeper = Keeper(SlotFile(path), me, lease, self.stop.wait)
        self.writer = Writer(keeper, self._content, lease, self._kick)
        driver = load_driver(settings)
        freshness = driver if isinstance(driver, SlotsLease) else SlotsLease(settings)
        self.reader = Reader(
            SlotFile(path), driver, freshness, cluster, self._plan, self.limits.own_read
        )
        self.tether: Tether | None = None
        if settings.watchdog_driver != NO_WATCHDOG:
            self.tether = Tether(settings.watchdog_socket)
        self.picture = Picture(time.monotonic())
        self._suspect: dict[str, float] = {}
        self._good: dict[int, float] = {}
        self._alone_since: float | None = None
        self._turn = 0

    def run(self) -> None:
        """Work until `stop` is set."""
        threads = [
            threading.Thread(target=target, args=(self.stop,), name=name, daemon=True)
            for name, target in (
                ("heart", self.heart.run),
                ("writer", self.writer.run),
                ("reader", self.reader.run),
            )
        ]
        for thread in threads:
            thread.start()
        while not self.stop.wait(self._pause()):
            try:
                self.tick()
            except Exception:  # the picture grows old, so this host falls silent by itself
                LOG.exception("this cycle failed; trying the next one")
            dead = [thread.name for thread in threads if not thread.is_alive()]
            if dead and not self.stop.is_set():
                LOG.critical("thread %s died; stopping, to be started anew", dead[0])
                os._exit(1)
        self._kick.set()
        self.prober.stop()
        deadline = time.monotonic() + STOP_TIMEOUT
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _pause(self) -> float:
        crowd = len(self.picture.peers) > CROWD
        return float(self.settings.heartbeat_interval) * (1.0 if crowd else 0.5)

    def tick(self) -> None:
        """Take stock once: qualify, fuse, decide about roles, probe, and remember it all."""
        now = time.monotonic()
        before, seen, written = self.picture, self.reader.seen, self.writer.written
        stale = seen.roster is None or seen.roster_age > self.limits.roster_stale
        peers = tuple(self._peers(seen, self._scope(seen, written.slot, stale), written.slot, now))
        me = self._me(seen, now)
        qualification = witness.qualify(me, peers, self.limits)
        views = witness.believed(me, qualification, peers, seen.roster, self.limits)
        readings = self._mark_recovering(witness.fuse(peers, views, self.limits), now)
        wanted = None
        # Who has just begun to look (again) knows nobody's lease yet: the roster that it would
        # write names itself alone and takes the witnesses' role away.
        settled = me.reading >= self.limits.settle_read
        if written.slot is not None and settled and not written.problem and not seen.problem:
            incumbents = self._incumbents(seen.roster, peers, now)
            wanted = witness.next_roster(
                written.slot, peers, seen.roster, stale, incumbents, self.limits
            )
        self._steer(written.slot, seen, peers)
        self.heart.standing = self._standing(seen, bool(views), now)
        self._probe(peers, written.slot, now)
        self.picture = Picture(
            at=now,
            slot=written.slot,
            roster=seen.roster,
            roster_stale=stale,
            qualification=qualification,
            peers=peers,
            readings=readings,
            witnesses=tuple(sorted(views)),
            isolated=self._isolated(peers, written.slot, now),
            next_roster=wanted,
            problems=me.problems,
            armed=self._promise(),
        )
        self._tell(before, self.picture)

    def _me(self, seen: Seen, now: float) -> Me:
        written = self.writer.written
        problems = [p for p in (written.problem, seen.problem, self.heart.problem) if p]
        expected = None
        if written.slot is not None:
            expected = witness.senders(written.slot, seen.roster, seen.slots)
        return Me(
            slot=written.slot,
            write_age=None if written.at is None else now - written.at,
            read_age=None if seen.at is None else now - seen.at,
            listening=self.heart.listening_for(),
            reading=0.0 if seen.since is None else max(0.0, now - seen.since),
            expected=expected,
            problems=tuple(problems),
        )

    def _standing(self, seen: Seen, speaks: bool, now: float) -> Standing:
        """Return what this host's packets say: see "The watchdog" in the contributors' guide."""
        written = self.writer.written
        bare = written.at is None or now - written.at > self.limits.lease_live
        hosts = 0
        if bare:  # an ordinary host of a big cluster reads a few slots only
            hosts = sum(Flag.LEAVING not in slot.flags for slot in seen.slots.values())
            hosts = max(hosts, len(seen.roster.members) if seen.roster is not None else 0)
        vouches = witness.may_vouch(
            speaks=speaks and Flag.QUALIFIED in written.flags,
            bare=bare,
            heard_bare=self.heart.bare(),
            hosts=hosts,
        )
        return Standing(now, bare, vouches)

    def _promise(self) -> Armed | None:
        """Tell the feeder the newest grounds to live; return what the slot may promise."""
        if self.tether is None:
            return None
        known = [t for t in (self.writer.written.at, self.heart.vouched()) if t is not None]
        return self.tether.tell(max(known, default=None))

    def _scope(self, seen: Seen, mine: int | None, stale: bool) -> Iterable[int]:
        """Return the slots this host is to know of: all, or what an ordinary one reads."""
        roster = seen.roster
        ordinary = mine is not None and roster is not None and mine not in roster.witnesses
        small = seen.header is None or seen.header.hosts <= SMALL_TABLE
        if stale or small or not ordinary or mine is None:
            return seen.slots
        return {mine, *witness.targets(mine, roster, seen.slots)} & seen.slots.keys()

    def _peers(
        self, seen: Seen, scope: Iterable[int], mine: int | None, now: float
    ) -> Iterable[Peer]:
        found: dict[str, Peer] = {}
        unknown = Sight(None, now)
        for index in sorted(scope):
            slot = seen.slots[index]
            lease = seen.sights.get(index, unknown)
            fresh = seen.fresh.get(index, unknown)
            own = index == mine
            peer = Peer(
                slot=index,
                host=slot.host,
                priority=slot.priority,
                flags=slot.flags,
                opinion=Opinion(
                    0.0 if own else self.heart.heard(slot.host),
                    lease.age,
                    self.prober.result(slot.host, now),
                ),
                views=dict(enumerate(slot.views)) if slot.views else None,
                slot_age=fresh.age,
                clock_offset=None if own else self.heart.clock_offset(slot.host),
                problem=lease.problem or fresh.problem,
                watchdog=slot.watchdog_promise if Flag.WATCHDOG in slot.flags else 0.0,
            )
            other = found.get(slot.host)
            found[slot.host] = peer if other is None else self._one_of(other, peer)
        return sorted(found.values(), key=lambda p: p.slot)

    def _one_of(self, one: Peer, two: Peer) -> Peer:
        """Of two slots with one host name take the live one; two live ones are a problem."""
        alive = [p for p in (one, two) if witness.is_live(p, self.limits)]
        if len(alive) == 2:
            return replace(one, problem=f"slots {one.slot} and {two.slot} both say {one.host}")
        return alive[0] if alive else two

    def _mark_recovering(self, readings: Iterable[Reading], now: float) -> tuple[Reading, ...]:
        marked = []
        for reading in readings:
            if reading.suspect:
                self._suspect[reading.host] = now
            elif now - self._suspect.get(reading.host, float("-inf")) < RECOVERED:
                reading = replace(reading, suspect=True)
            marked.append(reading)
        return tuple(marked)

    def _incumbents(
        self, roster: Roster | None, peers: Iterable[Peer], now: float
    ) -> dict[int, float]:
        """Return for each present witness how long it has been unqualified."""
        present = roster.witnesses if roster is not None else ()
        qualified = {p.slot for p in peers if Flag.QUALIFIED in p.flags}
        self._good = {
            slot: now if slot in qualified else self._good.get(slot, now) for slot in present
        }
        return {slot: now - good for slot, good in self._good.items()}

    def _steer(self, mine: int | None, seen: Seen, peers: Iterable[Peer]) -> None:
        if mine is None:
            self.heart.steer(None)
            return
        names = {p.slot: p.host for p in peers if p.slot != mine}
        expected = witness.senders(mine, seen.roster, seen.slots)
        to = witness.targets(mine, seen.roster, seen.slots) & names.keys()
        self.heart.steer(
            Route(
                slot=mine,
                targets={n: seen.slots[n].address for n in to},
                senders=frozenset(
                    host for n, host in names.items() if expected is None or n in expected
                ),
                boots={
                    host: seen.slots[n].boot_id for n, host in names.items() if n in seen.fresh
                },
            )
        )

    def _probe(self, peers: Iterable[Peer], mine: int | None, now: float) -> None:
        """Probe who is silent, and now and then who is well.

        Only witnesses watch the silent. In a small cluster everybody tries the hosts that are
        well, so that a host has proven its probes before it becomes a witness.
        """
        seen = self.reader.seen
        watching = seen.roster is not None and mine in seen.roster.witnesses
        small = seen.header is not None and seen.header.hosts <= SMALL_TABLE
        if mine is None or not (watching or small):
            return
        self._turn = (self._turn + 1) % TURNS
        crowd = len(seen.slots) > CROWD
        for peer in peers:
            if peer.slot == mine or Flag.LEAVING in peer.flags or peer.slot not in seen.slots:
                continue
            heard = peer.opinion.heard
            well = heard is not None and heard <= self.limits.suspect_heard
            if crowd and well and peer.slot % TURNS != self._turn:
                continue
            healthy = partial(self._is_well, peer.host)
            if watching or healthy():
                self.prober.consider(peer.host, seen.slots[peer.slot].address, healthy, now)
        self.prober.forget(p.host for p in peers)

    def _is_well(self, host: str) -> bool:
        age = self.heart.heard(host)
        return age is not None and age <= self.limits.suspect_heard

    def _isolated(self, peers: Iterable[Peer], mine: int | None, now: float) -> bool:
        """Tell whether this host hears nobody and the isolation addresses do not answer."""
        others = any(p.slot != mine and witness.is_live(p, self.limits) for p in peers)
        heard = self.heart.last_heard()
        silence = self.heart.listening_for() if heard is None else heard
        if not others or silence <= self.limits.suspect_heard:
            self._alone_since = None
            return False
        if self._alone_since is None:
            self._alone_since = now
        answered = self.prober.anybody(
            self.settings.isolation_addresses, now, within=self.limits.hears
        )
        asked = now - self._alone_since
        return silence > self.limits.hears and asked >= self.limits.suspect_heard and not answered

    def _content(self) -> tuple[Content, Roster | None]:
        """Return what the next renewal says (called by the writing thread)."""
        picture = self.picture
        if self.stop.is_set():
            return Content(Flag.LEAVING), None
        passed = time.monotonic() - picture.at
        if passed > OLD_PICTURE * self.settings.heartbeat_interval:
            return Content(), None  # it lives, and knows nothing: it was frozen until just now
        flags = NO_FLAGS
        if picture.qualification.ok:
            flags |= Flag.QUALIFIED
        if picture.isolated:
            flags |= Flag.ISOLATED
        armed = picture.armed
        if armed is not None:
            flags |= Flag.WATCHDOG
        views: tuple[Opinion, ...] = ()
        header = self.reader.seen.header
        if header is not None and picture.role in ("master", "witness"):
            known = {p.slot: witness.aged(p.opinion, heard_by=passed) for p in picture.peers}
            views = tuple(known.get(n, NO_OPINION) for n in range(header.hosts))
        roster = picture.next_roster
        said = Content(flags, views)
        if armed is not None:
            said = replace(said, watchdog_timeout=armed.timeout, watchdog_promise=armed.promise)
        return said, roster and replace(roster, written=time.time())

    def _plan(self) -> tuple[Iterable[int] | None, float]:
        """Return which slots to read next (None: all) and how long to rest after that."""
        picture, lease = self.picture, self.settings.lease_interval
        watching = picture.role in ("master", "witness")
        header = self.reader.seen.header
        small = header is None or header.hosts <= SMALL_TABLE
        hurry = small or any(r.suspect for r in picture.readings)
        rest = lease / 4 if watching and hurry else lease / 2
        if watching or small or picture.roster_stale or picture.slot is None:
            return None, rest
        known = self.reader.seen.slots
        return {picture.slot, *witness.targets(picture.slot, picture.roster, known)}, 0.75 * lease

    def _tell(self, before: Picture, after: Picture) -> None:
        """Log what changed, one sentence a change, and have big news written at once."""
        if after.role != before.role:
            LOG.info("role: %s", after.role)
        if after.qualification.ok != before.qualification.ok:
            if after.qualification.ok:
                LOG.info("qualified: it hears %d hosts", after.qualification.heard)
            else:
                LOG.warning("not qualified: %s", "; ".join(after.qualification.why))
        if after.isolated != before.isolated:
            LOG.warning("isolated: %s", after.isolated)
        if self._news(before) != self._news(after):
            self._kick.set()

    def _news(self, picture: Picture) -> tuple[object, ...]:
        slow = self.limits.suspect_heard
        return (
            picture.qualification.ok,
            picture.isolated,
            picture.next_roster and picture.next_roster.witnesses,
            tuple(
                (p.slot, p.opinion.probe)  # of a host that is heard, a probe is no news
                for p in picture.peers
                if p.opinion.heard is None or p.opinion.heard > slow
            ),
        )


def load_driver(settings: Any) -> LeaseDriver:
    """Return the lease driver named in the configuration; raises `ConfigError`."""
    if settings.lease_driver == SlotsLease.name:  # spares the scan of every installed package
        return SlotsLease(settings)
    from stevedore import driver, exception

    try:
        manager = driver.DriverManager(
            "vmha.lease", settings.lease_driver, invoke_on_load=True, invoke_args=(settings,)
        )
    except exception.NoMatches as exc:
        raise ConfigError(f"[agent] lease_driver '{settings.lease_driver}' is not known") from exc
    loaded: LeaseDriver = manager.driver
    return loaded
