# SPDX-License-Identifier: Apache-2.0
"""How often a host has got into situations that are only reported, to see it flap.

An onset stands until an incident tells of it or the host is out of it again. As long as it stands
it is the same one, whichever engine finds the host so: an engine that starts anew counts no more.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from vmha_remediator.store.common import Part, lead
from vmha_remediator.store.models import OnsetRow


class Onsets(Part):
    """What the leader counts."""

    def count_onset(self, host: str, window: float, *, epoch: int) -> list[float]:
        """Note that a host has got into a situation; return the times of the last ones.

        One that stands is not counted again. Only those of the last `window` seconds are kept.
        Raises `StaleEpoch`.
        """
        now = self._clock()

        def write(session: Session) -> list[float]:
            lead(session, epoch)
            forget(session, host, now - window)
            query = sa.select(OnsetRow).where(OnsetRow.host == host).order_by(OnsetRow.time)
            found = [(row.time, row.standing) for row in session.scalars(query)]
            if not any(standing for _, standing in found):
                session.add(OnsetRow(host=host, time=now, standing=True))
                found.append((now, True))
            return [time for time, _ in found]

        return self.database.write(write)

    def end_onset(self, host: str, *, epoch: int) -> None:
        """Note that a host is out of its situation: the next one counts. Raises `StaleEpoch`."""

        def write(session: Session) -> None:
            lead(session, epoch)
            end(session, host)

        self.database.write(write)

    def standing_onsets(self) -> list[str]:
        """Return the hosts that were in a situation of which no incident tells yet."""
        query = sa.select(OnsetRow.host).where(OnsetRow.standing)
        return self.database.read(lambda session: list(session.scalars(query)))


def end(session: Session, host: str) -> None:
    """Let what stands of a host count as one that is over."""
    query = sa.update(OnsetRow).where(OnsetRow.host == host, OnsetRow.standing)
    session.execute(query.values(standing=False))


def add(session: Session, host: str, now: float, window: float) -> None:
    """Count an onset of which an incident tells."""
    forget(session, host, now - window)
    session.add(OnsetRow(host=host, time=now))


def forget(session: Session, host: str, before: float) -> None:
    """Remove what is too old to count."""
    session.execute(sa.delete(OnsetRow).where(OnsetRow.host == host, OnsetRow.time < before))
