# SPDX-License-Identifier: Apache-2.0
"""The agent at work: its threads, and a tick that turns what they know into evidence."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from vmha_pollsters.agent.company import CROWD, Company, follows_few, indexes, route
from vmha_pollsters.agent.heartbeat.hearing import Hearing
from vmha_pollsters.agent.heartbeat.heart import Heart
from vmha_pollsters.agent.heartbeat.station import Standing, Station
from vmha_pollsters.agent.looks import Looks
from vmha_pollsters.agent.picture import Picture, content, log_change, news
from vmha_pollsters.agent.probe import Prober
from vmha_pollsters.agent.reachability import Reachability
from vmha_pollsters.agent.storage.keeper import Content, Identity, Keeper
from vmha_pollsters.agent.storage.reader import Reader, Seen
from vmha_pollsters.agent.storage.slotfile import SlotFile
from vmha_pollsters.agent.storage.writer import Writer
from vmha_pollsters.agent.watchdog.tether import Armed, Tether
from vmha_pollsters.agent.witness.crew import Crew, Known
from vmha_pollsters.agent.witness.fusion import believed
from vmha_pollsters.agent.witness.limits import limits
from vmha_pollsters.agent.witness.peers import NOBODY, Peer
from vmha_pollsters.agent.witness.qualification import Me, breaks_promise, may_vouch, qualify
from vmha_pollsters.agent.witness.recent import Recent
from vmha_pollsters.agent.witness.roster import next_roster, senders
from vmha_pollsters.conf import GROUP, host_name, read_boot_id, read_keys, require
from vmha_pollsters.lease.drivers import load_driver
from vmha_pollsters.lease.layout import Flag, Roster, has
from vmha_pollsters.lease.slots import SlotsLease
from vmha_remediator.errors import ConfigError

LOG = logging.getLogger(__name__)

#: Silence of a peer that was never heard gets an age after this many beats.
WATCH_BEATS = 10.0
STOP_TIMEOUT = 4.0
NO_WATCHDOG = "none"


class Agent:
    """One host's agent; `run` returns when `stop` is set and the slot says "leaving"."""

    def __init__(self, conf: Any) -> None:
        settings = conf[GROUP]
        self.host = host_name(conf)
        self.settings = settings
        self.limits = limits(settings.heartbeat_interval, settings.lease_interval)
        boot_id, cluster = read_boot_id(conf), require(conf, "cluster")
        address, path = require(conf, "address"), require(conf, "lease_path")
        self.stop = threading.Event()
        self.reread_keys = False  # set it, and they are read before the next cycle
        self._read_keys = partial(read_keys, conf)
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
        self.writer = Writer(keeper, self._content, lease, self._kick, lambda: self.reader.table)
        driver = load_driver(settings)
        freshness = driver if isinstance(driver, SlotsLease) else SlotsLease(settings)
        self.reader = Reader(
            SlotFile(path), driver, freshness, cluster, self._plan, self.limits.own_read
        )
        self.tether: Tether | None = None
        self._short: Mapping[int, str] = {}  # slots and hosts that this one does not vouch for
        self._weighed: object = None  # the slots whose promises were looked at for that
        if settings.watchdog_driver != NO_WATCHDOG:
            self.tether = Tether(settings.watchdog_socket)
        self.picture = Picture(time.monotonic())
        self.reachability = Reachability(
            self.heart, self.prober, self.limits, settings.isolation_addresses
        )
        self._company = Company(self.limits)
        self._recent = Recent(self.limits)
        self._looks = Looks(lease, self.limits)
        self._steered: object = None
        self._news: object = None

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
            if self.reread_keys:
                self._take_keys()
            self.heart.catch_up()
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

    def _take_keys(self) -> None:
        """Sign and check with what the key files hold now; keep the old keys if that fails."""
        self.reread_keys = False
        try:
            self.heart.keys = self._read_keys()
        except ConfigError as exc:
            LOG.error("the heartbeat keys stay as they were: %s", exc)
        else:
            LOG.info("heartbeat keys read anew: %d", len(self.heart.keys))

    def _pause(self) -> float:
        crowd = len(self.picture.peers) > CROWD
        beats = 1.0 if crowd else 0.5
        return float(self.settings.heartbeat_interval) * beats - self.heart.catching_up()

    def tick(self) -> None:
        """Take stock once: qualify, fuse, decide about roles, probe, and remember it all."""
        now = time.monotonic()
        before, seen, written = self.picture, self.reader.seen, self.writer.written
        stale = seen.roster is None or seen.roster_age > self.limits.roster_stale
        few = follows_few(seen, written.slot, stale)
        known = self._known(seen, few, written.slot, now)
        everybody = self._company.everybody(seen, few, known)
        peers, rest = everybody, NOBODY
        if isinstance(everybody, Crew) and seen.roster is not None:
            peers, rest = everybody.split(self.limits, seen.roster.witnesses)
        me = self._me(seen, now)
        qualification = qualify(me, peers, self.limits, rest)
        views = believed(me, qualification, peers, seen.roster, self.limits, rest)
        suspects = self._recent.suspects(written.slot, peers, views, now)
        wanted = None
        # Who has just begun to look (again) knows nobody's lease yet: the roster that it would
        # write names itself alone and takes the witnesses' role away.
        settled = me.reading >= self.limits.settle_read
        if written.slot is not None and settled and not written.problem and not seen.problem:
            incumbents = self._recent.incumbents(seen.roster, peers, now)
            wanted = next_roster(
                written.slot, peers, seen.roster, stale, incumbents, self.limits, rest
            )
        self._steer(written.slot, seen, everybody)
        self.heart.standing = self._standing(seen, bool(views), now)
        self.reachability.probe(peers, everybody, seen, written.slot, now)
        self.picture = Picture(
            at=now,
            slot=written.slot,
            roster=seen.roster,
            roster_stale=stale,
            qualification=qualification,
            peers=everybody,
            few=peers,
            views=views,
            suspects=suspects,
            isolated=self.reachability.isolated(peers, rest, written.slot, now),
            next_roster=wanted,
            problems=me.problems,
            armed=self._promise(),
        )
        self._tell(before, self.picture)

    def _known(self, seen: Seen, few: bool, mine: int | None, now: float) -> Known:
        """Return what the threads know, of all hosts."""
        heard, clocks = self.heart.census()
        listed = seen.roster.members if few and seen.roster is not None else frozenset()
        probes = self.prober.results(now)
        return Known(heard, clocks, probes, seen.sights, seen.fresh, mine, listed)

    def _me(self, seen: Seen, now: float) -> Me:
        written = self.writer.written
        problems = [p for p in (written.problem, seen.problem, self.heart.problem) if p]
        expected = None
        if written.slot is not None:
            expected = senders(written.slot, seen.roster, seen.slots)
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
            hosts = sum(not has(slot.flags, Flag.LEAVING) for slot in seen.slots.values())
            hosts = max(hosts, len(seen.roster.members) if seen.roster is not None else 0)
        vouches = may_vouch(
            speaks=speaks and Flag.QUALIFIED in written.flags,
            bare=bare,
            heard_bare=self.heart.bare() if bare else 0,
            hosts=hosts,
        )
        asks = written.at is None or now - written.at > self.limits.own_write
        return Standing(
            now, bare, asks, vouches, self._unvouched(seen) if vouches else frozenset()
        )

    def _unvouched(self, seen: Seen) -> frozenset[int]:
        """Return the slots of hosts that promise less than this host's word would need."""
        weighed = (seen.edition, len(seen.slots))
        if seen.edition is None or weighed != self._weighed:  # else they promise what they did
            self._weigh(seen)
            self._weighed = weighed
        return frozenset(self._short)

    def _weigh(self, seen: Seen) -> None:
        """Find the hosts that promise less than this host's word would need."""
        lease, beat = self.settings.lease_interval, self.settings.heartbeat_interval
        found = {
            number: slot.host
            for number, slot in seen.slots.items()
            if breaks_promise(slot.watchdog_promise, slot.watchdog_timeout, lease, beat)
        }
        for host in sorted(set(found.values()) - set(self._short.values())):
            LOG.error(
                "this host does not vouch for %s, whose watchdog may reset it: there, [agent] "
                "lease_interval or heartbeat_interval is shorter than here, and they have to be "
                "the same on every host",
                host,
            )
        self._short = found

    def _promise(self) -> Armed | None:
        """Tell the feeder the newest grounds to live; return what the slot may promise."""
        if self.tether is None:
            return None
        known = [t for t in (self.writer.written.at, self.heart.vouched()) if t is not None]
        return self.tether.tell(max(known, default=None))

    def _steer(self, mine: int | None, seen: Seen, everybody: Sequence[Peer]) -> None:
        """Let the heartbeats go where they should, and no probe's record outlive its host."""
        if mine is None:
            self._steered = None
            self.heart.steer(None)
            return
        roster = seen.roster and (seen.roster.witnesses, seen.roster.members)
        steered = (mine, seen.edition, roster, len(seen.fresh), indexes(everybody))
        if seen.edition is not None and steered == self._steered:
            return  # nothing changed but what every renewal changes
        self._steered = steered
        self.prober.forget([seen.slots[n].host for n in indexes(everybody)])
        self.heart.steer(route(mine, seen, everybody))

    def _content(self) -> tuple[Content, Roster | None]:
        """Return what the next renewal says (called by the writing thread)."""
        if self.stop.is_set():
            return Content(Flag.LEAVING), None
        header = self.reader.seen.header
        return content(self.picture, header, self.settings.heartbeat_interval)

    def _plan(self) -> tuple[Iterable[int] | None, float]:
        """Return which slots to read next, and when (called by the reading thread)."""
        return self._looks.next(self.picture, self.reader.seen)

    def _tell(self, before: Picture, after: Picture) -> None:
        """Log what changed, and have big news written at once."""
        log_change(before, after)
        said = news(after, self.limits)
        if said != self._news:
            self._news = said
            self._kick.set()
