# SPDX-License-Identifier: Apache-2.0
"""The agent at work: its threads, and a tick that turns what they know into evidence."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from vmha_pollsters.agent.hearing import Hearing
from vmha_pollsters.agent.heart import Heart, Route, Standing, Station
from vmha_pollsters.agent.probe import Prober
from vmha_pollsters.agent.storage.keeper import Content, Identity, Keeper
from vmha_pollsters.agent.storage.reader import Reader, Seen
from vmha_pollsters.agent.storage.slotfile import SlotFile
from vmha_pollsters.agent.storage.table import NEAR
from vmha_pollsters.agent.storage.writer import Writer
from vmha_pollsters.agent.watchdog.tether import Armed, Tether
from vmha_pollsters.agent.witness.crew import Cast, Crew, Known
from vmha_pollsters.agent.witness.fusion import Reading, aged, believed, fuse
from vmha_pollsters.agent.witness.limits import Limits, limits
from vmha_pollsters.agent.witness.peers import NOBODY, Peer, Rest, is_live, is_well
from vmha_pollsters.agent.witness.qualification import Me, Qualification, may_vouch, qualify
from vmha_pollsters.agent.witness.roster import next_roster, senders, targets
from vmha_pollsters.conf import GROUP, host_name, read_boot_id, read_keys, require
from vmha_pollsters.lease.contract import LeaseDriver
from vmha_pollsters.lease.layout import (
    FIRST_HOST,
    NO_FLAGS,
    NO_OPINION,
    Flag,
    Opinion,
    Roster,
    Slot,
    has,
)
from vmha_pollsters.lease.slots import SlotsLease
from vmha_remediator.errors import ConfigError

LOG = logging.getLogger(__name__)

#: Witness's slot -> what it says of each host.
Views = Mapping[int, Mapping[int, Opinion]]

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
#: An ordinary host of a cluster that is not small reads its own and its peers' slots with every
#: so many looks. (`keeper.OWN_LOOKED` relies on it.)
FEW_LOOKS = 4
STOP_TIMEOUT = 4.0
#: A silence of so many times what is suspect is no news any more.
RECENTLY = 10.0
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
    peers: Sequence[Peer] = ()
    few: Sequence[Peer] = ()  # those of them that are worth a look, in a crowd
    views: Views = field(default_factory=dict)  # of the witnesses that may be believed
    suspects: frozenset[str] = frozenset()  # hosts whose reading is, or was of late
    isolated: bool = False
    next_roster: Roster | None = None
    problems: tuple[str, ...] = ()
    armed: Armed | None = None  # the watchdog that may be promised

    def readings(self, limits: Limits, skip: frozenset[int] = frozenset()) -> list[Reading]:
        """Return what all qualified witnesses say of the hosts, but for the slots to `skip`,
        which the suspects are not.

        Fused when it is asked for: of most hosts of a crowd nobody asks in most cycles.
        """
        if not self.views:
            return []
        everybody = self.peers
        if isinstance(everybody, Crew):
            wanted = everybody.but(skip, self.suspects)
            looked_at = [p for p in self.few if p.slot in wanted]
            well = everybody.fuse(wanted.difference(p.slot for p in self.few), self.views)
        else:
            looked_at = [p for p in everybody if p.slot not in skip or p.host in self.suspects]
            well = []
        found = sorted([*fuse(looked_at, self.views, limits), *well])
        if not self.suspects:
            return found
        return [r._replace(suspect=True) if r.host in self.suspects else r for r in found]

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
        if settings.watchdog_driver != NO_WATCHDOG:
            self.tether = Tether(settings.watchdog_socket)
        self.picture = Picture(time.monotonic())
        self._suspect: dict[str, float] = {}
        self._good: dict[int, float] = {}
        self._alone_since: float | None = None
        self._turn = 0
        self._steered: object = None
        self._cast: tuple[object, Cast] | None = None
        self._news: object = None
        self._looks = 0
        self._introduced: object = None

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
        few = self._follows_few(seen, written.slot, stale)
        everybody = self._everybody(seen, few, written.slot, now)
        peers, rest = everybody, NOBODY
        if isinstance(everybody, Crew) and seen.roster is not None:
            peers, rest = everybody.split(self.limits, seen.roster.witnesses)
        me = self._me(seen, now)
        qualification = qualify(me, peers, self.limits, rest)
        views = believed(me, qualification, peers, seen.roster, self.limits, rest)
        suspects = self._suspects(written.slot, peers, views, now)
        wanted = None
        # Who has just begun to look (again) knows nobody's lease yet: the roster that it would
        # write names itself alone and takes the witnesses' role away.
        settled = me.reading >= self.limits.settle_read
        if written.slot is not None and settled and not written.problem and not seen.problem:
            incumbents = self._incumbents(seen.roster, peers, now)
            wanted = next_roster(
                written.slot, peers, seen.roster, stale, incumbents, self.limits, rest
            )
        self._steer(written.slot, seen, everybody)
        self.heart.standing = self._standing(seen, bool(views), now)
        self._probe(peers, everybody, written.slot, now)
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
            isolated=self._isolated(peers, rest, written.slot, now),
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
        return Standing(now, bare, asks, vouches)

    def _promise(self) -> Armed | None:
        """Tell the feeder the newest grounds to live; return what the slot may promise."""
        if self.tether is None:
            return None
        known = [t for t in (self.writer.written.at, self.heart.vouched()) if t is not None]
        return self.tether.tell(max(known, default=None))

    def _follows_few(self, seen: Seen, mine: int | None, stale: bool) -> bool:
        """Tell whether this is an ordinary host of a cluster that is not small.

        It reads the slots of its few peers only, and those seldom: who else lives it takes from
        the roster.
        """
        roster = seen.roster
        ordinary = mine is not None and roster is not None and mine not in roster.witnesses
        small = seen.header is None or seen.header.hosts <= SMALL_TABLE
        return ordinary and not small and not stale

    def _everybody(self, seen: Seen, few: bool, mine: int | None, now: float) -> Sequence[Peer]:
        """Return all hosts that this one knows, in the order of their slots."""
        heard, clocks = self.heart.census()
        known = Known(
            heard,
            clocks,
            self.prober.results(now),
            seen.sights,
            seen.fresh,
            mine,
            seen.roster.members if few and seen.roster is not None else frozenset(),
        )
        if few and mine is not None and seen.roster is not None:
            wanted = {mine, *targets(mine, seen.roster, seen.slots)}
            return self._peers(wanted & seen.slots.keys(), seen.slots, known)
        watches = seen.roster is not None and mine in seen.roster.witnesses
        if watches and len(seen.slots) > CROWD and seen.edition is not None:
            cast = self._cast_of(seen)
            if not cast.doubles:
                return Crew(cast, seen.slots, known)
        return self._peers(seen.slots, seen.slots, known)

    def _cast_of(self, seen: Seen) -> Cast:
        """Return what the slots say besides that they live, as before if nothing changed."""
        about = (seen.edition, len(seen.slots))
        if self._cast is None or self._cast[0] != about:
            self._cast = about, Cast(seen.slots)
        return self._cast[1]

    def _peers(
        self, scope: Iterable[int], slots: Mapping[int, Slot], known: Known
    ) -> tuple[Peer, ...]:
        found: dict[str, Peer] = {}
        for index in sorted(scope):
            peer = known.peer(index, slots[index])
            other = found.get(peer.host)
            found[peer.host] = peer if other is None else self._one_of(other, peer)
        return tuple(sorted(found.values(), key=lambda p: p.slot))

    def _one_of(self, one: Peer, two: Peer) -> Peer:
        """Of two slots with one host name take the live one; two live ones are a problem."""
        alive = [p for p in (one, two) if is_live(p, self.limits)]
        if len(alive) == 2:
            return one._replace(problem=f"slots {one.slot} and {two.slot} both say {one.host}")
        return alive[0] if alive else two

    def _suspects(
        self, mine: int | None, peers: Sequence[Peer], views: Views, now: float
    ) -> frozenset[str]:
        """Return the hosts whose reading is suspect, or was until a moment ago."""
        if not views:
            return frozenset()
        doubtful = [p for p in peers if p.slot == mine or not is_well(p, self.limits)]
        for reading in fuse(doubtful, views, self.limits):
            if reading.suspect:
                self._suspect[reading.host] = now
        self._suspect = {h: at for h, at in self._suspect.items() if now - at < RECOVERED}
        return frozenset(self._suspect)

    def _incumbents(
        self, roster: Roster | None, peers: Iterable[Peer], now: float
    ) -> dict[int, float]:
        """Return for each present witness how long it has been unqualified."""
        present = roster.witnesses if roster is not None else ()
        qualified = {p.slot for p in peers if p.slot in present and has(p.flags, Flag.QUALIFIED)}
        self._good = {
            slot: now if slot in qualified else self._good.get(slot, now) for slot in present
        }
        return {slot: now - good for slot, good in self._good.items()}

    def _steer(self, mine: int | None, seen: Seen, everybody: Sequence[Peer]) -> None:
        if mine is None:
            self._steered = None
            self.heart.steer(None)
            return
        roster = seen.roster and (seen.roster.witnesses, seen.roster.members)
        steered = (mine, seen.edition, roster, len(seen.fresh), _indexes(everybody))
        if seen.edition is not None and steered == self._steered:
            return  # nothing changed but what every renewal changes
        names = {n: seen.slots[n].host for n in _indexes(everybody) if n != mine}
        expected = senders(mine, seen.roster, seen.slots)
        to = targets(mine, seen.roster, seen.slots) & names.keys()
        self._steered = steered
        self.prober.forget([seen.slots[n].host for n in _indexes(everybody)])
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
                homes={n: seen.slots[n].address for n in names},
            )
        )

    def _probe(
        self, peers: Sequence[Peer], everybody: Sequence[Peer], mine: int | None, now: float
    ) -> None:
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
        if isinstance(everybody, Crew):
            turn = everybody.part(self._turn, TURNS, but={p.slot for p in peers})
            due = self.prober.due(turn, now)
            peers = [*peers, *everybody.pick(turn[host] for host in due)]
        for peer in peers:
            if peer.slot == mine or has(peer.flags, Flag.LEAVING) or peer.slot not in seen.slots:
                continue
            healthy = partial(self._is_well, peer.host)
            if watching or healthy():
                self.prober.consider(peer.host, seen.slots[peer.slot].address, healthy, now)

    def _is_well(self, host: str) -> bool:
        age = self.heart.heard(host)
        return age is not None and age <= self.limits.suspect_heard

    def _isolated(self, peers: Iterable[Peer], rest: Rest, mine: int | None, now: float) -> bool:
        """Tell whether this host hears nobody and the isolation addresses do not answer."""
        others = bool(rest.slots) or any(p.slot != mine and is_live(p, self.limits) for p in peers)
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
        views: Sequence[Opinion] = ()
        header = self.reader.seen.header
        if header is not None and picture.role in ("master", "witness"):
            if isinstance(picture.peers, Crew):
                views = picture.peers.view(header.hosts, passed)
            else:
                known = {p.slot: aged(p.opinion, passed) for p in picture.peers}
                views = tuple(known.get(n, NO_OPINION) for n in range(header.hosts))
        roster = picture.next_roster
        said = Content(flags, views)
        if armed is not None:
            said = replace(said, watchdog_timeout=armed.timeout, watchdog_promise=armed.promise)
        return said, roster and replace(roster, written=time.time())

    def _plan(self) -> tuple[Iterable[int] | None, float]:
        """Return which slots to read next (None: all), and when to look again after that."""
        picture, lease = self.picture, self.settings.lease_interval
        watching = picture.role in ("master", "witness")
        header = self.reader.seen.header
        small = header is None or header.hosts <= SMALL_TABLE
        hurry = small or bool(picture.suspects)
        rest = lease / 4 if watching and hurry else lease / 2
        if picture.roster_stale or picture.slot is None or picture.roster is None:
            return None, rest
        # In a small cluster everybody may have to watch within seconds: what it knows of the
        # leases by then has to be as fine as if it had watched all along.
        if watching or small:
            return None, rest
        rest = rest if self._misses_somebody(picture) else lease
        return self._few(picture.slot, picture.roster), rest

    def _misses_somebody(self, picture: Picture) -> bool:
        """Tell whether a peer has fallen silent of late: then the roles may be changing."""
        slow = self.limits.suspect_heard
        heard = (p.opinion.heard for p in picture.peers)
        return any(age is not None and slow < age < RECENTLY * slow for age in heard)

    def _few(self, mine: int, roster: Roster | None) -> Iterable[int]:
        """Return the slots that an ordinary host reads with its next look.

        Header and roster are one request, and the slots close to them come for nothing. Its own
        and its peers' cost another, so they are read every so many looks only, and when the
        roster has changed.
        """
        known = self.reader.seen.slots
        wanted = {mine, *targets(mine, roster, known)}
        introduced = roster and (roster.witnesses, roster.members)
        self._looks += 1
        if introduced != self._introduced or self._looks >= FEW_LOOKS:
            self._looks, self._introduced = 0, introduced
            return wanted
        return {n for n in wanted if n + FIRST_HOST < NEAR}

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
        news = self._news_in(after)
        if news != self._news:
            self._news = news
            self._kick.set()

    def _news_in(self, picture: Picture) -> tuple[object, ...]:
        slow = self.limits.suspect_heard
        return (
            picture.qualification.ok,
            picture.isolated,
            picture.next_roster and picture.next_roster.witnesses,
            tuple(
                (p.slot, p.opinion.probe)  # of a host that is heard, a probe is no news
                for p in picture.few
                if p.opinion.heard is None or p.opinion.heard > slow
            ),
        )


def _indexes(peers: Sequence[Peer]) -> tuple[int, ...]:
    return peers.indexes if isinstance(peers, Crew) else tuple(p.slot for p in peers)


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
