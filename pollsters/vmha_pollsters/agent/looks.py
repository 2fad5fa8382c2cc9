# SPDX-License-Identifier: Apache-2.0
"""Which slots to read next, and when."""

from __future__ import annotations

from collections.abc import Iterable

from vmha_pollsters.agent.company import CROWD, is_small
from vmha_pollsters.agent.picture import Picture
from vmha_pollsters.agent.storage.reader import Seen
from vmha_pollsters.agent.storage.table import NEAR
from vmha_pollsters.agent.witness.limits import Limits
from vmha_pollsters.agent.witness.roster import targets
from vmha_pollsters.lease.layout import FIRST_HOST, Roster

#: An ordinary host of a cluster that is not small reads its own and its peers' slots with every
#: so many looks. (`storage.keeper.OWN_LOOKED` relies on it.)
FEW_LOOKS = 4
#: The parts of an interval from one look at the whole table to the next: while somebody is
#: suspect (and in a small cluster always), else, and in a crowd. `rules.timing.detection` reckons
#: with a whole interval from a renewal until it is published how old it is: the look that saw the
#: renewal came late by the crowd's part, the one that shows its age by that of the hurried.
HURRIED, UNHURRIED, CROWDED = 0.25, 0.5, 0.75
#: A silence of so many times what is no longer heard is no news any more.
RECENTLY = 5.0


class Looks:
    """Plans the reading thread's looks; `lease` is the seconds between two renewals."""

    def __init__(self, lease: float, limits: Limits) -> None:
        self._lease = lease
        self._limits = limits
        self._since = 0  # looks since it read its own and its peers' slots
        self._introduced: object = None

    def next(self, picture: Picture, seen: Seen) -> tuple[Iterable[int] | None, float]:
        """Return which slots to read next (None: all), and when (s) to look again after that."""
        lease, small = self._lease, is_small(seen)
        rest = lease * (self._part(picture, seen) if picture.watches else UNHURRIED)
        if picture.roster_stale or picture.slot is None or picture.roster is None:
            return None, rest
        # In a small cluster everybody may have to watch within seconds: what it knows of the
        # leases by then has to be as fine as if it had watched all along.
        if picture.watches or small:
            return None, rest
        rest = rest if self._misses_somebody(picture) else lease
        return self._few(picture.slot, picture.roster, seen), rest

    def _part(self, picture: Picture, seen: Seen) -> float:
        """Return the part of an interval from one of a witness's looks to the next."""
        if is_small(seen) or picture.suspects:
            return HURRIED
        return CROWDED if len(seen.slots) > CROWD else UNHURRIED

    def _misses_somebody(self, picture: Picture) -> bool:
        """Tell whether a peer has fallen silent of late: then the roles may be changing.

        A witness in a crowd is heard by its roll calls only, which come seldom.
        """
        slow = self._limits.hears
        heard = (p.opinion.heard for p in picture.peers)
        return any(age is not None and slow < age < RECENTLY * slow for age in heard)

    def _few(self, mine: int, roster: Roster, seen: Seen) -> Iterable[int]:
        """Return the slots that an ordinary host reads with its next look.

        Header and roster are one request, and the slots close to them come for nothing. Its own
        and its peers' cost another, so they are read every so many looks only, and when the
        roster has changed.
        """
        wanted = {mine, *targets(mine, roster, seen.slots)}
        introduced = (roster.witnesses, roster.members)
        self._since += 1
        if introduced != self._introduced or self._since >= FEW_LOOKS:
            self._since, self._introduced = 0, introduced
            return wanted
        return {n for n in wanted if n + FIRST_HOST < NEAR}
