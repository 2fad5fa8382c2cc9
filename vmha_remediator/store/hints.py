# SPDX-License-Identifier: Apache-2.0
"""Doorbells, and who leads."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

import sqlalchemy as sa
from oslo_db import exception as db_exc
from sqlalchemy.orm import Session

from vmha_remediator.store.common import LEADER, Part, lead
from vmha_remediator.store.models import DoorbellRow, LeaderRow

_BELLS = cast("sa.Table", DoorbellRow.__table__)
_RUNG = sa.select(sa.exists().select_from(DoorbellRow))
_RING = sa.insert(_BELLS)
_ALL_RINGS = sa.select(_BELLS).order_by(_BELLS.c.id)
_TAKE = sa.delete(_BELLS).where(_BELLS.c.id.in_(sa.bindparam("ids", expanding=True)))
_SAY = (
    sa.update(cast("sa.Table", LeaderRow.__table__))
    .where(LeaderRow.id == LEADER)
    .values(said=sa.bindparam("sentence"), said_at=sa.bindparam("now"))
)


@dataclass(frozen=True)
class Doorbell:
    """Somebody says: look at this host now."""

    host: str
    rule: str
    source: str
    time: float


@dataclass(frozen=True)
class Leader:
    """Who leads, since when, and what the latest cycle said."""

    epoch: int
    owner: str
    since: float
    said: str
    said_at: float | None


class Doorbells(Part):
    """Word that a host should be looked at."""

    def ring(self, rule: str, host: str, source: str) -> None:
        """Leave word that `host` should be looked at; the same word twice is one."""

        def insert(session: Session) -> None:
            word = {"host": host, "rule": rule, "source": source, "time": self._clock()}
            session.execute(_RING, word)

        try:
            self.database.write(insert)
        except db_exc.DBDuplicateEntry:
            return  # nobody has looked since the last one

    def ring_all(self, words: Collection[tuple[str, str]], source: str) -> None:
        """Leave word for many (rule, host) in one transaction; each word is there once."""

        def insert(session: Session) -> None:
            there = set(session.execute(sa.select(DoorbellRow.rule, DoorbellRow.host)).tuples())
            now = self._clock()
            new = [
                {"host": host, "rule": rule, "source": source, "time": now}
                for rule, host in words
                if (rule, host) not in there
            ]
            if new:
                session.execute(_RING, new)

        try:
            self.database.write(insert)
        except db_exc.DBDuplicateEntry:  # another receiver wrote one of them in between
            for rule, host in words:
                self.ring(rule, host, source)

    def has_doorbells(self) -> bool:
        """Tell whether anybody has rung."""
        return self.database.read(lambda session: bool(session.scalar(_RUNG)))

    def take_doorbells(self) -> list[Doorbell]:
        """Return all doorbells and remove them; lost ones are found by listing alarms."""

        def take(session: Session) -> list[Doorbell]:
            found = session.execute(_ALL_RINGS).all()
            if found:
                session.execute(_TAKE, {"ids": [row.id for row in found]})
            return [Doorbell(row.host, row.rule, row.source, row.time) for row in found]

        return self.database.write(take)


class Leadership(Part):
    """Who leads, and what its latest cycle said."""

    def claim_epoch(self, owner: str) -> int:
        """Make `owner` the leader and return its epoch; every elder's writes fail now."""

        def claim(session: Session) -> int:
            row = session.get(LeaderRow, LEADER, with_for_update=True)
            if row is None:
                row = LeaderRow(id=LEADER, epoch=0, owner="", since=0.0, said="")
                session.add(row)
            row.epoch, row.owner, row.since = row.epoch + 1, owner, self._clock()
            return row.epoch

        return self.database.write(claim)

    def leader(self) -> Leader | None:
        """Return who leads, or None when nobody ever has."""

        def read(session: Session) -> Leader | None:
            row = session.get(LeaderRow, LEADER)
            if row is None or not row.epoch:
                return None
            return Leader(row.epoch, row.owner, row.since, row.said, row.said_at)

        return self.database.read(read)

    def say(self, epoch: int, sentence: str) -> None:
        """Store the sentence of the leader's latest cycle."""

        def write(session: Session) -> None:
            lead(session, epoch)
            session.execute(_SAY, {"sentence": sentence, "now": self._clock()})

        self.database.write(write)

    def assert_leader(self, epoch: int) -> None:
        """Raise `StaleEpoch` unless `epoch` still leads."""
        self.database.read(lambda session: lead(session, epoch))
