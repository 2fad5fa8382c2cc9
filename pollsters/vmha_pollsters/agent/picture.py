# SPDX-License-Identifier: Apache-2.0
"""What the agent knows at one moment, and what it says of that: in its slot, and in its log."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vmha_pollsters.agent.storage.keeper import Content
from vmha_pollsters.agent.watchdog.tether import Armed
from vmha_pollsters.agent.witness.crew import Crew
from vmha_pollsters.agent.witness.fusion import aged, fuse
from vmha_pollsters.agent.witness.limits import Limits
from vmha_pollsters.agent.witness.peers import Peer
from vmha_pollsters.agent.witness.qualification import Qualification
from vmha_pollsters.lease.layout import NO_FLAGS, NO_OPINION, Flag, Header, Opinion, Roster
from vmha_pollsters.reading import Reading

LOG = logging.getLogger(__name__)

#: Witness's slot -> what it says of each host.
Views = Mapping[int, Mapping[int, Opinion]]

#: A picture older than this many beats was left by a process that did not run: not written.
OLD_PICTURE = 3.0

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

    @property
    def watches(self) -> bool:
        """Tell whether this host is one of the witnesses."""
        return self.role in ("master", "witness")


def content(picture: Picture, header: Header | None, beat: float) -> tuple[Content, Roster | None]:
    """Return what the next renewal says, and the roster to write with it.

    `header` is of the area as last read; `beat` the seconds between two heartbeats.
    """
    passed = time.monotonic() - picture.at
    if passed > OLD_PICTURE * beat:
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
    if header is not None and picture.watches:
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


def news(picture: Picture, limits: Limits) -> tuple[object, ...]:
    """Return what others are to know at once when it changes."""
    slow = limits.suspect_heard
    silent = [p for p in picture.few if p.opinion.heard is None or p.opinion.heard > slow]
    return (
        picture.qualification.ok,
        picture.isolated,
        picture.next_roster and picture.next_roster.witnesses,
        # Only a witness's slot says anything of others. (Of who is heard, a probe is no news.)
        tuple((p.slot, p.opinion.probe) for p in silent) if picture.watches else (),
    )


def log_change(before: Picture, after: Picture) -> None:
    """Log what changed, one sentence a change."""
    if after.role != before.role:
        LOG.info("role: %s", after.role)
    if after.qualification.ok != before.qualification.ok:
        if after.qualification.ok:
            LOG.info("qualified: it hears %d hosts", after.qualification.heard)
        else:
            LOG.warning("not qualified: %s", "; ".join(after.qualification.why))
    if after.isolated != before.isolated:
        LOG.warning("isolated: %s", after.isolated)
