# SPDX-License-Identifier: Apache-2.0
"""PURE: what all qualified witnesses together say of each host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vmha_pollsters.agent.witness.limits import Limits
from vmha_pollsters.agent.witness.peers import NOBODY, Peer, Rest
from vmha_pollsters.agent.witness.qualification import Me, Qualification
from vmha_pollsters.lease.layout import NO_OPINION, Flag, Opinion, Probe, Roster, has
from vmha_pollsters.reading import Reading


def believed(
    me: Me,
    mine: Qualification,
    peers: Sequence[Peer],
    roster: Roster | None,
    limit: Limits,
    rest: Rest = NOBODY,
) -> dict[int, Mapping[int, Opinion]]:
    """Return the views of all witnesses that may be believed now: slot -> opinions.

    Ages in another's view have grown since it was written; its age is added, to a lease's age
    only as far as this host itself saw that lease unchanged: those grow by reads only. An
    empty result means that this host is no qualified witness and has to be silent.
    """
    if roster is None or me.slot not in roster.witnesses or not mine.ok:
        return {}
    own = rest.opinions
    if own is None:
        own = {p.slot: p.opinion for p in peers}
    views: dict[int, Mapping[int, Opinion]] = {me.slot: own}
    for peer in peers:
        if peer.slot == me.slot or peer.slot not in roster.witnesses or peer.problem:
            continue
        age = peer.slot_age
        wanted = has(peer.flags, Flag.QUALIFIED) and not has(peer.flags, Flag.LEAVING)
        if wanted and peer.views is not None and age is not None and age < limit.view:
            views[peer.slot] = Aged(peer.views, age, own)
    return views


class View(Mapping[int, Opinion]):
    """Opinions by slot, of which each is made when it is asked for."""

    def about(self, peer: Peer) -> Opinion | None:
        """Return what it says of `peer`, whose own `opinion` is this host's."""
        return self.get(peer.slot)


class Aged(View):
    """Another's opinions, `age` seconds later.

    `own` is what this host says: how long it saw each lease unchanged.
    """

    def __init__(
        self, opinions: Mapping[int, Opinion], age: float, own: Mapping[int, Opinion]
    ) -> None:
        self.opinions, self.age, self._own = opinions, age, own

    def __getitem__(self, slot: int) -> Opinion:
        return self._aged(self.opinions[slot], self._own.get(slot, NO_OPINION))

    def about(self, peer: Peer) -> Opinion | None:
        try:
            return self._aged(self.opinions[peer.slot], peer.opinion)
        except KeyError:
            return None

    def _aged(self, said: Opinion, own: Opinion) -> Opinion:
        return aged(said, self.age, min(self.age, own.lease or 0.0))

    def __len__(self) -> int:
        return len(self.opinions)

    def __iter__(self) -> Iterator[int]:
        return iter(self.opinions)


def aged(opinion: Opinion, heard_by: float, lease_by: float = 0.0) -> Opinion:
    """Return `opinion` with its ages grown by these many seconds."""
    return Opinion(
        None if opinion.heard is None else opinion.heard + heard_by,
        None if opinion.lease is None else opinion.lease + lease_by,
        opinion.probe,
    )


def fuse(
    peers: Sequence[Peer], views: Mapping[int, Mapping[int, Opinion]], limit: Limits
) -> tuple[Reading, ...]:
    """Return one reading a host: the freshest age anybody saw, "unreachable" if unanimous.

    A host that left on purpose, or whose slot nobody can make sense of and nobody hears, is
    left out. Without views the result is empty: silence.
    """
    if not views:
        return ()
    readings = [
        _fuse_one(peer, views, limit) for peer in peers if not has(peer.flags, Flag.LEAVING)
    ]
    return tuple(r for r in readings if r is not None)


def _fuse_one(
    peer: Peer, views: Mapping[int, Mapping[int, Opinion]], limit: Limits
) -> Reading | None:
    number, said = peer.slot, []
    lease: float | None = None
    for by, view in views.items():
        if by == number and len(views) > 1:
            continue
        opinion = view.about(peer) if isinstance(view, View) else view.get(number)
        if by == number:  # the only witness, about itself: it lives
            opinion = (opinion or NO_OPINION)._replace(heard=0.0, probe=Probe.UNKNOWN)
        if opinion is None:
            continue
        if opinion.heard is not None:
            said.append(opinion)
        if opinion.lease is not None and (lease is None or opinion.lease < lease):
            lease = opinion.lease
    if not said:
        return None
    heartbeat = min([o.heard for o in said if o.heard is not None])
    if peer.problem is not None:
        lease = None
    reachable = _reachable(said, heartbeat, limit)
    behind = said if reachable is not False else [o for o in said if o.probe is Probe.SILENT]
    isolated = None if peer.problem else has(peer.flags, Flag.ISOLATED)
    suspect = bool(
        heartbeat > limit.suspect_heard
        or (lease is not None and lease > limit.suspect_lease)
        or reachable is False
        or isolated
    )
    return Reading(
        number,
        peer.host,
        heartbeat,
        lease,
        reachable,
        isolated,
        len(behind),
        suspect,
        None if peer.problem else peer.watchdog,
    )


def _reachable(said: Sequence[Opinion], heartbeat: float, limit: Limits) -> bool | None:
    """Heard or answering: yes. Every proven probe silent: no. Otherwise not known."""
    if heartbeat <= limit.hears or any(o.probe is Probe.ANSWERS for o in said):
        return True
    probes = {o.probe for o in said} - {Probe.UNKNOWN}
    return False if probes == {Probe.SILENT} else None
